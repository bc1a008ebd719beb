"""Trials on this machine: each with a GPU of its own where there are GPUs, else with its share of the CPU threads."""

from __future__ import annotations

import os
import queue
import re
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation_locked.trial import run_trial
from graph.errors import RunError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from evaluation_locked.trial import Phase, TrialOrder, TrialOutcome

DEVICES = Path("/dev")


def visible_devices() -> list[str]:
    """Return the GPUs that trainings may be given, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return sorted(
        (path.name.removeprefix("nvidia") for path in DEVICES.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)),
        key=int,
    )


class LocalExecutor:
    """Runs trials on this machine.

    Args:
        workers: How many at once.

    Raises:
        RunError: There are GPUs, and fewer than that: two trials on one would take each other's budget.
    """

    def __init__(self, workers: int = 1) -> None:
        devices = visible_devices()
        if devices and workers > len(devices):
            raise RunError(
                f"{workers} workers, and this machine shows {len(devices)} GPU{'s' if len(devices) > 1 else ''} "
                f"({', '.join(devices)}): two trials on one GPU would share its budget; use --workers {len(devices)}"
            )
        self._free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for at in range(workers):
            self._free.put(devices[at] if workers > 1 and devices else None)

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        """Run one trial to its end; see `graph.executors.Executor`."""
        device = self._free.get()
        try:
            placed = order if device is None else order.model_copy(update={"device": device})
            return run_trial(placed, on_phase, cancel)
        finally:
            self._free.put(device)
