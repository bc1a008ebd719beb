"""Trials in flight, as the rounds of one process share them: who may work, who waits, whose result comes next.

Every round runs in a thread of its own. What rounds share (history, memory, files of the run) is worked on by one of
them at a time: it has the floor, and gives it up while it waits for a trial, a model or its turn. It decides nothing.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING

from evaluation_locked.trial import TrialCancelled

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_SECONDS = 0.2  # how long a stop may go unheard by who waits
ARRIVING_SHARE, ARRIVING_SECONDS = 0.02, 1.0  # what ends within so much of the training budget is waited for


class Flight:
    """The floor, and the order of what is in the air."""

    def __init__(self) -> None:
        self._floor = threading.Condition(threading.Lock())
        self._speaker: int | None = None  # the thread that has the floor
        self._trainings: dict[int, tuple[float, float]] = {}  # trial -> end of its training, and how near is near
        self._parked: set[int] = set()

    @contextlib.contextmanager
    def floor(self) -> Iterator[None]:
        """Work on what rounds share, alone; whoever has the floor already goes on with it."""
        if self._speaker == threading.get_ident():
            yield
            return
        with self._floor:
            self._speaker = threading.get_ident()
            try:
                yield
            finally:
                self._speaker = None

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Let others have the floor while the block waits for something; a thread without the floor just waits."""
        if self._speaker != threading.get_ident():
            yield
            return
        self._speaker = None
        self._floor.release()
        try:
            yield
        finally:
            self._floor.acquire()
            self._speaker = threading.get_ident()

    def announce(self) -> None:
        """Wake those who wait for something to change; for who has the floor."""
        self._floor.notify_all()

    def wait(self) -> None:
        """Give up the floor until something is announced, or for a moment; for who has it."""
        self._speaker = None
        self._floor.wait(POLL_SECONDS)
        self._speaker = threading.get_ident()

    def line_up(self, number: int) -> None:
        """Note that a trial is about to train, or has trained: later ones wait for its result."""
        self._trainings.setdefault(number, (math.inf, 0.0))

    def train_until(self, number: int, seconds: float) -> None:
        """Note that a trial's training began and what it may take; `seconds` of 0 is that it is over."""
        if number in self._trainings:  # a smoke trial has no place
            self._trainings[number] = (time.monotonic() + seconds, max(ARRIVING_SECONDS, ARRIVING_SHARE * seconds))

    def await_turn(self, number: int, cancel: threading.Event) -> float:
        """Wait for the results of earlier trials that are training still; return how many seconds.

        So results are taken in in the order of numbers, and what is decided on a set of trials is the same in
        whichever order they end. Who waits holds no slot.

        Raises:
            TrialCancelled: `cancel` was set.
        """
        begun = time.monotonic()
        with self.floor():
            self.line_up(number)
            ahead = {earlier for earlier in self._trainings if earlier < number}
            while ahead & self._trainings.keys():
                if number not in self._parked:
                    self._parked.add(number)
                    self.announce()
                self.wait()
                if cancel.is_set():  # also where those ahead were stopped just now: their results are still to come
                    raise TrialCancelled
        return time.monotonic() - begun

    def land(self, number: int) -> None:
        """Forget a trial: it is recorded, or left without a record; for who has the floor."""
        self._trainings.pop(number, None)
        self._parked.discard(number)
        self.announce()

    @property
    def n_parked(self) -> int:
        """Trials that are over and wait for the results of earlier ones."""
        return len(self._parked)

    def is_arriving(self) -> bool:
        """Say whether a result is about to come in, so that a plan made now would be made without it."""
        now = time.monotonic()
        return any(end - now <= near for n, (end, near) in self._trainings.items() if n not in self._parked)
