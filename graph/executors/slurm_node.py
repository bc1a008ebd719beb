"""What a Slurm job does on its node: it runs one trial and leaves word of its phase, and nothing when it is ended.

It is called by submitit in a process that knows no key. A job that Slurm ends or takes back hears SIGTERM: the trial is
ended then, and the process leaves without a result, since what became of the job is Slurm's to say.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from graph.executors.bundle import FILES, PARTS, read_bundle
from graph.executors.far import FarOrder, FarResult, hold_trial

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation_locked.trial import Phase

ROWS = "rows"  # the folder of what a warden reads, within a job's
WORDS_FILE = "words.jsonl"
ENDED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Word:
    """What a job says of its trial while it runs.

    Attributes:
        phase: The trial's, None before it has one.
        restarts: How often Slurm had begun the job before.
        node: Where it runs.
    """

    phase: Phase | None = None
    restarts: int = 0
    node: str = ""


def put_rows(locked: Path, folder: Path) -> None:
    """Put what a warden reads of a locked folder into a job's, without a copy of its bytes where that can be."""
    place = folder / ROWS
    place.mkdir()
    for name in (*FILES, PARTS):
        if (locked / name).exists():
            try:
                os.link(locked / name, place / name)
            except OSError:
                shutil.copyfile(locked / name, place / name)


def hold(folder: Path, far: FarOrder) -> FarResult:
    """Run a trial, and return its result for submitit to store in the job's folder.

    Args:
        folder: The job's; it holds the rows.
        far: What to run.
    """
    cancel = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: cancel.set())  # in place of submitit's, which goes on
    for partial in folder.glob(
        "*.save_tmp"
    ):  # of the same job on an earlier node, where submitit would refuse to write
        partial.unlink()
    restarts, node = int(os.environ.get("SLURM_RESTART_COUNT", "0")), os.environ.get("SLURMD_NODENAME", "")

    def say(phase: Phase | None) -> None:
        with (folder / WORDS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(Word(phase, restarts, node))) + "\n")

    say(None)
    result = hold_trial(far, lambda: read_bundle(folder / ROWS), say, cancel)
    if result.outcome is not None and result.outcome.status == "cancelled":
        sys.exit(ENDED)
    return result


def read_words(folder: Path) -> list[Word]:
    """Return all that a job has said so far, of every beginning; a line that is half written comes next time."""
    try:
        lines = (folder / WORDS_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError:
        return []
    return [Word(**json.loads(line)) for line in lines if line.endswith("\n")]
