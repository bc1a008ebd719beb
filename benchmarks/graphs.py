"""How fast graphs are made, and whether they are right: `make bench-graphs`.

    python -m benchmarks.graphs [--crystals 106113] [--k 24] [--threads 2] [--checked 2000]

Searches the k nearest periodic neighbours of every crystal of `matbench_mp_gap` (or of the shipped crystals, where
`TEAM_TEST_DATA` is not set), folds equal atoms into nodes, says what both take and hold, and compares the neighbours of
some crystals with pymatgen's, where it is installed. It needs numpy and the trial's side alone, so it runs on a bare
GPU machine too. Neighbours are compared as sets of periodic images; which of several at the same distance is the k-th
is nobody's truth, so those within 1e-4 angstrom of the k-th distance are compared by distance alone.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from evaluation_locked.crystals import Crystals
from evaluation_locked.folding import fold
from evaluation_locked.neighbours import NeighbourTable, nearest_neighbours


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crystals", type=int, default=106_113)
    parser.add_argument("--k", type=int, default=24)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--checked", type=int, default=2_000)
    options = parser.parse_args()

    crystals = read_crystals()
    crystals = crystals.select(np.arange(min(options.crystals, len(crystals))))
    n_atoms = int(crystals.n_atoms.sum())
    print(f"{len(crystals):,} crystals, {n_atoms:,} atoms, k = {options.k}, {options.threads} threads")

    begun, used = time.perf_counter(), time.process_time()
    table = nearest_neighbours(crystals, options.k, n_threads=options.threads)
    searched, searched_cpu = time.perf_counter() - begun, time.process_time() - used
    begun, used = time.perf_counter(), time.process_time()
    nodes = fold(crystals, table, n_threads=options.threads)
    folded, folded_cpu = time.perf_counter() - begun, time.process_time() - used
    print(f"neighbours  {searched:7.1f} s  {searched_cpu:7.1f} CPU s  {size_of(table) / 2**30:5.2f} GiB")
    print(f"folding     {folded:7.1f} s  {folded_cpu:7.1f} CPU s  {size_of(nodes) / 2**30:5.2f} GiB")
    print(f"{len(nodes.atom):,} nodes: {n_atoms / len(nodes.atom):.2f} times fewer than atoms")

    rows = np.sort(np.random.default_rng(0).choice(len(crystals), min(options.checked, len(crystals)), replace=False))
    wrong = [int(row) for row in rows if not agrees_with_pymatgen(crystals, table, int(row))]
    print(
        f"{len(rows):,} random crystals against pymatgen: {len(wrong)} differ{': rows ' if wrong else ''}{wrong or ''}"
    )


def read_crystals() -> Crystals:
    """Return the real crystals where they are at hand, the shipped ones elsewhere."""
    if folder := os.environ.get("TEAM_TEST_DATA"):
        with np.load(Path(folder) / "matbench_mp_gap.npz") as arrays:
            return Crystals.from_arrays(arrays)
    from evaluation_locked import tight_binding  # builds them with pymatgen, if they are not cached

    return tight_binding.load().crystals


def size_of(arrays: object) -> int:
    """Return the bytes of all arrays of a table."""
    return sum(array.nbytes for array in vars(arrays).values())


def agrees_with_pymatgen(crystals: Crystals, table: NeighbourTable, row: int) -> bool:
    """Whether the neighbours of every atom of a crystal are pymatgen's."""
    from pymatgen.core import Lattice, Structure

    atoms = slice(crystals.offsets[row], crystals.offsets[row + 1])
    lattice, frac = crystals.lattice_vectors()[row], crystals.frac_coords[atoms]
    structure = Structure(Lattice(lattice), crystals.atomic_numbers[atoms], frac)
    distance, index = table.distance[atoms], table.index[atoms] - atoms.start
    centre, point, image, length = structure.get_neighbor_list(float(distance.max()) + 1e-3, exclude_self=True)
    images = np.rint(table.vector[atoms] @ np.linalg.inv(lattice) - frac[index] + frac[:, None]).astype(int)
    for atom in range(len(frac)):
        mine = centre == atom
        if not np.allclose(np.sort(length[mine])[: distance.shape[1]], distance[atom], atol=2e-5):
            return False
        sure = distance[atom, -1] - 1e-4
        expected = {
            (int(p), *i) for p, i, d in zip(point[mine], image[mine].tolist(), length[mine], strict=True) if d < sure
        }
        near = distance[atom] < sure
        found = {(int(p), *i) for p, i in zip(index[atom][near], images[atom][near].tolist(), strict=True)}
        if {tuple(map(int, e)) for e in expected} != found:
            return False
    return True


if __name__ == "__main__":
    main()
