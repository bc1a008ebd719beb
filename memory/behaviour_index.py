"""The errors of trials as directions, and how far each agrees with another: what the behaviour view is measured from.

The view itself is defined in `memory.crowding.behaviour_crowding`. Nothing here reads a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memory.row_table import RowTable

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_FOR_FLOOR = 3
MAX_BYTES = 64 << 20
_BLOCK = 256


class BehaviourIndex:
    """The signed square roots of trials' errors, each scaled to mean 0 and variance 1, as one matrix of float32.

    The correlations of a new trial with all others are one product of the matrix with a vector. It takes
    64 MiB at most (on 500 crystals 33,000 trials, on 18,000 crystals 930), which bounds the time as well; beyond that a
    new trial takes the place of the oldest.

    Args:
        residuals: Label and prediction minus label of each trial, [n] of the same crystals.

    Attributes:
        labels: Of the trials held, by row.
        floor: The correlation that any two trials show: the least between two that were held together, at least 0. It
            is the best known estimate of how far two unrelated networks agree because hard crystals are hard. Below
            three trials nothing is known of it, and it is 0. It falls as trials become more diverse, never because a
            family grows.
    """

    def __init__(self, residuals: Iterable[tuple[int | str, np.ndarray]] = ()) -> None:
        self.labels: list[int | str] = []
        self._table: RowTable | None = None
        self._least = np.inf
        self._asked: tuple[np.ndarray, np.ndarray] | None = None  # the last direction, and what was found
        self._add_all(residuals)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def floor(self) -> float:
        """See the class."""
        return max(0.0, float(self._least)) if len(self) >= MIN_FOR_FLOOR else 0.0

    def add(self, label: int | str, residuals: np.ndarray) -> None:
        """Take in a trial's residuals.

        Raises:
            ValueError: They differ in length from those held, or are not finite.
        """
        self._add_all([(label, residuals)])

    def correlations(self, residuals: np.ndarray) -> np.ndarray:
        """Return the correlation with every trial held, [m] float32; of residuals without variance it is 0.

        Raises:
            ValueError: They differ in length from those held, or are not finite.
        """
        direction = self._direction(residuals, "the trial")
        assert self._table is not None, "asked only where something is held"
        found = self._table.products(direction[None])[:, 0] / len(direction)
        self._asked = (direction, found)
        return found

    def _add_all(self, residuals: Iterable[tuple[int | str, np.ndarray]]) -> None:
        """Take in several, by blocks, so that the floor costs matrix products and not a pass over all for each."""
        block: list[np.ndarray] = []
        for label, values in residuals:
            direction = self._direction(values, f"trial {label}")
            if self._table is None:
                self._table = RowTable(len(direction), max_rows=max_held(len(direction)))
            at = self._table.append(direction)
            self.labels[at : at + 1] = [label]
            asked, self._asked = self._asked, None
            if asked is not None and np.array_equal(asked[0], direction):  # a trial is asked about, then taken in
                self._least = min(self._least, float(np.delete(asked[1], slice(at, at + 1)).min(initial=np.inf)))
                continue
            block.append(direction)
            if len(block) == _BLOCK:
                self._lower_floor(np.stack(block))
                block = []
        if block:
            self._lower_floor(np.stack(block))

    def _lower_floor(self, fresh: np.ndarray) -> None:
        """Take rows that were just appended into the floor, [k, n]; with themselves they correlate most."""
        if self._table is not None and len(self) > 1:
            self._least = min(self._least, float(self._table.products(fresh).min()) / fresh.shape[1])

    def _direction(self, residuals: np.ndarray, of: str) -> np.ndarray:
        """Return the signed square roots with mean 0 and variance 1, [n] float32; without variance zeros."""
        n = residuals.size if self._table is None else self._table.rows.shape[1]
        if residuals.shape != (n,) or not np.isfinite(residuals).all():
            raise ValueError(
                f"residuals of {of} are {residuals.shape}; {n} finite numbers of the same crystals are due"
            )
        values = residuals.astype(np.float32)
        values = np.sign(values) * np.sqrt(np.abs(values))
        values -= values.mean()
        deviation = float(values.std())
        return values / deviation if deviation > 1e-6 else np.zeros_like(values)


def max_held(n_crystals: int) -> int:
    """Return how many trials an index has room for."""
    return max(MIN_FOR_FLOOR, MAX_BYTES // (4 * n_crystals))
