"""A metric of a seed's own: `metric.py`, run by the judge and by nobody else.

The file defines one of two functions of labels and predictions, both float64 [n] (for a class: 0 or 1, and the
probability of 1):

    def errors(labels, predictions):    # [n] numbers; their mean is the score
    def score(labels, predictions):     # one number, for what is no mean over rows

It is data of the property, written by a person; no role of the team may change it. A run keeps a copy in its locked
folder, and the seal is over it. It runs as whoever started the run, without a sandbox: read one that others wrote.
"""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evaluation_locked.metrics import METRICS, Metric
from evaluation_locked.seed_folder import METRIC_FILE, SeedError

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation_locked.task import OwnMetric


def judge_metric(name: str, kind: Literal["regression", "classification"], own: OwnMetric | None, path: Path) -> Metric:
    """Return the metric that decides, ready to compute.

    Args:
        name: As the task names it.
        kind: Of the task.
        own: Its declaration where it is the seed's own; None for one of `METRICS`.
        path: Where its file lies; read only for one of the seed's own.

    Raises:
        SeedError: The file does not run, or does not define exactly one of `errors` and `score`.
    """
    if own is None:
        return METRICS[name]
    try:
        defined = runpy.run_path(str(path))
    except Exception as error:  # the border to a file that a person wrote
        raise SeedError(f"{path} does not run ({type(error).__name__}: {error}): mend it") from error
    found = [word for word in ("errors", "score") if callable(defined.get(word))]
    if len(found) != 1:
        raise SeedError(
            f"{path} defines {' and '.join(found) or 'neither errors nor score'}: define errors(labels, predictions), "
            "whose mean is the score, or score(labels, predictions), and not both"
        )
    call = defined[found[0]]
    if found == ["score"]:
        return Metric(name, lambda t, p: _number(call, t, p), own.better, kind, own.has_unit)

    def errors(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        return _per_row(call, labels, predictions)

    return Metric(name, lambda t, p: float(errors(t, p).mean()), own.better, kind, own.has_unit, errors)


def _per_row(call: Any, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    values = np.asarray(call(labels.copy(), predictions.copy()), dtype=np.float64)
    if values.shape != labels.shape or not np.isfinite(values).all():
        n_finite = int(np.isfinite(values).sum())
        raise SeedError(
            f"{METRIC_FILE}: errors() gave shape {values.shape} with {n_finite} finite numbers for {len(labels)} rows: "
            "return one finite number for each row"
        )
    return values


def _number(call: Any, labels: np.ndarray, predictions: np.ndarray) -> float:
    value = float(call(labels.copy(), predictions.copy()))
    if not np.isfinite(value):
        raise SeedError(
            f"{METRIC_FILE}: score() gave {value} for {len(labels)} rows: return a finite number for any rows"
        )
    return value
