"""What a run that was killed may have left: processes of its trials and their scratch folders, and jobs on a cluster.

A trial ends with its warden, and a warden with the run (`evaluation_locked.warden`). Both take a moment, and where a
warden was killed too, a kernel without namespaces lets what the trial started live on. So nothing new is begun in the
run's folder before they are gone.

A process is known by what it was started with and not by a number that was noted: a warden by the trial's folder on its
command line, a trial's by the name of its scratch folder in its environment, which is drawn at random and stays when
the run is moved. A trial that wipes its own environment where no namespace holds it is not found. A Slurm job is known
by its folder, whose drawn name its own ends with (`graph.executors.slurm`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation_locked.client import CHANNEL_VARIABLE
from graph.executors.slurm_settings import JOB_FOLDER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from graph.run_folder import RunFolder

PATIENCE_SECONDS = 5.0  # a warden that lost its caller ends its trial within two
WARDEN = b"evaluation_locked.warden"


def end_orphans(folder: RunFolder, recorded: Collection[int]) -> int:
    """End what is left of trials that were not recorded, and remove their folders; return how many processes and jobs.

    The caller is the run's only writer and has started no trial.

    Args:
        folder: The run.
        recorded: Trials that its journal holds; nothing is left of those.

    Raises:
        RunError: Jobs may be left, and their cluster does not answer.
    """
    places = [place for number, place in folder.trial_folders.all() if number not in recorded]
    scratches = [scratch for place in places for scratch in place.glob("**/scratch-*")]
    if not places:
        return 0
    n_jobs = _end_jobs([job for place in places for job in place.glob(f"**/{JOB_FOLDER_PREFIX}*")])
    names = {scratch.name.encode() for scratch in scratches}
    trials = bytes(folder.trials.resolve()) + b"/"
    seen: set[int] = set()
    until = time.monotonic() + PATIENCE_SECONDS
    while left := list(_left(trials, names)):
        seen.update(left)
        if time.monotonic() > until:
            for pid in left:
                _kill(pid, trials, names)
        time.sleep(0.02)
    for scratch in scratches:
        shutil.rmtree(scratch, ignore_errors=True)
    return n_jobs + len(seen)


def _end_jobs(folders: list[Path]) -> int:
    if not folders:
        return 0
    from graph.executors.slurm import end_orphan_jobs

    return end_orphan_jobs(folders)


def _left(trials: bytes, scratches: Collection[bytes]) -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and _belongs(int(entry.name), trials, scratches):
            yield int(entry.name)


def _belongs(pid: int, trials: bytes, scratches: Collection[bytes]) -> bool:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if WARDEN in words:
            return any(word.startswith(trials) for word in words)
        if scratches:
            held = dict(line.partition(b"=")[::2] for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
            return CHANNEL_VARIABLE.encode() in held and os.path.basename(held.get(b"HOME", b"")) in scratches  # noqa: PTH119 - bytes
    return False


def _kill(pid: int, trials: bytes, scratches: Collection[bytes]) -> None:
    """End a process, and never another that has got its number meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        fd = os.pidfd_open(pid)
        try:
            if _belongs(pid, trials, scratches):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)
