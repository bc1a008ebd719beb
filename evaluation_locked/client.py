"""The task as `train.py` sees it: crystals, then labels and the clock, then the crystals to predict.

    task = Task.open()                  # crystals without labels; featurise here, off the clock but capped
    labels = task.start_training()      # labels are handed over now, and the clock starts
    while task.seconds_left() > 0: ...
    task.predict(function)              # the clock stops; function(crystals) is asked for the predictions of each batch

Where a task does not ask for predictions in several batches, the last line may also be written in two steps:

    crystals = task.finish_training()   # the crystals to predict, shuffled, without ids or labels
    task.submit(predictions)

A file that can hand back what it learned is used for predicting without being trained again:

    if task.kept is None: ...           # train as above, then
        task.keep({"weight": array})    # numpy arrays by name; without effect in a search
    else: ...                           # take them back; there are no labels, and no training
    task.predict(function)

This end keeps no rule: the judge on the other end of the socket does, with its own clock. It imports numpy alone.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.crystals import Crystals
from evaluation_locked.wire import Message, receive, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHANNEL_VARIABLE = "TEAM_TASK_FD"
MAX_BYTES_FROM_JUDGE = 1 << 40
KEPT = "kept."  # before the name of an array that is handed back
MAX_KEPT_ARRAYS = 300  # so that their names fit the header of a message


class ProtocolError(RuntimeError):
    """`train.py` called the task in the wrong order, or submitted something else than a prediction each."""


@dataclass(frozen=True)
class TaskFacts:
    """What a trial is told beside the crystals.

    Attributes:
        name: The task, such as `crystal_seed`.
        target: The property, such as `gap_ev`.
        unit: Its unit, such as `eV`.
        kind: `regression` or `classification` (then labels are 0 or 1 and predictions the probability of 1).
        metric: What is scored, such as `mae`.
        seed: The random seed of this trial; the judge chooses it, so that none is picked by luck.
        n_threads: CPU threads that the trial may use.
        train_seconds: The training budget.
        keeps: Whether `Task.keep` has an effect.
    """

    name: str
    target: str
    unit: str
    kind: str
    metric: str
    seed: int
    n_threads: int
    train_seconds: float
    keeps: bool = False


class Task:
    """The trial's end of the protocol; made by `Task.open()`.

    Attributes:
        facts: What is told beside the crystals.
        crystals: To train on, without labels; a few of them where there is nothing to train.
        kept: What an earlier training of this file kept, None where it is to be trained.
    """

    def __init__(
        self, channel: socket.socket, facts: TaskFacts, crystals: Crystals, kept: dict[str, np.ndarray] | None = None
    ):
        self._channel = channel
        self._to_keep: dict[str, np.ndarray] = {}
        self.kept = kept
        self._started: float | None = None
        self._to_predict: int | None = None
        self.facts = facts
        self.crystals = crystals

    @classmethod
    def open(cls) -> Task:
        """Connect to the judge and receive the training crystals, without labels.

        Raises:
            ProtocolError: The file was not started as a trial.
        """
        number = os.environ.get(CHANNEL_VARIABLE)
        if number is None:
            raise ProtocolError("train.py runs inside a trial only, and `team run` starts those")
        channel = socket.socket(fileno=int(number))
        opening = receive(channel, MAX_BYTES_FROM_JUDGE)
        kept = {name.removeprefix(KEPT): a for name, a in opening.arrays.items() if name.startswith(KEPT)}
        return cls(channel, TaskFacts(**opening.facts), Crystals.from_arrays(opening.arrays), kept or None)

    def start_training(self) -> np.ndarray:
        """Return the labels of `crystals`, [n] float64, and start the clock.

        Raises:
            ProtocolError: Training was started before.
        """
        if self._started is not None:
            raise ProtocolError("start_training() was called twice; the clock runs once")
        send(self._channel, Message("start"))
        labels = receive(self._channel, MAX_BYTES_FROM_JUDGE).arrays["labels"]
        self._started = time.monotonic()
        return labels

    def seconds_left(self) -> float:
        """Return the seconds of training left; 0 or less means: call `finish_training()` now.

        Raises:
            ProtocolError: Training has not started.
        """
        if self._started is None:
            raise ProtocolError("seconds_left() before start_training(): the clock does not run yet")
        return self.facts.train_seconds - (time.monotonic() - self._started)

    def progress(self) -> float:
        """Return the share of the training budget that is used, from 0 to 1; a schedule follows it, not steps."""
        return min(1.0, max(0.0, 1.0 - self.seconds_left() / self.facts.train_seconds))

    def keep(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Hand in what was learned, to be given back as `kept` when new crystals are to be predicted.

        Call it after training, before `predict()` or `submit()`. In a search it does nothing.

        Args:
            arrays: Numbers by name, such as the weights of a network; float64, float32, int64, int32, int16 or uint8.

        Raises:
            ProtocolError: There are too many arrays.
        """
        if not self.facts.keeps:
            return
        if len(arrays) > MAX_KEPT_ARRAYS:
            raise ProtocolError(f"{len(arrays)} arrays to keep; {MAX_KEPT_ARRAYS} are allowed: join some")
        self._to_keep = {KEPT + name: np.asarray(array) for name, array in arrays.items()}

    def predict(self, function: Callable[[Crystals], np.ndarray]) -> None:
        """Stop the clock, and hand in what `function` says of each batch of crystals that the judge sends.

        The first batch holds every crystal to predict. Where the task asks for it, some come again in other company: a
        prediction must depend on its own crystal alone, not on the batch it came in.

        Args:
            function: From m crystals to [m] finite numbers in the unit of the target.

        Raises:
            ProtocolError: Training has not started or was finished, or predictions are not one finite number each.
        """
        crystals: Crystals | None = self._finish(again=True)
        while crystals is not None:
            crystals = self._submit(function(crystals))

    def finish_training(self) -> Crystals:
        """Stop the clock and return the crystals to predict: shuffled, without ids or labels.

        Raises:
            ProtocolError: Training has not started, or was finished before.
        """
        return self._finish(again=False)

    def submit(self, predictions: np.ndarray) -> None:
        """Hand in one finite prediction for each crystal of `finish_training()`, in its order.

        Args:
            predictions: [n] numbers in the unit of the target.

        Raises:
            ProtocolError: Training was not finished, the number differs, or a prediction is not finite.
        """
        self._submit(predictions)

    def _finish(self, *, again: bool) -> Crystals:
        if (self._started is None and self.kept is None) or self._to_predict is not None:
            raise ProtocolError("training is finished once, after start_training()")
        send(self._channel, Message("finish", {"again": again}))
        return self._take_crystals(receive(self._channel, MAX_BYTES_FROM_JUDGE))

    def _submit(self, predictions: np.ndarray) -> Crystals | None:
        if self._to_predict is None:
            raise ProtocolError("submit() comes after finish_training()")
        predictions = np.asarray(predictions, dtype=np.float64).reshape(-1)
        if len(predictions) != self._to_predict:
            raise ProtocolError(f"{len(predictions)} predictions for {self._to_predict} crystals: predict each once")
        bad = ~np.isfinite(predictions)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise ProtocolError(
                f"{bad.sum()} of {len(predictions)} predictions are not finite, the first is row {first}"
            )
        send(self._channel, Message("submit", arrays={"predictions": predictions} | self._to_keep))
        self._to_keep = {}
        answer = receive(self._channel, MAX_BYTES_FROM_JUDGE)  # more crystals, or the judge's word that it has all
        if answer.kind == "crystals":
            return self._take_crystals(answer)
        self._channel.close()
        return None

    def _take_crystals(self, message: Message) -> Crystals:
        crystals = Crystals.from_arrays(message.arrays)
        self._to_predict = len(crystals)
        return crystals
