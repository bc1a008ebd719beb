"""Which rows train, which choose, which test.

It owns MatBench's folds, the grouped split that a search is scored on, and the even sample of a long list of rows. It
reads no label except the classes by which MatBench stratifies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.dataset import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation_locked.crystals import Crystals

MATBENCH_SEED = 18012019
MATBENCH_FOLDS = 5


@dataclass(frozen=True)
class SearchSplit:
    """Two disjoint sets of rows that make up the rows that were split, each in their order.

    Attributes:
        train_rows: [t] int64.
        validation_rows: [v] int64.
    """

    train_rows: np.ndarray
    validation_rows: np.ndarray


def official_folds(
    n: int,
    *,
    stratify_labels: np.ndarray | None = None,
    n_folds: int = MATBENCH_FOLDS,
    seed: int = MATBENCH_SEED,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the outer folds of MatBench v0.1 (Dunn et al. 2020) for rows in official order.

    Args:
        n: Number of rows.
        stratify_labels: [n] classes of a classification task, whose shares every fold then keeps; None for regression.
        n_folds: Number of folds.
        seed: Of the shuffle.

    Returns:
        For each fold (train rows, test rows), both int64 and ascending.

    Raises:
        DataError: There are fewer rows than folds, or fewer than two folds, or a label is missing.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    if not 2 <= n_folds <= n:
        raise DataError(f"{n} rows cannot be split into {n_folds} folds; give 2 folds or more and a row for each")
    if stratify_labels is None:
        return list(KFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(n)))
    labels = np.asarray(stratify_labels)
    if labels.shape != (n,):
        raise DataError(f"{labels.shape} labels to stratify by for {n} rows")
    rarest = np.unique(labels, return_counts=True)[1].min()
    if rarest < n_folds:
        raise DataError(f"a class has {rarest} rows, fewer than {n_folds} folds; is this a regression task?")
    return list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(n), labels))


def grouped_folds(crystals: Crystals, *, n_folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return folds in which no reduced formula is both trained on and tested.

    Formulas are shuffled, then each in turn goes to the fold that has the fewest rows so far.

    Returns:
        For each fold (train rows, test rows), both int64 and ascending.

    Raises:
        DataError: There are fewer formulas than folds.
    """
    _, group, size = np.unique(crystals.formula_keys(), return_inverse=True, return_counts=True)
    if not 2 <= n_folds <= len(size):
        raise DataError(f"{len(size)} reduced formulas cannot be split into {n_folds} folds; give at most {len(size)}")
    filled, fold_of = np.zeros(n_folds, dtype=np.int64), np.empty(len(size), dtype=np.int64)
    for one in np.random.RandomState(seed).permutation(len(size)):
        fold_of[one] = int(filled.argmin())
        filled[fold_of[one]] += size[one]
    fold = fold_of[group]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]


def search_split(
    crystals: Crystals, rows: Sequence[int] | np.ndarray, *, validation_fraction: float, seed: int
) -> SearchSplit:
    """Split rows so that no reduced formula is on both sides.

    Crystals of one formula have like gaps: in matbench_mp_gap 37 % of rows share a formula, and looking the formula up
    scores 0.154 eV on them. A model chosen on a random split is therefore chosen for remembering.

    Formulas are shuffled and dealt to the validation side until its size is as near to the wanted one as whole formulas
    allow, so it is off by less than the largest formula has rows. The result depends on which rows are given and on the
    seed, not on their order.

    Args:
        crystals: The table that the rows point into.
        rows: Rows to split.
        validation_fraction: Wanted share of validation rows, between 0 and 1.
        seed: Of the shuffle.

    Raises:
        DataError: The fraction is not between 0 and 1, or all rows have one formula.
    """
    rows = np.asarray(rows, dtype=np.int64)
    _check_fraction(validation_fraction)
    _, group, size = np.unique(crystals.formula_keys()[rows], return_inverse=True, return_counts=True)
    if len(size) < 2:
        raise DataError(f"{len(rows)} rows have {len(size)} reduced formulas; a grouped split needs two or more")
    # RandomState, because numpy promises that its stream never changes; that of default_rng may with any release.
    order = np.random.RandomState(seed).permutation(len(size))
    n_dealt = np.cumsum(size[order])[:-1]  # [groups - 1], so that the train side keeps one formula at least
    n_groups = 1 + int(np.argmin(np.abs(n_dealt - validation_fraction * len(rows))))
    in_validation = np.isin(group, order[:n_groups])
    return SearchSplit(rows[~in_validation], rows[in_validation])


def cross_validation_parts(
    crystals: Crystals,
    rows: Sequence[int] | np.ndarray,
    *,
    n_parts: int,
    repeats: int = 1,
    seed: int = 0,
    stratify_labels: np.ndarray | None = None,
) -> np.ndarray:
    """Cut rows into parts so that no reduced formula is in two, several times over.

    Args:
        crystals: The table that the rows point into.
        rows: [n] rows to cut.
        n_parts: Parts of each cut.
        repeats: Cuts, each with a shuffle of its own.
        seed: Of the shuffles.
        stratify_labels: [n] classes of these rows, whose shares every part then keeps as far as formulas allow.

    Returns:
        [repeats, n] int64, the part of each row in each cut.

    Raises:
        DataError: There are fewer formulas than parts.
    """
    from sklearn.model_selection import KFold, StratifiedGroupKFold

    rows = np.asarray(rows, dtype=np.int64)
    _, group = np.unique(crystals.formula_keys()[rows], return_inverse=True)
    n_groups = int(group.max()) + 1 if len(rows) else 0
    if not 2 <= n_parts <= n_groups:
        raise DataError(f"{n_groups} reduced formulas cannot be cut into {n_parts} parts; give 2 parts or more")
    parts = np.zeros((repeats, len(rows)), dtype=np.int64)
    for cut in range(repeats):
        # A cut is stored with the run, so that another release's shuffle changes none that has scores.
        if stratify_labels is not None:
            folds = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed + cut)
            for part, (_, judged) in enumerate(folds.split(np.zeros(len(rows)), stratify_labels, group)):
                parts[cut, judged] = part
            continue
        for part, (_, judged) in enumerate(
            KFold(n_parts, shuffle=True, random_state=seed + cut).split(np.zeros(n_groups))
        ):
            parts[cut, np.isin(group, judged)] = part
    return parts


def random_split(rows: Sequence[int] | np.ndarray, *, validation_fraction: float, seed: int) -> SearchSplit:
    """Split rows at random, for reporting beside `search_split`; formulas are on both sides.

    Args:
        rows: Rows to split.
        validation_fraction: Share of validation rows, between 0 and 1; at least one row is on either side.
        seed: Of the shuffle.

    Raises:
        DataError: The fraction is not between 0 and 1, or there are fewer than two rows.
    """
    rows = np.asarray(rows, dtype=np.int64)
    _check_fraction(validation_fraction)
    if len(rows) < 2:
        raise DataError(f"{len(rows)} rows cannot be split in two")
    n_validation = min(max(round(validation_fraction * len(rows)), 1), len(rows) - 1)
    in_validation = np.zeros(len(rows), dtype=bool)
    in_validation[np.random.RandomState(seed).permutation(len(rows))[:n_validation]] = True
    return SearchSplit(rows[~in_validation], rows[in_validation])


def even_sample(rows: Sequence[int] | np.ndarray, limit: int) -> np.ndarray:
    """Return at most `limit` rows, evenly spaced over the given order, with the first and the last among them.

    Args:
        rows: Rows in the order to sample over.
        limit: Most rows to return; 2 or more. All rows where there are no more than that.

    Raises:
        DataError: The limit is less than 2.
    """
    if limit < 2:
        raise DataError(f"a sample of {limit} rows cannot hold both the first and the last; ask for 2 or more")
    rows = np.asarray(rows, dtype=np.int64)
    if len(rows) <= limit:
        return rows.copy()
    # Integers throughout: (len - 1) / (limit - 1) >= 1, so no two places are equal.
    return rows[np.arange(limit, dtype=np.int64) * (len(rows) - 1) // (limit - 1)]


def _check_fraction(validation_fraction: float) -> None:
    if not 0 < validation_fraction < 1:
        raise DataError(f"the validation fraction is {validation_fraction}; it must lie between 0 and 1, such as 0.17")
