"""The label-permuted control: a file that scores on labels in random order has another way to the truth.

It is the one canary that needs no knowledge of how a file cheats. A trial's train.py is trained again, inside the same
caps, on the training labels in random order. Whatever it then predicts can know nothing of the labels that judge, so
its score must be no better than that of the best constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.scorer import compare
from evaluation_locked.trial import TrialOrder, run_trial
from graph.errors import RunError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from evaluation_locked.trial import Phase
    from graph.run_folder import RunConfig, RunFolder

ALLOWED_Z = 3.0  # standard errors over the best constant that chance may reach


@dataclass(frozen=True)
class Control:
    """What the control found.

    Attributes:
        trial: Whose file was trained.
        gain: Of the control over the best constant, in the unit of the metric; positive is suspicious.
        standard_error: Of the gain, over crystals.
        leaks: Whether the gain is beyond chance.
    """

    trial: int
    gain: float
    standard_error: float
    leaks: bool


def run_control(
    folder: RunFolder,
    config: RunConfig,
    number: int,
    on_phase: Callable[[Phase], None] = lambda phase: None,
    cancel: threading.Event | None = None,
) -> Control:
    """Train the file of trial `number` on permuted labels and compare it with the best constant.

    Raises:
        RunError: There is no such trial, or the control did not finish.
        TrialCancelled: `cancel` was set.
        ScoringError: The locked folder is damaged.
    """
    place = folder.path / "control"
    order = TrialOrder(
        train_py=folder.trial(number) / "train.py",
        locked=folder.locked,
        folder=place,
        caps=config.task.caps,
        seed=config.seed,
        n_threads=config.n_threads,
        sandboxed=config.sandboxed,
        check_batches=config.task.check_batches,
        permute_labels=True,
    )
    outcome = run_trial(order, on_phase, cancel)
    if outcome.status != "finished":
        raise RunError(f"the control of trial {number} did not finish: {outcome.message}")
    with np.load(folder.locked / "train.npz", allow_pickle=False) as file:
        labels = file["labels"]
    # The median is the best constant for an absolute error, the mean for a squared one; a constant ranks nothing.
    constant = float(np.median(labels)) if config.task.metric == "mae" else float(labels.mean())
    n_validation = len(np.load(place / "predictions.npy", allow_pickle=False))
    np.save(place / "constant.npy", np.full(n_validation, constant))
    found = compare(folder.locked, [place / "predictions.npy"], [place / "constant.npy"])
    return Control(number, found.gain, found.sampling_error, found.gain > ALLOWED_Z * found.sampling_error)
