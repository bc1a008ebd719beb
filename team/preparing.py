"""Reads a source and prepares a run's rows in a process of its own.

The whole table and the libraries that read and split it take hundreds of megabytes, which a run of days needs once.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
from typing import TYPE_CHECKING

from evaluation_locked.dataset import DataError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from evaluation_locked.prepare import TaskFacts
    from evaluation_locked.task import TaskSpec

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
    apart = multiprocessing.get_context("spawn")
    ours, theirs = apart.Pipe(duplex=False)
    worker = apart.Process(target=_prepare, args=(theirs, task, locked, limit, seed_folder, cache), daemon=True)
    worker.start()
    theirs.close()
    try:
        found: TaskFacts | Exception = ours.recv()
    except EOFError:
        worker.join()
        raise DataError(
            f"the process that was reading {task.source} was ended (status {worker.exitcode}); "
            "if that was for want of memory, give it more, or use fewer rows with --limit"
        ) from None
    finally:
        worker.kill()
        worker.join()
        ours.close()
    if isinstance(found, Exception):
        raise found
    return found


def _prepare(
    answer: Connection, task: TaskSpec, locked: Path, limit: int | None, seed_folder: Path, cache: Path
) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):  # they are for the process that waits, which ends this one
        signal.signal(number, signal.SIG_IGN)
    from evaluation_locked.prepare import prepare
    from evaluation_locked.sources import load_source

    try:
        dataset = load_source(task.source, task.target, cache)
        answer.send(prepare(task, dataset, locked, limit, seed_folder))
    except Exception as error:
        answer.send(error)
