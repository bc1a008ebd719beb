"""A trial that takes no time: a seed folder whose file predicts a constant, and an executor that trains nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.trial import TrialOrder, TrialOutcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from evaluation_locked.trial import Phase

N_KNOBS, VALUES = 24, (0.5, 1.5, 2.0, 3.0)

TRAIN_PY = '''"""Predicts a constant."""

import numpy as np

from evaluation_locked.client import Task

{knobs}


def main():
    """Learn nothing."""
    task = Task.open()
    labels = task.start_training()
    value = float(np.median(labels)){sum}
    crystals = task.finish_training()
    task.submit(np.full(len(crystals), value))


main()
'''
TASK_TOML = """name = "constant"
title = "A seed that predicts a constant"
target = "gap_ev"
unit = "eV"
source = "tight-binding"
"""
TECHNIQUE = """+++
id = "knob-{i}"
title = "Constant number {i}"
axis = "A{axis}"
family = "{family}"
source = "own"
expect = "nobody knows"
evidence = "{evidence}"

[knob]
name = "KNOB_{i}"
values = {values}
+++
Another value of constant number {i}, which moves every prediction.
"""


class Instant:
    """An executor that trains nothing: predictions are the labels, off by a draw of the trial's seed.

    Attributes:
        cpu_seconds: What all calls took; it stands for a trial, and is left out of a round's figure.
    """

    def __init__(self) -> None:
        self.cpu_seconds = 0.0

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        begun = time.thread_time()
        order.folder.mkdir(parents=True, exist_ok=True)
        (order.folder / "train.log").write_text("instant\n")
        if not order.smoke:
            labels = np.load(order.locked / "validation_labels.npy", allow_pickle=False)
            draw = np.random.default_rng(order.seed)
            np.save(order.folder / "predictions.npy", labels + draw.standard_normal(len(labels)) * draw.uniform(0.5, 1))
        self.cpu_seconds += time.thread_time() - begun
        return TrialOutcome(status="finished", message="instant", train_seconds=0.001, predict_seconds=0.001)


def write_seed(folder: Path) -> Path:
    """Write the seed folder whose file predicts a constant, and return it."""
    (folder / "playbook").mkdir(parents=True)
    knobs = "\n".join(f"KNOB_{i} = 1.0" for i in range(N_KNOBS))
    total = "".join(f" + (KNOB_{i} - 1.0) * {0.01 * (i + 1):.2f}" for i in range(N_KNOBS))
    (folder / "train.py").write_text(TRAIN_PY.format(knobs=knobs, sum=total))
    (folder / "task.toml").write_text(TASK_TOML)
    for i in range(N_KNOBS):
        text = TECHNIQUE.format(
            i=i, axis=1 + i % 6, family=f"family {i % 8}", evidence=("++", "+", "0")[i % 3], values=list(VALUES)
        )
        (folder / "playbook" / f"knob-{i}.md").write_text(text)
    return folder
