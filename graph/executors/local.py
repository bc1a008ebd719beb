"""Trials on this machine: as many at once as there are workers, each with a GPU of its own where there are several.

How many CPU threads a trial has is settled in its order; nothing is shared out here but GPUs.
"""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from evaluation_locked.trial import TrialCancelled, run_trial
from graph.devices import visible_devices
from graph.errors import RunError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from evaluation_locked.trial import Phase, TrialOrder, TrialOutcome

POLL_SECONDS = 0.2  # how long a stop may go unheard by a trial that waits for its turn


class LocalExecutor:
    """Runs trials on this machine.

    Args:
        workers: Trials at once; a trial beyond that waits. One worker's trial sees all GPUs, one of several its own.

    Raises:
        RunError: There are GPUs, and fewer than workers.
    """

    def __init__(self, workers: int = 1) -> None:
        devices = visible_devices() if workers > 1 else []
        if devices and workers > len(devices):
            raise RunError(
                f"{workers} workers and {len(devices)} GPUs (CUDA_VISIBLE_DEVICES {','.join(devices)}), and each trial "
                f"has a GPU of its own: ask for {len(devices)} workers at most, or show the run more GPUs"
            )
        self._free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for at in range(workers):
            self._free.put(devices[at] if devices else None)

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        """Run one trial to its end, as soon as a worker is free; see `Executor`."""
        device = self._take(cancel)
        try:
            placed = order if device is None else order.model_copy(update={"device": device})
            return run_trial(placed, on_phase, cancel)
        finally:
            self._free.put(device)

    def _take(self, cancel: threading.Event) -> str | None:
        while not cancel.is_set():
            try:
                return self._free.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
        raise TrialCancelled
