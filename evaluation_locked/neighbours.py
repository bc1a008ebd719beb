"""The k nearest periodic neighbours of every atom: exact, deterministic, and fast enough for 100,000 crystals.

It owns the search and nothing that a model does with it. It runs inside a trial, so it imports numpy alone.

How: along lattice vector i the lattice planes are h_i apart. If the difference of two fractional coordinates is taken
over its M_i images in [-M_i / 2, M_i / 2), every image left out is at least M_i h_i / 2 away. So M_i >= 2 r / h_i finds
all neighbours within r; where the k-th found lies further out, the crystal is searched again with the radius that the
k-th found bounds. Crystals of equal atom count and equal M are searched together, in chunks of bounded memory.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.crystals import FRAC_SCALE, CrystalError, Crystals

if TYPE_CHECKING:
    from collections.abc import Iterator

TIE_ANGSTROM = 1e-5  # distances in one such step are a tie; the rounding of coordinates moves a distance by about 1e-7
TOO_CLOSE_ANGSTROM = 0.1
FIRST_SHARE = 1.6  # the first radius holds this many times k atoms at the mean density
CHUNK_CANDIDATES = 200_000  # a few MB of work space in each thread: it stays in the cache
_SELF = np.iinfo(np.int64).max


@dataclass(frozen=True)
class NeighbourTable:
    """The k nearest periodic images around each atom, nearest first.

    Distances that tie (see `TIE_ANGSTROM`) are ordered by the neighbour's atom, then by its cell.

    Attributes:
        index: [n_total, k] int64; row of the neighbour in the flat atom arrays of the crystals.
        distance: [n_total, k] float32; angstrom.
        vector: [n_total, k, 3] float32; angstrom, from the atom to the image, in the axes of `lattice_vectors()`.
    """

    index: np.ndarray
    distance: np.ndarray
    vector: np.ndarray

    def within(self, radius_angstrom: float) -> np.ndarray:
        """Return [n_total, k] bool: which neighbours make the radius graph, of k at most for each atom."""
        return self.distance <= radius_angstrom

    def with_ties(self, nearest: int) -> np.ndarray:
        """Return [n_total, k] bool: the `nearest` neighbours, and those among the k that are no further than the last.

        Raises:
            ValueError: `nearest` is not between 1 and k.
        """
        k = self.distance.shape[1]
        if not 1 <= nearest <= k:
            raise ValueError(f"{nearest} nearest of a table of {k} neighbours: ask for 1 to {k}")
        return self.distance <= self.distance[:, nearest - 1 : nearest] + TIE_ANGSTROM


@dataclass(frozen=True)
class _Chunk:
    """Crystals of equal size and equal image counts, and the range of their atoms that are centres."""

    rows: np.ndarray  # [b], places in the rows that are searched
    images: tuple[int, int, int]
    first: int
    last: int


def nearest_neighbours(crystals: Crystals, k: int, *, n_threads: int = 1) -> NeighbourTable:
    """Return the k nearest periodic images of every atom; an atom is no neighbour of itself, its images are.

    Args:
        crystals: n crystals with n_total atoms.
        k: Neighbours of each atom, at least 1.
        n_threads: Threads to search with; the result does not depend on it.

    Raises:
        CrystalError: Two atoms of a crystal are less than `TOO_CLOSE_ANGSTROM` apart.
        ValueError: k is less than 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}: ask for at least 1 neighbour")
    n_total = int(crystals.n_atoms.sum())
    table = NeighbourTable(
        index=np.empty((n_total, k), dtype=np.int64),
        distance=np.empty((n_total, k), dtype=np.float32),
        vector=np.empty((n_total, k, 3), dtype=np.float32),
    )
    lattice = crystals.lattice_vectors()  # [n, 3, 3]
    height = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=1)  # [n, 3] spacing of the lattice planes
    volume_per_atom = np.abs(np.linalg.det(lattice)) / crystals.n_atoms
    radius = np.cbrt(3.0 / (4.0 * np.pi) * FIRST_SHARE * (k + 1) * volume_per_atom)  # [n]
    starts = np.cumsum(crystals.n_atoms) - crystals.n_atoms
    rows = np.arange(len(crystals))
    with ThreadPoolExecutor(max_workers=max(1, n_threads)) as pool:
        while len(rows):
            images = np.ceil(2.0 * radius[rows, None] / height[rows]).astype(np.int64)  # [m, 3]
            few = images.prod(axis=1) * crystals.n_atoms[rows] <= k  # one candidate of each atom is itself
            reached = np.where(few, np.inf, 0.0)  # [m] the largest k-th distance in each crystal
            chunks = list(_chunks(crystals.n_atoms[rows], images, few))
            search = partial(_search, crystals, lattice, starts, table)
            found = pool.map(search, (replace(chunk, rows=rows[chunk.rows]) for chunk in chunks))
            for chunk, kth in zip(chunks, found, strict=True):
                reached[chunk.rows] = np.maximum(reached[chunk.rows], kth)
            covered = (images * height[rows]).min(axis=1) / 2.0
            radius[rows] = np.where(few, 1.3 * radius[rows], reached + 4.0 * TIE_ANGSTROM)
            rows = rows[reached + 2.0 * TIE_ANGSTROM > covered]
    return table


def _chunks(n_atoms: np.ndarray, images: np.ndarray, skip: np.ndarray) -> Iterator[_Chunk]:
    """Yield every crystal that is not skipped once, in chunks of about `CHUNK_CANDIDATES` pairs of atom and image."""
    rows, keys = np.flatnonzero(~skip), np.column_stack([n_atoms, images])[~skip]
    kinds, kind_of = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(kind_of.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(kind_of.reshape(-1), minlength=len(kinds)))
    for (n, *cells), start, end in zip(kinds.tolist(), [0, *ends.tolist()], ends.tolist(), strict=False):
        per_atom = n * int(np.prod(cells))
        together = max(1, CHUNK_CANDIDATES // (n * per_atom))
        centres = n if together > 1 else max(1, CHUNK_CANDIDATES // per_atom)
        for at in range(start, end, together):
            for first in range(0, n, centres):
                yield _Chunk(rows[order[at : min(end, at + together)]], tuple(cells), first, min(n, first + centres))


def _search(
    crystals: Crystals, lattice: np.ndarray, starts: np.ndarray, table: NeighbourTable, chunk: _Chunk
) -> np.ndarray:
    """Fill the rows of `table` for a chunk and return the largest k-th distance of each of its crystals, [b]."""
    k = table.index.shape[1]
    n, b, centres = int(crystals.n_atoms[chunk.rows[0]]), len(chunk.rows), chunk.last - chunk.first
    atoms = starts[chunk.rows, None] + np.arange(n)  # [b, n] rows of the flat table
    coords = crystals.frac_coords_e8[:, atoms].astype(np.int64)  # [3, b, n]
    vectors = lattice[chunk.rows]  # [b, 3, 3]

    # Fractional difference in [0, 1) for an even image count and in [-1/2, 1/2) for an odd one, exact in integers.
    one = int(FRAC_SCALE)
    half = np.array([one // 2 if m % 2 else 0 for m in chunk.images])[:, None, None, None]
    difference = coords[:, :, None, :] - coords[:, :, chunk.first : chunk.last, None] + half
    fraction = (difference % one - half) / FRAC_SCALE  # [3, b, centres, n]
    cells = np.stack(np.meshgrid(*(np.arange(m) - m // 2 for m in chunk.images), indexing="ij")).reshape(
        3, -1
    )  # [3, m]
    n_images = cells.shape[1]

    squared = np.zeros((b, centres, n, n_images))
    for axis in range(3):
        base = sum(fraction[i] * vectors[:, i, axis, None, None] for i in range(3))  # [b, centres, n]
        shift = sum(cells[i] * vectors[:, i, axis, None] for i in range(3))  # [b, m]
        part = np.asarray(base)[..., None] + np.asarray(shift)[:, None, None, :]
        part *= part
        squared += part
    # One integer orders by distance, then atom, then cell, and names the candidate: unique, so the order is fixed.
    np.sqrt(squared, out=squared)
    squared *= 1.0 / TIE_ANGSTROM
    keys = squared.astype(np.int64).reshape(b, centres, n * n_images)
    keys *= n * n_images
    keys += np.arange(n * n_images)
    own = np.arange(chunk.first, chunk.last) * n_images + int(np.flatnonzero((cells == 0).all(axis=0))[0])
    keys[:, np.arange(centres), own] = _SELF
    keys.partition(k - 1, axis=2)
    nearest = np.sort(keys[:, :, :k], axis=2)  # [b, centres, k]

    neighbour, image = np.divmod(nearest % (n * n_images), n_images)
    at = np.arange(b)[:, None, None], np.arange(centres)[None, :, None], neighbour
    steps = fraction[:, *at] + cells[:, image]  # [3, b, centres, k]
    vector = sum(steps[i][..., None] * vectors[:, None, None, i, :] for i in range(3))  # [b, centres, k, 3]
    distance = np.sqrt((np.asarray(vector) ** 2).sum(axis=3))
    close = distance[:, :, 0] < TOO_CLOSE_ANGSTROM
    if close.any():
        crystal, atom = np.argwhere(close)[0]
        row = int(chunk.rows[crystal])
        raise CrystalError(
            f"crystal row {row} ({crystals.formula(row)}) has atoms {chunk.first + atom} and "
            f"{neighbour[crystal, atom, 0]} only {distance[crystal, atom, 0]:.3f} angstrom apart: leave one of them out"
        )
    target = atoms[:, chunk.first : chunk.last]  # [b, centres]
    table.index[target] = atoms[:, :1, None] + neighbour
    table.distance[target] = distance
    table.vector[target] = vector
    return distance[:, :, -1].max(axis=1)
