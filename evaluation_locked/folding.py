"""Atoms of a crystal that no network of distances can tell apart, folded into one node that counts for all of them.

Half of all atoms in real crystals are copies of another by symmetry: their neighbours are of the same elements at the
same distances, and so are their neighbours' neighbours. A network that passes messages along these edges computes the
same state for all copies, so it is enough to compute one, and to count it as often as there are copies when a crystal
is pooled. Classes of such atoms are found by colour refinement (Weisfeiler and Leman 1968; the coarsest equitable
partition of the graph): no symmetry search, no space group. It runs inside a trial, so it imports numpy alone.

What it does not promise: that copies agree in angles. Where two atoms agree in all distances and differ in angles (one
atom in eighty of `matbench_mp_gap`, most by a shell of neighbours that k cuts), the angles of one stand for both.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.crystals import mix64

if TYPE_CHECKING:
    from evaluation_locked.crystals import Crystals
    from evaluation_locked.neighbours import NeighbourTable

STEP_ANGSTROM = 0.005  # distances in one such step are the same; relaxed structures keep their symmetry to about 0.001
CHUNK_ATOMS = 20_000  # their hashes stay in the cache of a core


@dataclass(frozen=True)
class Nodes:
    """The atoms that stand for all, and their neighbours among them; the nodes of crystal i follow those of i - 1.

    Attributes:
        n_nodes: [n] int64; nodes of each crystal.
        atom: [n_nodes.sum()] int64; the atom that each node is, a row of the flat atom arrays, ascending.
        count: [n_nodes.sum()] int64; how many atoms of its crystal a node stands for, itself among them.
        index: [n_nodes.sum(), k] int64; row of the neighbour in the arrays of nodes.
        distance: [n_nodes.sum(), k] float32; angstrom.
        vector: [n_nodes.sum(), k, 3] float32; angstrom, from the atom to its neighbour's image.
    """

    n_nodes: np.ndarray
    atom: np.ndarray
    count: np.ndarray
    index: np.ndarray
    distance: np.ndarray
    vector: np.ndarray


def fold(crystals: Crystals, table: NeighbourTable, *, n_threads: int = 1) -> Nodes:
    """Return one node for each class of atoms that are equal in element and surroundings, however far one looks.

    Args:
        crystals: n crystals with n_total atoms.
        table: Their neighbours.
        n_threads: Threads to work with; the result does not depend on it.
    """
    offsets = crystals.offsets
    starts = np.unique(np.searchsorted(offsets, np.arange(0, offsets[-1], CHUNK_ATOMS), side="right") - 1)
    ends = [*starts[1:].tolist(), len(crystals)]
    with ThreadPoolExecutor(max_workers=max(1, n_threads)) as pool:
        classes = list(pool.map(partial(_first_of_class, crystals, offsets, table), starts.tolist(), ends))
    first = np.concatenate(classes) if classes else np.zeros(0, dtype=np.int64)  # [n_total] the atom that stands for it
    atom, node_of_atom, count = np.unique(first, return_inverse=True, return_counts=True)
    return Nodes(
        n_nodes=np.diff(np.searchsorted(atom, offsets)),
        atom=atom,
        count=count,
        index=node_of_atom.reshape(-1)[table.index[atom]],
        distance=table.distance[atom],
        vector=table.vector[atom],
    )


def _first_of_class(crystals: Crystals, offsets: np.ndarray, table: NeighbourTable, start: int, end: int) -> np.ndarray:
    """Return, for the atoms of crystals start to end, the row of the first atom of their class."""
    low, high = int(offsets[start]), int(offsets[end])
    crystal = np.repeat(np.arange(start, end), crystals.n_atoms[start:end])  # [m]
    neighbour = table.index[low:high] - low  # [m, k]
    edge = mix64(np.floor(table.distance[low:high] / STEP_ANGSTROM).astype(np.uint64))  # [m, k]
    colour = mix64(crystals.atomic_numbers[low:high].astype(np.uint64) + (crystal.astype(np.uint64) << np.uint64(8)))
    owner = crystal - start
    rows = np.arange(high - low)  # the atoms of crystals whose classes still part
    first, n_classes = np.zeros(high - low, dtype=np.int64), np.zeros(end - start, dtype=np.int64)
    while len(rows):
        _, place, inverse = np.unique(colour[rows], return_index=True, return_inverse=True)
        first[rows] = rows[place][inverse.reshape(-1)]
        now = np.bincount(owner[rows[place]], minlength=end - start)
        parted = now > n_classes
        n_classes = np.maximum(n_classes, now)
        rows = rows[parted[owner[rows]]]
        seen = mix64(edge[rows] ^ colour[neighbour[rows]])  # [m, k]
        colour[rows] = mix64(colour[rows] + seen.sum(axis=1, dtype=np.uint64))
    return first + low
