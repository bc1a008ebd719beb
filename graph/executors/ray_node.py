"""What a Ray worker does on its node: it holds one trial and tells its phases, then its result.

The trial runs in a thread, so that the main one hears Ray's word to cancel; the trial's processes are gone before that
is answered. Where the worker is killed, its warden loses its lifeline and ends the trial by itself.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from typing import TYPE_CHECKING, Any

from graph.executors.far import FarResult, hold_trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evaluation_locked.trial import Phase
    from graph.executors.far import FarOrder

POLL_SECONDS = 0.1  # how long a word to cancel may go unheard


def hold_on_node(far: FarOrder, held: Sequence[Any], with_gpu: bool) -> Iterator[Phase | FarResult]:
    """Run a trial on this node; yield each phase as it is entered, and at last the result.

    Args:
        far: The order.
        held: A reference to its bundle; in a list, so that Ray sends what it stands for only where it is asked for.
        with_gpu: Whether the trial sees the GPUs that Ray gave this worker; else it sees none.
    """
    import ray

    told: queue.SimpleQueue[Phase | FarResult | BaseException] = queue.SimpleQueue()
    cancel = threading.Event()
    before = signal.signal(signal.SIGINT, lambda number, frame: cancel.set())  # what `ray.cancel` comes as

    def hold() -> None:
        try:
            device = os.environ.get("CUDA_VISIBLE_DEVICES", "") if with_gpu else ""
            told.put(hold_trial(far, lambda: ray.get(held[0]), told.put, cancel, device))
        except BaseException as error:
            told.put(error)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        while True:
            word = _next(told)
            if isinstance(word, BaseException):
                raise word
            if word is not None:
                yield word
            if isinstance(word, FarResult):
                return
    finally:
        cancel.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def _next(told: queue.SimpleQueue[Any]) -> Any:
    """Return the next word, None where there is none yet: signals are heard in between."""
    with contextlib.suppress(queue.Empty):
        return told.get(timeout=POLL_SECONDS)
    return None
