"""The vectors of texts by key, and which are nearest to another: every one is compared, so that none is missed.

It holds numbers; what a key stands for is the idea memory's matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memory.row_table import RowTable

if TYPE_CHECKING:
    from collections.abc import Collection

    from memory.idea_fields import Key

_TIE = 1e-6  # similarities of equal texts may differ by rounding


class TextVectors:
    """Vectors of length 1."""

    def __init__(self) -> None:
        self._table: RowTable | None = None
        self._keys: list[Key | None] = []  # by row
        self._row_of: dict[Key, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, key: Key) -> bool:
        return key in self._row_of

    def keep(self, key: Key, vector: np.ndarray) -> None:
        """Hold a vector, scaled to length 1, in the place of an earlier one of the key."""
        if self._table is None:
            self._table = RowTable(len(vector))
        row = self._row_of.get(key)
        if row is None and self._free:
            row = self._free.pop()
        if row is None:
            row = self._table.append(unit(vector))
            self._keys.append(key)
        else:
            self._table.replace(row, unit(vector))
            self._keys[row] = key
        self._row_of[key] = row

    def drop(self, key: Key) -> None:
        """Forget a vector, if it is held."""
        row = self._row_of.pop(key, None)
        if row is not None:
            self._keys[row] = None
            self._free.append(row)

    def nearest(self, vector: np.ndarray, k: int, exclude: Collection[Key] = ()) -> list[tuple[Key, float]]:
        """Return the keys of the k most similar with their cosines, the nearest first; ties in the order of keys."""
        if self._table is None or k < 1:
            return []
        similarities = self._table.products(unit(vector)[None])[:, 0]  # [m]
        left_out = [row for key in exclude if (row := self._row_of.get(key)) is not None]
        similarities[[*left_out, *self._free]] = -np.inf
        k = min(k, len(similarities))
        least = np.partition(similarities, -k)[-k]
        rows = np.flatnonzero((similarities >= least - _TIE) & np.isfinite(similarities))
        found = [(key, float(similarities[row])) for row in rows.tolist() if (key := self._keys[row]) is not None]
        return sorted(found, key=lambda hit: (-round(hit[1], 6), hit[0]))[:k]


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector scaled to length 1, float32; one of length 0 as it is."""
    array = np.asarray(vector, dtype=np.float32)
    return array / max(float(np.linalg.norm(array)), 1e-12)
