"""Stored predictions: their hash, and what is wrong with those that cannot be scored."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.scorer import ScoringError

if TYPE_CHECKING:
    from pathlib import Path


def predictions_sha(path: Path) -> str:
    """Return the sha256 of stored predictions.

    Raises:
        ScoringError: They cannot be read.
    """
    try:
        return hashlib.sha256(np.load(path, allow_pickle=False).tobytes()).hexdigest()
    except (OSError, ValueError, EOFError) as error:
        raise ScoringError(f"{path} cannot be read: {error}") from error


def refuse_strange(predictions: np.ndarray, n_due: int, path: Path, kind: str) -> None:
    """Refuse predictions that are not one number for each row, and name what is wrong.

    Raises:
        ScoringError: One is missing, not finite, or no probability where one is due.
    """
    if predictions.ndim != 1 or predictions.dtype != np.float64:
        raise ScoringError(f"{path} holds {predictions.dtype} {predictions.shape}; {n_due} float64 are due")
    if len(predictions) != n_due:
        word = f"{n_due - len(predictions)} are missing" if len(predictions) < n_due else "they are too many"
        raise ScoringError(f"{path} holds {len(predictions)} predictions for {n_due} test crystals: {word}")
    bad = ~np.isfinite(predictions)
    what = "not finite"
    if kind == "classification" and not bad.any():
        bad, what = (predictions < 0) | (predictions > 1), "outside 0 to 1, and probabilities are due"
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ScoringError(
            f"{path}: {bad.sum()} of {n_due} predictions are {what}; the first is that of test row {row}, "
            f"{predictions[row]}"
        )
