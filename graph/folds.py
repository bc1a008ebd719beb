"""Several folds and seeds of one recipe, each evaluated beside the others where there are devices for it.

A fold that fails is told of and does not stop the others. One process at a time works on the folds of a run.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation_locked.scorer import ScoringError
from graph.devices import visible_devices
from graph.errors import RunError
from graph.evaluation import evaluate
from memory.run_lock import RunLock, RunLockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from evaluation_locked.official import OfficialScore
    from evaluation_locked.trial import Phase
    from graph.evaluation import Bench
    from graph.recipe import Recipe


@dataclass(frozen=True)
class FoldResult:
    """What became of one fold with one seed.

    Attributes:
        score: None where there is none.
        trouble: Why there is none, empty where there is one.
    """

    fold: int
    seed: int
    score: OfficialScore | None
    trouble: str = ""


def evaluate_folds(
    bench: Bench,
    recipe: Recipe,
    folds: Sequence[int],
    seeds: Sequence[int],
    workers: int | None = None,
    on_phase: Callable[[int, int, Phase], None] = lambda fold, seed, phase: None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[FoldResult]:
    """Evaluate a recipe on every fold with every seed, and yield each result as it comes.

    Args:
        bench: Where and how; its threads are shared out among the workers.
        recipe: What is trained.
        folds: Which folds.
        seeds: Random seeds; of an ensemble those of the first member.
        workers: How many at once; as many as there are GPUs, or one, where None.
        on_phase: Called with fold, seed and phase as a training enters it.
        say: Told where another host's evaluation of the run is waited for.

    Raises:
        RunError: Another process is at work on the folds of this run.
        NotOfficialError, DataError: The source holds no such fold.
        SandboxError: No trial can be held on this machine.
    """
    devices = visible_devices()
    n_workers = workers or max(1, len(devices))
    free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for at in range(n_workers):
        free.put(devices[at % len(devices)] if devices and n_workers > 1 else None)
    bench = replace(bench, n_threads=max(1, bench.n_threads // n_workers))
    cancel = threading.Event()

    def one(fold: int, seed: int) -> FoldResult:
        device = free.get()
        try:
            placed = replace(bench, device=device)
            score = evaluate(placed, recipe, fold, seed, lambda phase: on_phase(fold, seed, phase), cancel)
        except (RunError, ScoringError) as error:  # the border of a child process: one fold's failure is its own
            return FoldResult(fold, seed, None, str(error))
        finally:
            free.put(device)
        return FoldResult(fold, seed, score)

    with _sole_worker(bench.base, say), ThreadPoolExecutor(n_workers) as pool:
        todo = {pool.submit(one, fold, seed) for seed in seeds for fold in folds}
        try:
            while todo:
                done, todo = wait(todo, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:  # an interrupt, or an error that all folds share: nothing is left training
            cancel.set()
            for future in todo:
                future.cancel()


@contextlib.contextmanager
def _sole_worker(base: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the folds of a run for this process, as `memory.run_lock` does."""
    lock = RunLock(base / "lock")
    try:
        lock.acquire(say)
    except RunLockedError as error:
        raise RunError(f"another `team evaluate` is at work in {base}, {error.holder}: let it end, or end it") from None
    try:
        yield
    finally:
        lock.release()
