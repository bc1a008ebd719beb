"""One function over many items on all cores, for parsing and symmetry.

It owns the choice between this process and worker processes and nothing else. Workers are spawned, not forked: a parent
that has started threads (torch, a web client) cannot be forked safely, and macOS and Windows cannot fork at all.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

from evaluation_locked.dataset import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Return how many cores this process may use; a container or a scheduler can grant fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_over_cores(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    chunk: int,
    inline_below: int,
    cores: int | None = None,
) -> list[Result]:
    """Return `[function(item) for item in items]`, spread over all cores where that pays.

    Args:
        function: A function of a module (workers import it by name); it returns failures as values, never raises.
        items: What it is called with; each item is pickled to a worker.
        chunk: Items handed to a worker at a time.
        inline_below: With fewer items than this the work is done here: a worker needs seconds to import its libraries.
        cores: Number of workers; all usable cores where absent.

    Raises:
        DataError: A worker ended from outside, which is nearly always a lack of memory.
    """
    n_workers = min(cores or usable_cores(), -(-len(items) // chunk))
    if len(items) < inline_below or n_workers < 2:
        return [function(item) for item in items]
    try:
        with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
            with _interrupts_held_back():
                results = pool.map(function, items, chunksize=chunk)
            return list(results)
    except BrokenProcessPool as error:
        raise DataError(
            f"one of {n_workers} worker processes ended before its {len(items)} items were read ({error}); it was most "
            "likely stopped for lack of memory: close other programs, or import the data in smaller parts"
        ) from error


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold SIGINT back while workers start, who inherit that: Ctrl-C is for this process, and they end with it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
