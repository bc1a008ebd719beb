"""The vectors of texts by key, and which are nearest to another: exactly, without a product with every number of each.

A few directions hold most of what vectors of similar texts differ by (their principal axes). The product along those
and the lengths of what is left bound a cosine from above (Cauchy and Schwarz), so that only where the bound reaches the
best is the cosine itself taken. It holds numbers; what a key stands for is the idea memory's matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memory.row_table import RowTable

if TYPE_CHECKING:
    from collections.abc import Collection

    from memory.idea_fields import Key

_TIE = 1e-6  # similarities of equal texts may differ by rounding
_SLACK = 1e-4  # of a bound, for rounding
_FIRST_AXES, _MORE_ROWS = 4_096, 4  # rows from which on axes are used, and growth after which they are found anew
_N_AXES, _SAMPLE = 64, 4_096
_LOOKED_AT = 64  # rows whose cosine tells what the bound must reach


class TextVectors:
    """Vectors of length 1."""

    def __init__(self) -> None:
        self._table: RowTable | None = None
        self._keys: list[Key | None] = []  # by row
        self._row_of: dict[Key, int] = {}
        self._free: list[int] = []
        self._axes: np.ndarray | None = None  # [n_columns, _N_AXES]
        self._n_at_axes = 0
        self._along = RowTable(1)  # of each row the part along the axes, and the length of what is left

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, key: Key) -> bool:
        return key in self._row_of

    def keep(self, key: Key, vector: np.ndarray) -> None:
        """Hold a vector, scaled to length 1, in the place of an earlier one of the key."""
        if self._table is None:
            self._table = RowTable(len(vector))
        row, scaled = self._row_of.get(key), unit(vector)
        if row is None and self._free:
            row = self._free.pop()
        new = row is None
        if row is None:
            row = self._table.append(scaled)
            self._keys.append(key)
        else:
            self._table.replace(row, scaled)
            self._keys[row] = key
        self._row_of[key] = row
        if self._axes is not None:
            parts = _split(scaled[None], self._axes)[0]
            if new:
                self._along.append(parts)
            else:
                self._along.replace(row, parts)

    def drop(self, key: Key) -> None:
        """Forget a vector, if it is held."""
        row = self._row_of.pop(key, None)
        if row is not None:
            self._keys[row] = None
            self._free.append(row)

    def nearest(self, vector: np.ndarray, k: int, exclude: Collection[Key] = ()) -> list[tuple[Key, float]]:
        """Return the keys of the k most similar with their cosines, the nearest first; ties in the order of keys."""
        if self._table is None or k < 1 or not self._row_of:
            return []
        asked = unit(vector)
        left_out = [*(row for key in exclude if (row := self._row_of.get(key)) is not None), *self._free]
        rows = self._near_rows(asked, k, left_out)
        if rows is None:
            rows = np.arange(len(self._keys))
            similarities = self._table.products(asked[None])[:, 0]
            similarities[left_out] = -np.inf
        else:
            similarities = self._table.rows[rows] @ asked
            similarities[np.isin(rows, left_out)] = -np.inf
        k = min(k, len(similarities))
        least = np.partition(similarities, -k)[-k]
        at = np.flatnonzero((similarities >= least - _TIE) & np.isfinite(similarities)).tolist()
        found = [(key, float(similarities[i])) for i in at if (key := self._keys[rows[i]]) is not None]
        return sorted(found, key=lambda hit: (-round(hit[1], 6), hit[0]))[:k]

    def _near_rows(self, asked: np.ndarray, k: int, left_out: Collection[int]) -> np.ndarray | None:
        """Return rows among which the k most similar are, those left out apart; None where that is any row."""
        assert self._table is not None
        n = len(self._keys)
        looked_at = max(_LOOKED_AT, k + len(left_out))
        if n < _FIRST_AXES or looked_at > n // 4:
            return None
        if self._axes is None or n >= _MORE_ROWS * self._n_at_axes:
            self._find_axes()
        assert self._axes is not None
        bounds = self._along.products(_split(asked[None], self._axes))[:, 0] + _SLACK  # [n]
        bounds[list(left_out)] = -np.inf
        first = np.argpartition(bounds, -looked_at)[-looked_at:]
        bar = np.partition(self._table.rows[first] @ asked, -k)[-k]
        rows = np.flatnonzero(bounds >= bar - _TIE)
        return rows if len(rows) < n // 4 else None

    def _find_axes(self) -> None:
        """Find the directions along which the vectors are longest, and what each has along them."""
        assert self._table is not None
        rows = self._table.rows
        sample = rows[:: max(1, len(rows) // _SAMPLE)].astype(np.float64)
        self._axes = np.linalg.eigh(sample.T @ sample)[1][:, -_N_AXES:].astype(np.float32)
        self._n_at_axes = len(rows)
        self._along = RowTable(self._axes.shape[1] + 1)
        for parts in _split(rows, self._axes):
            self._along.append(parts)


def _split(vectors: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return of vectors of length 1 the part along the axes, and the length of what is left, [n, n_axes + 1]."""
    along = vectors @ axes
    left = np.sqrt(np.maximum(1.0 - (along * along).sum(1), 0.0))
    return np.column_stack([along, left]).astype(np.float32)


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector scaled to length 1, float32; one of length 0 as it is."""
    array = np.asarray(vector, dtype=np.float32)
    return array / max(float(np.linalg.norm(array)), 1e-12)
