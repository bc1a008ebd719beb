"""A judge on the other end of a real socket that holds no budget, so that torch is imported once for all tests."""

from __future__ import annotations

import io
import os
import socket
import threading
import types
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.client import CHANNEL_VARIABLE, TaskFacts
from evaluation_locked.wire import Message, receive, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from evaluation_locked.crystals import Crystals

SEED_FOLDER = Path(__file__).parents[2] / "crystal_seed"


@dataclass(frozen=True)
class Played:
    """What the judge saw of a trial.

    Attributes:
        kinds: The messages that came, in their order.
        predictions: Of all crystals to predict.
        moved: How far predictions of every third crystal moved when these came again without the others, at most.
        train_seconds: What the trial took of its budget.
        log: What it printed.
    """

    kinds: list[str]
    predictions: np.ndarray
    moved: float
    train_seconds: float
    log: str


def play(
    source: str,
    train: Crystals,
    labels: np.ndarray,
    to_predict: Crystals,
    *,
    train_seconds: float = 0.2,
    kind: str = "regression",
) -> Played:
    """Run `source` as a trial in this process and return what the judge saw."""
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    kinds: list[str] = []
    submitted: list[np.ndarray] = []
    again = np.arange(0, len(to_predict), 3)[::-1]
    facts = TaskFacts("test", "gap_ev", "eV", kind, "mae", seed=5, n_threads=1, train_seconds=train_seconds)

    def judge() -> None:
        with ours:
            send(ours, Message("opening", asdict(facts), train.arrays()))
            for answer in (
                Message("labels", arrays={"labels": np.asarray(labels, dtype=np.float64)}),
                Message("crystals", arrays=to_predict.arrays()),
                Message("crystals", arrays=to_predict.select(again).arrays()),
                Message("taken"),
            ):
                message = receive(ours, 1 << 20)
                kinds.append(message.kind)
                submitted.extend(message.arrays.values())
                send(ours, answer)

    thread = threading.Thread(target=judge)
    thread.start()
    log = io.StringIO()
    os.environ[CHANNEL_VARIABLE] = str(theirs.detach())
    try:
        module = types.ModuleType("trial")
        exec(compile(source, "train.py", "exec"), module.__dict__)
        spent: list[float] = []

        class Watched(module.Task):  # type: ignore[misc, name-defined]
            def predict(self, function: Callable[[Crystals], np.ndarray]) -> None:
                spent.append(train_seconds - self.seconds_left())
                super().predict(function)

        module.Task = Watched  # type: ignore[attr-defined]
        with redirect_stdout(log):
            module.main()
    finally:
        del os.environ[CHANNEL_VARIABLE]
        thread.join(60)
    moved = float(np.abs(submitted[1] - submitted[0][again]).max())
    return Played(kinds, submitted[0], moved, spent[0], log.getvalue())
