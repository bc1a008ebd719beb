"""Metrics as pure functions of labels and predictions; whether larger or smaller is better is said here, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def absolute_errors(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return [n] absolute errors, in the unit of the labels; both arrays are [n]."""
    return np.abs(labels - predictions)


def mae(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean absolute error, in the unit of the labels; both arrays are [n]."""
    return float(absolute_errors(labels, predictions).mean())


def rmse(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the root of the mean squared error, in the unit of the labels; both arrays are [n]."""
    return float(np.sqrt(((labels - predictions) ** 2).mean()))


def max_error(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the largest absolute error, in the unit of the labels; both arrays are [n]."""
    return float(np.abs(labels - predictions).max())


def roc_auc(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the area under the ROC curve: the chance that a row of class 1 is ranked above a row of class 0.

    Mann and Whitney's rank form, ties counted half; 0.5 where one class is absent, since then nothing is ranked.
    """
    positive = labels > 0.5
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return 0.5
    _, inverse, counts = np.unique(predictions, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # the mean rank of each group of ties, from 1
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the F1 score of class 1 at a probability of 0.5; 0 where neither has a row of class 1."""
    truth, said = labels > 0.5, predictions > 0.5
    total = truth.sum() + said.sum()
    return float(2 * (truth & said).sum() / total) if total else 0.0


@dataclass(frozen=True)
class Metric:
    """A metric and its direction.

    Attributes:
        name: As `task.toml` writes it.
        function: Of labels [n] and predictions [n].
        better: `lower` or `higher`.
        kind: The task it belongs to, `regression` or `classification`.
        has_unit: Whether its value has the unit of the target.
        errors: For a metric that is a mean over rows, the [n] values it is the mean of: its bootstrap needs no other.
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray], float]
    better: Literal["lower", "higher"]
    kind: Literal["regression", "classification"]
    has_unit: bool = True
    errors: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def gain(self, before: float, after: float) -> float:
        """Return how much better `after` is than `before`; positive is better, whatever the metric."""
        return before - after if self.better == "lower" else after - before


METRICS = {
    metric.name: metric
    for metric in (
        Metric("mae", mae, "lower", "regression", errors=absolute_errors),
        Metric("rmse", rmse, "lower", "regression"),
        Metric("max_error", max_error, "lower", "regression"),
        Metric("roc_auc", roc_auc, "higher", "classification", has_unit=False),
        Metric("f1", f1, "higher", "classification", has_unit=False),
    )
}
