"""A score in parts: metals and the rest, formulas that were trained on and those that were not.

It is pure arithmetic on rows that somebody else has opened, and it decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.noise import bootstrap_differences, interval
from evaluation_locked.task import Strict

if TYPE_CHECKING:
    from evaluation_locked.metrics import Metric

MIN_ROWS = 20  # fewer make no interval worth reading


class Part(Strict):
    """The score of some of the rows.

    Attributes:
        name: Which rows, such as `formula trained on`.
        n: How many.
        value: Their score.
        low: Lower end of its 95 % bootstrap interval over crystals.
        high: Upper end.
        standard_error: Over crystals.
    """

    name: str
    n: int
    value: float
    low: float
    high: float
    standard_error: float


def split_score(
    metric: Metric, target: str, labels: np.ndarray, predictions: np.ndarray, formula_seen: np.ndarray
) -> tuple[Part, ...]:
    """Return the score of each part that has `MIN_ROWS` rows; no part at all where its counterpart has too few.

    Args:
        metric: What is scored.
        target: Name of the property; rows where a gap is 0 are called metals.
        labels: [n] labels.
        predictions: [n] predictions.
        formula_seen: [n] bool, whether a training row has the crystal's reduced formula.
    """
    pairs = [("formula trained on", "formula not trained on", formula_seen)]
    if metric.kind == "regression":
        names = ("metals", "non-metals") if "gap" in target else (f"{target} is 0", f"{target} is not 0")
        pairs.insert(0, (*names, labels == 0))
    parts = []
    for name, other, here in pairs:
        if min(here.sum(), (~here).sum()) < MIN_ROWS:
            continue
        for called, rows in ((name, here), (other, ~here)):
            at = np.flatnonzero(rows)
            spread = interval(
                metric.function(labels[at], predictions[at]),
                bootstrap_differences(metric, labels[at], [predictions[at]]),
            )
            parts.append(
                Part(
                    name=called,
                    n=len(at),
                    value=spread.value,
                    low=spread.low,
                    high=spread.high,
                    standard_error=spread.standard_error,
                )
            )
    return tuple(parts)
