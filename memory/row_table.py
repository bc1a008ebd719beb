"""A matrix that grows by rows: what the text view and the behaviour view compare a new idea with in one product.

It holds numbers and knows nothing of what they mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

_GROWTH = 1.25
_FIRST_ROWS = 64
_BLOCK_BYTES = 4 << 20


class RowTable:
    """Rows of one length in one block of memory, a quarter of it spare at most.

    Args:
        n_columns: Length of a row.
        dtype: How a number is stored; products are taken in float32 whatever it is.
        max_rows: From then on a new row takes the place of the oldest; None never.
    """

    def __init__(self, n_columns: int, dtype: DTypeLike = np.float32, max_rows: int | None = None) -> None:
        self._held = np.empty((0, n_columns), dtype)
        self._n = 0
        self._next = 0
        self._max_rows = max_rows

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> np.ndarray:
        """All rows, [len, n_columns], a view that the next `append` may leave behind."""
        return self._held[: self._n]

    def append(self, row: np.ndarray) -> int:
        """Take in a row and return where it lies: at the end, or where the oldest was.

        Raises:
            ValueError: It has another length.
        """
        if row.shape != self._held.shape[1:]:
            raise ValueError(f"a row of shape {row.shape} among rows of {self._held.shape[1]} columns")
        if self._max_rows is not None and self._n == self._max_rows:
            at = self._next
        else:
            at, self._n = self._n, self._n + 1
            if at == len(self._held):
                self._grow()
        self._held[at] = row
        self._next = (at + 1) % (self._max_rows or self._n + 1)
        return at

    def replace(self, at: int, row: np.ndarray) -> None:
        """Put another row in the place of one that is held."""
        self._held[at] = row

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """Return the dot product of every row with every vector.

        Args:
            vectors: [k, n_columns].

        Returns:
            [len, k] float32.
        """
        rows, wanted = self.rows, np.asarray(vectors, np.float32).T
        if rows.dtype == np.float32:
            return np.asarray(rows @ wanted)
        result = np.empty((len(rows), wanted.shape[1]), np.float32)
        step = max(1, _BLOCK_BYTES // (4 * max(1, rows.shape[1])))
        for start in range(0, len(rows), step):  # a block fits the cache, so that no wide copy of all is made
            result[start : start + step] = rows[start : start + step].astype(np.float32) @ wanted
        return result

    def _grow(self) -> None:
        n_rows = max(_FIRST_ROWS, int(len(self._held) * _GROWTH))
        grown = np.empty((min(n_rows, self._max_rows or n_rows), self._held.shape[1]), self._held.dtype)
        grown[: len(self._held)] = self._held
        self._held = grown
