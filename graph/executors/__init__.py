"""Where trials run: on this machine, on a Ray cluster, as Slurm jobs; behind one interface that all of them keep to.

It owns the choice. What holds a trial, wherever it runs, is `evaluation_locked.trial`; who waits for it and what
follows is the state machine's business. `tests/graph/executors/conformance.py` says what every executor promises.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from graph.executors.settings import ExecutorSettings

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from evaluation_locked.trial import Phase, TrialOrder, TrialOutcome

__all__ = ["Executor", "ExecutorSettings", "open_executor"]


class Executor(Protocol):
    """Runs trials, several at once, each in a thread of who asks."""

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        """Run one trial to its end; its log and predictions lie in the order's folder then.

        Whatever becomes of it is an outcome, `lost` where that says nothing of the file: its node or worker died.

        Raises:
            TrialCancelled: `cancel` was set; nothing of the trial is left running.
            SandboxError: No trial can be held where it should run.
            RunError: No trial can run there; the message says why.
            OSError: The disk that holds the run failed; that of another machine is a lost trial.
        """


@contextlib.contextmanager
def open_executor(settings: ExecutorSettings, workers: int, n_threads: int) -> Iterator[Executor]:
    """Open the executor that the settings name.

    Args:
        settings: Which one.
        workers: Trials at once.
        n_threads: CPU threads of a trial.

    Raises:
        RunError: It cannot be used here; the message says why.
    """
    if settings.kind == "ray":
        from graph.executors.ray import RayExecutor

        with RayExecutor(settings.ray, workers, n_threads) as executor:
            yield executor
    elif settings.kind == "slurm":
        from graph.executors.slurm import SlurmExecutor

        yield SlurmExecutor(settings.slurm)
    else:
        from graph.executors.local import LocalExecutor

        yield LocalExecutor(workers)
