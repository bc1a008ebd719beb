"""Reads a source and prepares a run's rows in a process of its own.

The whole table and the libraries that read and split it take hundreds of megabytes, which a run of days needs once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, cast

from evaluation_locked.dataset import DataError
from evaluation_locked.prepare import prepare
from evaluation_locked.sources import load_source

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation_locked.prepare import TaskFacts
    from evaluation_locked.task import TaskSpec

LAST_SECONDS = 10.0  # that a process may take to end after its last word
_PR_SET_PDEATHSIG = 1


def prepare_apart(task: TaskSpec, locked: Path, limit: int | None, seed_folder: Path, cache: Path) -> TaskFacts:
    """Write a run's locked folder; see `evaluation_locked.prepare.prepare`. The process ends with this one.

    Args:
        task: With its source.
        locked: The folder.
        limit: Rows at most.
        seed_folder: Of the run.
        cache: For downloads and converted tables.

    Raises:
        DataError, CrystalError, SeedError: The data or the metric cannot be used.
        DataError: The process was ended from outside.
        OSError: A file cannot be read or written.
    """
    answer, theirs = os.pipe()
    with os.fdopen(answer, "rb") as reader:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "team.preparing", str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs],
            start_new_session=True,  # Ctrl-C is for the process that waits, which ends this one
        )
        os.close(theirs)
        assert worker.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError), worker.stdin as order:
                order.write(pickle.dumps((task, locked, limit, seed_folder, cache)))
            said = reader.read()
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(LAST_SECONDS)
        finally:
            worker.kill()
            worker.wait()
    try:
        found = pickle.loads(said)
    except (EOFError, pickle.UnpicklingError):
        raise DataError(
            f"the process that was reading {task.source} was ended (status {worker.returncode}); "
            "if that was for want of memory, give it more, or use fewer rows with --limit"
        ) from None
    if isinstance(found, Exception):
        raise found
    return cast("TaskFacts", found)


def main() -> None:
    """Read the order from standard input, and write the facts, or what was wrong, to the descriptor that is named."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    task, locked, limit, seed_folder, cache = pickle.loads(sys.stdin.buffer.read())
    found: TaskFacts | Exception
    try:
        found = prepare(task, load_source(task.source, task.target, cache), locked, limit, seed_folder)
    except Exception as error:  # a border: whatever is wrong is told by the process that waits
        found = error
    with os.fdopen(int(sys.argv[1]), "wb") as answer:
        answer.write(pickle.dumps(found))


if __name__ == "__main__":
    main()
