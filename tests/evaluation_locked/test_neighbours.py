"""The neighbour search against pymatgen's, on hard made-up cells and on real crystals where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from evaluation_locked.crystals import CrystalError, Crystals, concatenate, wrap_frac_coords
from evaluation_locked.dataset import load_table
from evaluation_locked.neighbours import NeighbourTable, nearest_neighbours

REAL_DATA = os.environ.get("TEAM_TEST_DATA")


def crystal(parameters: tuple[float, ...], frac_coords: np.ndarray, element: int = 14) -> Crystals:
    frac_coords = np.asarray(frac_coords, dtype=float).reshape(-1, 3)
    return Crystals(
        lattice_parameters=np.array([parameters], dtype=np.float64),
        n_atoms=np.array([len(frac_coords)], dtype=np.int64),
        atomic_numbers=np.full(len(frac_coords), element, dtype=np.uint8),
        frac_coords_e8=wrap_frac_coords(frac_coords),
        space_group=np.ones(1, dtype=np.int16),
    )


def spread(n: int, seed: int) -> np.ndarray:
    """Random coordinates that do not coincide: places of a fine grid."""
    side = int(np.ceil(n ** (1 / 3))) + 1
    grid = np.stack(np.meshgrid(*[np.arange(side) / side] * 3, indexing="ij")).reshape(3, -1).T
    random = np.random.default_rng(seed)
    return grid[random.permutation(len(grid))[:n]] + random.uniform(-0.1, 0.1, (n, 3)) / side


FCC = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
DIAMOND = [*FCC, *(np.array(FCC) + 0.25).tolist()]
HARD = {
    "one atom, 2 A cube": crystal((2, 2, 2, 90, 90, 90), [[0, 0, 0]]),
    "one atom off the origin": crystal((3, 3, 3, 60, 60, 60), [[0.3, 0.7, 0.999999]]),
    "flat rhombohedron": crystal((6, 6, 6, 25, 25, 25), [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "steep rhombohedron": crystal((5, 5, 5, 118, 118, 118), [[0.1, 0.2, 0.3], [0.6, 0.6, 0.6]]),
    "monoclinic, 155 degrees": crystal((12, 3.1, 11, 90, 155, 90), spread(5, 1)),
    "triclinic": crystal((4, 7, 9, 62, 71, 113), spread(7, 2)),
    "slab in vacuum": crystal((3, 3, 40, 90, 90, 120), [[0, 0, 0.5], [1 / 3, 2 / 3, 0.53]]),
    "molecule in a box": crystal((15, 16, 17, 90, 90, 90), [[0, 0, 0], [0.05, 0, 0], [0.98, 0.04, 0.999]]),
    "needle": crystal((2.5, 60, 2.5, 90, 90, 90), spread(30, 3) * [1, 1, 1]),
    "face-centred cubic, many ties": crystal((4.05, 4.05, 4.05, 90, 90, 90), FCC),
    "diamond": crystal((5.43, 5.43, 5.43, 90, 90, 90), DIAMOND),
    "444 atoms": crystal((20, 21, 19, 85, 95, 100), spread(444, 4)),
}


def assert_like_pymatgen(crystals: Crystals, table: NeighbourTable) -> None:
    k = table.index.shape[1]
    for row in range(len(crystals)):
        atoms = slice(crystals.offsets[row], crystals.offsets[row + 1])
        lattice, frac = crystals.lattice_vectors()[row], crystals.frac_coords[atoms]
        structure = Structure(Lattice(lattice), crystals.atomic_numbers[atoms], frac)
        distance, index = table.distance[atoms], table.index[atoms] - atoms.start
        centre, point, image, length = structure.get_neighbor_list(float(distance.max()) + 1e-3, exclude_self=True)
        images = table.vector[atoms] @ np.linalg.inv(lattice) - frac[index] + frac[:, None]
        assert np.abs(images - np.rint(images)).max() < 1e-4
        np.testing.assert_allclose(np.linalg.norm(table.vector[atoms], axis=2), distance, atol=1e-5)
        assert (np.diff(distance, axis=1) > -2e-5).all()
        for atom in range(len(frac)):
            mine = centre == atom
            np.testing.assert_allclose(np.sort(length[mine])[:k], distance[atom], atol=2e-5)
            sure = distance[atom, -1] - 1e-4  # which of several at the k-th distance is taken is a matter of taste
            expected = {(p, *i) for p, i, d in zip(point[mine], image[mine], length[mine], strict=True) if d < sure}
            chosen = zip(index[atom], np.rint(images[atom]).astype(int), distance[atom], strict=True)
            every = [(p, *i) for p, i, _ in chosen]
            assert len(set(every)) == k
            assert {e for e, d in zip(every, distance[atom], strict=True) if d < sure} == {
                tuple(int(v) for v in e) for e in expected
            }


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("k", [1, 12, 24])
def test_hard_cells_agree_with_pymatgen(name: str, k: int) -> None:
    assert_like_pymatgen(HARD[name], nearest_neighbours(HARD[name], k))


def test_known_shells_of_diamond() -> None:
    table = nearest_neighbours(HARD["diamond"], 16)
    np.testing.assert_allclose(table.distance[:, :4], 5.43 * np.sqrt(3) / 4, rtol=1e-6)
    np.testing.assert_allclose(table.distance[:, 4:], 5.43 / np.sqrt(2), rtol=1e-6)


def test_the_result_depends_neither_on_company_nor_on_threads_nor_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    together = concatenate(list(HARD.values()))
    table = nearest_neighbours(together, 12, n_threads=2)
    monkeypatch.setattr("evaluation_locked.neighbours.CHUNK_CANDIDATES", 500)
    again = nearest_neighbours(together, 12)
    for row, alone in enumerate(HARD.values()):
        atoms = slice(together.offsets[row], together.offsets[row + 1])
        one = nearest_neighbours(alone, 12)
        for other in (table, again):
            assert np.array_equal(other.index[atoms] - atoms.start, one.index)
            assert np.array_equal(other.vector[atoms], one.vector)
            assert np.array_equal(other.distance[atoms], one.distance)


def test_ties_are_ordered_by_atom_and_cell() -> None:
    """All 12 neighbours in fcc are equally far, so rounding alone would order them."""
    table = nearest_neighbours(HARD["face-centred cubic, many ties"], 12)
    assert table.index.tolist() == [[j for j in range(4) if j != i for _ in range(4)] for i in range(4)]


def test_atoms_on_top_of_each_other_are_refused_by_row() -> None:
    bad = crystal((4, 4, 4, 90, 90, 90), [[0, 0, 0], [0.5, 0.5, 0.5], [0.999999, 0, 0]])
    with pytest.raises(CrystalError, match=r"crystal row 2 \(Si\) has atoms 0 and 2 only 0.000 angstrom apart"):
        nearest_neighbours(concatenate([HARD["diamond"], HARD["triclinic"], bad]), 12)


def test_no_neighbours_and_no_crystals() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        nearest_neighbours(HARD["diamond"], 0)
    assert nearest_neighbours(HARD["diamond"].select([]), 3).vector.shape == (0, 3, 3)


def test_a_radius_graph_and_ties_are_parts_of_the_table() -> None:
    table = nearest_neighbours(HARD["diamond"], 20)  # shells of 4, 12 and 12
    assert table.within(2.4).sum(axis=1).tolist() == [4] * 8
    assert table.within(3.9).sum(axis=1).tolist() == [16] * 8
    assert table.within(5.0).all()  # the third shell is cut at k
    assert table.with_ties(4).sum(axis=1).tolist() == [4] * 8
    assert table.with_ties(5).sum(axis=1).tolist() == [16] * 8
    with pytest.raises(ValueError, match="21 nearest of a table of 20"):
        table.with_ties(21)


@pytest.mark.skipif(REAL_DATA is None, reason="TEAM_TEST_DATA is not set")
def test_real_crystals_agree_with_pymatgen() -> None:
    crystals = load_table(Path(str(REAL_DATA)) / "matbench_mp_gap.npz", "gap_pbe").crystals
    sample = crystals.select(np.random.default_rng(7).choice(len(crystals), 100, replace=False))
    assert_like_pymatgen(sample, nearest_neighbours(sample, 24, n_threads=2))
