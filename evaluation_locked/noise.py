"""How sure is a score? Bootstrap over crystals, and the spread between random seeds.

Two sources of noise are kept apart. *Sampling noise*: other crystals would have given another score; a paired bootstrap
over the same rows measures what of it concerns a difference. *Seed noise*: the same file trained again gives another
score; replicates measure it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evaluation_locked.metrics import Metric

N_RESAMPLES = 1000
DRAWS_AT_ONCE = 50_000  # what fits the cache of a core
PRIOR_SEED_NOISE = 0.02  # of the score; two runs of the sketch in docs/concepts.md differed by this much
PRIOR_WEIGHT = 2.0  # replicate pairs that the prior counts for


@dataclass(frozen=True)
class Interval:
    """A value with its standard error and 95 % interval, all in the unit of the value."""

    value: float
    standard_error: float
    low: float
    high: float


def bootstrap_differences(
    metric: Metric,
    labels: np.ndarray,
    challenger: Sequence[np.ndarray],
    champion: Sequence[np.ndarray] = (),
    seed: int = 0,
    *,
    repeats: int = 1,
) -> np.ndarray:
    """Return [n_resamples] bootstrap values of the score, or of the gain over a champion on the same rows.

    Args:
        metric: What is scored.
        labels: [n] labels.
        challenger: Predictions [n] of each replicate; the scores of replicates are averaged.
        champion: The same of the champion; where empty, the score itself is resampled and not a gain.
        seed: Of the resampling.
        repeats: How often each crystal is among the n rows, one whole list after the other: crystals are drawn, each
            with all of its rows, since predictions of one crystal say hardly more together than one of them.
    """
    n = len(labels)
    n_resamples = min(N_RESAMPLES, max(200, int(2e7 / max(n, 1))))  # 2e7 draws bound the time to about a second
    blocks = _resamples(n, seed, n_resamples, repeats)
    if metric.errors is not None:  # a mean over rows: one array of per-row values serves all resamples
        per_row = np.mean([metric.errors(labels, p) for p in challenger], axis=0)
        if champion:
            before = np.mean([metric.errors(labels, p) for p in champion], axis=0)
            per_row = before - per_row if metric.better == "lower" else per_row - before
        return np.concatenate([per_row[block].mean(axis=1) for block in blocks])
    values = np.empty(n_resamples)
    for i, rows in enumerate(chain.from_iterable(blocks)):
        after = float(np.mean([metric.function(labels[rows], p[rows]) for p in challenger]))
        if champion:
            values[i] = metric.gain(float(np.mean([metric.function(labels[rows], p[rows]) for p in champion])), after)
        else:
            values[i] = after
    return values


def _resamples(n: int, seed: int, n_resamples: int, repeats: int) -> Iterator[np.ndarray]:
    """Yield n_resamples rows [n] drawn with replacement (Efron 1979), a crystal with all of its rows.

    They come in blocks [m, n], which draw what m single ones would, at a fraction of their time.
    """
    rng = np.random.default_rng(seed)
    n_crystals = n // repeats
    later = n_crystals * np.arange(repeats, dtype=np.int32)[:, None]  # [repeats, 1]
    at_once = max(1, DRAWS_AT_ONCE // max(n, 1))
    for done in range(0, n_resamples, at_once):
        size = (min(at_once, n_resamples - done), n_crystals)
        drawn = rng.integers(0, n_crystals, size=size, dtype=np.int32)
        yield (later + drawn[:, None, :]).reshape(len(drawn), -1)


def interval(value: float, resampled: np.ndarray) -> Interval:
    """Return the percentile interval of bootstrap values around the value measured on all rows."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(value, float(resampled.std(ddof=1)), float(low), float(high))


def pooled_seed_noise(groups: Sequence[Sequence[float]], typical_score: float) -> float:
    """Return the standard deviation of a score between random seeds, shrunk towards a prior where replicates are few.

    The pooled variance of all groups of replicates, with a prior variance of (2 % of the score)^2 that counts as two
    degrees of freedom (the scale of an inverse chi-squared posterior, Gelman et al., Bayesian Data Analysis, 2.6).

    Args:
        groups: The scores of each file that was trained more than once.
        typical_score: Distance of a score of the run from a perfect one, which sets the scale of the prior.
    """
    squares, freedom = 0.0, 0
    for group in groups:
        if len(group) > 1:
            squares += squares_around_mean(group)
            freedom += len(group) - 1
    return shrunk_seed_noise(squares, freedom, typical_score)


def squares_around_mean(group: Sequence[float]) -> float:
    """Return the sum of squared distances of some scores from their mean."""
    return float(np.var(group) * len(group))


def shrunk_seed_noise(squares: float, freedom: int, typical_score: float) -> float:
    """Return what `pooled_seed_noise` does, from sums over its groups.

    Args:
        squares: Sum over the groups of `squares_around_mean`.
        freedom: Scores in the groups, less one for each group.
        typical_score: See there.
    """
    prior = (PRIOR_SEED_NOISE * abs(typical_score)) ** 2
    return float(np.sqrt((PRIOR_WEIGHT * prior + squares) / (PRIOR_WEIGHT + freedom)))
