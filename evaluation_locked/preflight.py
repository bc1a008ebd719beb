"""What would make every trial of a run fail, found before the first is paid for.

It owns the look at crystals as graphs: atoms on top of each other, and more edges than a trial's memory holds. What a
single crystal must be is `Crystals.check`'s. It decides nothing about a file, which may ask for another graph.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.crystals import CrystalError
from evaluation_locked.dataset import DataError
from evaluation_locked.neighbours import nearest_neighbours

if TYPE_CHECKING:
    from evaluation_locked.crystals import Crystals

GIB = 1 << 30
LEAST_NEIGHBOURS = 12  # as the seed; fewer make no graph that a published network would train on
TABLE_BYTES_PER_EDGE = 2 * (8 + 4 + 12)  # index, distance and vector; for a moment there are two of each
STEP_BYTES_PER_EDGE = 4 * 64 * 3 * 3  # float32, width 64, three blocks that keep three such tensors for the gradient


def check_graphs(crystals: Crystals, rows: np.ndarray, memory_gib: float) -> None:
    """Refuse crystals whose graphs no trial can build or hold.

    Args:
        crystals: n crystals that passed `Crystals.check`.
        rows: [n] their rows in the source, by which a message names them.
        memory_gib: What a trial may use.

    Raises:
        CrystalError: A crystal has two atoms in one place, or is larger by itself than memory holds.
        DataError: All crystals together are larger.
    """
    if not len(crystals):
        return
    largest = int(crystals.n_atoms.argmax())
    one_gib = LEAST_NEIGHBOURS * int(crystals.n_atoms[largest]) * (TABLE_BYTES_PER_EDGE + STEP_BYTES_PER_EDGE) / GIB
    if one_gib > memory_gib:
        raise CrystalError(
            f"crystal row {rows[largest]} has {crystals.n_atoms[largest]:,} atoms: a graph of {LEAST_NEIGHBOURS} "
            f"neighbours each takes about {one_gib:.1f} GiB to train on, and a trial may use {memory_gib:g} "
            "(caps.memory_gib): leave it out, or raise the cap"
        )
    n_total = int(crystals.n_atoms.sum())
    all_gib = LEAST_NEIGHBOURS * n_total * TABLE_BYTES_PER_EDGE / GIB
    if all_gib > memory_gib:
        raise DataError(
            f"{len(crystals):,} crystals of {n_total:,} atoms make graphs of about {all_gib:.1f} GiB, and a trial may "
            f"use {memory_gib:g} (caps.memory_gib): search on fewer (--limit), or raise the cap"
        )
    try:
        nearest_neighbours(crystals, 1, n_threads=len(os.sched_getaffinity(0)))
    except CrystalError as error:
        raise _overlap(crystals, rows, error) from None


def _overlap(crystals: Crystals, rows: np.ndarray, error: CrystalError) -> CrystalError:
    """Return the error of the first crystal with atoms on top of each other, by its row in the source."""
    while len(rows) > 1:
        half = len(rows) // 2
        try:
            nearest_neighbours(crystals.select(np.arange(half)), 1)
        except CrystalError as found:
            error, keep = found, np.arange(half)
        else:
            keep = np.arange(half, len(rows))
        crystals, rows = crystals.select(keep), rows[keep]
    try:
        nearest_neighbours(crystals, 1)
    except CrystalError as found:
        error = found
    return CrystalError(str(error).replace("crystal row 0 ", f"crystal row {rows[0]} ", 1))
