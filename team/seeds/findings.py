"""What a data set holds that a person should know before a search on it: sizes, labels, outliers, doubles.

It reads all labels, those of official test rows among them, as a person who looks at a table does. `brief.md` is read
by models too, so it gets figures over many rows and names no crystal with its label; outliers are told a person alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from evaluation_locked.crystals import SYMBOLS
from evaluation_locked.dataset import DataError
from evaluation_locked.sources import Summary, describe
from evaluation_locked.splits import official_folds

if TYPE_CHECKING:
    from evaluation_locked.dataset import Dataset

Kind = Literal["regression", "classification"]
SAME_VOLUME = 0.01  # of the volume per atom: one structure, relaxed twice
FAR_OUT = 3.0  # interquartile ranges beyond a quartile (Tukey 1977)
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
N_NAMED = 3


@dataclass(frozen=True)
class Findings:
    """A data set in the figures that matter for a search.

    Attributes:
        summary: Sizes, formulas and labels in numbers.
        kind: What the labels are.
        quantiles: Of the labels, at `QUANTILES`.
        elements: The commonest elements, each with the share of crystals that hold it.
        outliers: (formula, label) of the farthest labels beyond `FAR_OUT`, farthest first.
        n_outliers: How many there are.
        formula_across: Share of the official test rows whose reduced formula is among the training rows.
        structure_across: Share of them with a training row of equal formula, space group and volume.
        n_doubles: Pairs of rows with equal formula, space group and volume, in the whole data.
        doubles_differ: Median difference of their labels; for classes the share of pairs that disagree; None without.
        total_atoms: Atoms of all cells together.
    """

    summary: Summary
    kind: Kind
    quantiles: tuple[float, ...]
    elements: tuple[tuple[str, float], ...]
    outliers: tuple[tuple[str, float], ...]
    n_outliers: int
    formula_across: float
    structure_across: float
    n_doubles: int
    doubles_differ: float | None
    total_atoms: int


def look_at(dataset: Dataset, kind: Kind | None = None) -> Findings:
    """Return what is found in a data set.

    Args:
        dataset: All rows of a source.
        kind: What the labels are; where None, labels of 0 and 1 alone are classes.

    Raises:
        DataError: The rows are too few for official folds, all labels are equal, or they are no classes as `kind` says.
    """
    labels = dataset.target
    values = np.unique(labels)
    if len(values) < 2:
        raise DataError(f"{dataset.name}: every label is {values[0]:g}, so there is nothing to predict")
    is_class = set(values) <= {0.0, 1.0}
    if kind == "classification" and not is_class:
        shown = ", ".join(f"{value:g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
        raise DataError(
            f"{dataset.name}: {len(values)} different labels ({shown}), and a class is 0 or 1: make a class of a "
            f'number by a comparison, such as --target "COLUMN > {float(np.median(labels)):g}"'
        )
    kind = kind or ("classification" if is_class else "regression")
    folds = official_folds(len(dataset), stratify_labels=labels if kind == "classification" else None)
    train, test = folds[0]
    formula = dataset.crystals.formula_keys()
    n_doubles, differ = _doubles(dataset, formula)
    outliers = _outliers(labels) if kind == "regression" else np.zeros(0, dtype=np.int64)
    return Findings(
        summary=describe(dataset),
        kind=kind,
        quantiles=tuple(float(q) for q in np.quantile(labels, QUANTILES)),
        elements=_elements(dataset),
        outliers=tuple((dataset.crystals.formula(int(i)), float(labels[i])) for i in outliers[:N_NAMED]),
        n_outliers=len(outliers),
        formula_across=float(np.isin(formula[test], formula[train]).mean()),
        structure_across=_structures_across(dataset, formula, train, test),
        n_doubles=n_doubles,
        doubles_differ=(float(differ.mean() if is_class else np.median(differ)) if len(differ) else None),
        total_atoms=int(dataset.crystals.n_atoms.sum()),
    )


def _outliers(labels: np.ndarray) -> np.ndarray:
    """Return the rows beyond the far fences, farthest first; zeros are left out where they are a heap of their own."""
    spread = labels[labels != 0] if (labels == 0).mean() > 0.05 else labels
    low, high = np.quantile(spread, [0.25, 0.75])
    beyond = np.maximum(low - labels, labels - high) - FAR_OUT * (high - low)
    if (labels == 0).mean() > 0.05:
        beyond[labels == 0] = -1.0
    rows = np.flatnonzero(beyond > 0)
    return rows[np.argsort(-beyond[rows], kind="stable")]


def _elements(dataset: Dataset) -> tuple[tuple[str, float], ...]:
    crystals = dataset.crystals
    owner = np.repeat(np.arange(len(crystals), dtype=np.int64), crystals.n_atoms)
    held = np.unique(owner * 256 + crystals.atomic_numbers) % 256
    numbers, counts = np.unique(held, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:8]
    return tuple((SYMBOLS[numbers[i]], float(counts[i] / len(crystals))) for i in common)


def _sorted_by_structure(dataset: Dataset, formula: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows in the order of (formula and space group, volume per atom), with both keys in that order."""
    crystals = dataset.crystals
    per_atom = crystals.volumes() / crystals.n_atoms
    group = formula + crystals.space_group.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    order = np.lexsort((per_atom, group))
    return order, group[order], per_atom[order]


def _doubles(dataset: Dataset, formula: np.ndarray) -> tuple[int, np.ndarray]:
    """Return how many neighbouring pairs are one structure, and by how much the labels of each pair differ."""
    order, group, volume = _sorted_by_structure(dataset, formula)
    same = (group[1:] == group[:-1]) & (volume[1:] <= volume[:-1] * (1 + SAME_VOLUME))
    labels = dataset.target[order]
    return int(same.sum()), np.abs(labels[1:] - labels[:-1])[same]


def _structures_across(dataset: Dataset, formula: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Return the share of test rows with a training row of equal formula and space group, and volume within 1 %."""
    order, group, volume = _sorted_by_structure(dataset, formula)
    in_train = np.zeros(len(order), dtype=bool)
    in_train[train] = True
    in_train = in_train[order]
    near = np.zeros(len(order), dtype=bool)
    for step in (1, -1):  # the nearest training row before each row, then the nearest after it
        flags, keys, sizes = in_train[::step], group[::step], volume[::step]
        place = np.where(flags, np.arange(len(order)), -1)
        last = np.maximum.accumulate(place)
        known = last >= 0
        alike = known & (keys[last] == keys) & (np.abs(sizes / sizes[last] - 1) <= SAME_VOLUME)
        near |= alike[::step]
    found = np.zeros(len(order), dtype=bool)
    found[order] = near
    return float(found[test].mean())
