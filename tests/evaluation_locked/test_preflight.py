"""Crystals that every trial would fail on are named before a budget is spent; strange ones are handled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from evaluation_locked.crystals import CrystalError, Crystals
from evaluation_locked.dataset import DataError, Dataset, load_table
from evaluation_locked.preflight import check_graphs
from evaluation_locked.prepare import prepare
from tests.evaluation_locked.conftest import cubic_crystals

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation_locked.task import TaskSpec


def with_second_atom_at(crystals: Crystals, row: int, place: int) -> Crystals:
    """The crystals with the second atom of one of them put so far along the diagonal, in 1e-8 of the cell."""
    coords = crystals.frac_coords_e8.copy()
    coords[:, crystals.offsets[row] + 1] = place
    return replace(crystals, frac_coords_e8=coords)


def test_atoms_on_top_of_each_other_are_named_by_their_row_in_the_source() -> None:
    crystals = with_second_atom_at(with_second_atom_at(cubic_crystals(40), 11, 1_000), 31, 0)
    rows = np.arange(40) * 3
    with pytest.raises(CrystalError, match=r"crystal row 33 \(.*\) has atoms \d and \d only 0\.000 angstrom apart"):
        check_graphs(crystals, rows, 8.0)
    check_graphs(crystals.select(np.arange(11)), rows[:11], 8.0)


def test_a_run_on_them_is_refused_before_anything_is_trained(spec: TaskSpec, dataset: Dataset, tmp_path: Path) -> None:
    crystals = dataset.crystals
    for row in (299, 301, 303, 305, 307):  # one of them is no official test row
        crystals = with_second_atom_at(crystals, row, 0)
    spoilt = replace(dataset, crystals=crystals)
    with pytest.raises(CrystalError, match=r"crystal row (299|301|303|305|307) .* only 0\.000 angstrom apart"):
        prepare(spec, spoilt, tmp_path / "locked")
    assert not (tmp_path / "locked").exists()


def test_a_graph_larger_than_memory_is_told_before_it_is_built() -> None:
    crystals = cubic_crystals(4)
    # Counts alone: where a graph is too large, nothing of it is looked at.
    huge = replace(crystals, n_atoms=np.array([1, 2, 3_000_000, 2]))
    with pytest.raises(CrystalError, match=r"crystal row 7 has 3,000,000 atoms: .* about 78\.9 GiB .* may use 8 "):
        check_graphs(huge, np.array([5, 6, 7, 8]), 8.0)
    many = replace(crystals, n_atoms=np.full(200_000, 2))
    with pytest.raises(DataError, match=r"200,000 crystals of 400,000 atoms .*0\.2 GiB.* \(--limit\)"):
        check_graphs(many, np.arange(200_000), 0.2)


def test_one_atom_alone_in_a_wide_cell_is_a_crystal() -> None:
    lone = cubic_crystals(1)
    check_graphs(replace(lone, lattice_parameters=lone.lattice_parameters * [20, 20, 20, 1, 1, 1]), np.arange(1), 8.0)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("atomic_numbers", 300, r"atomic_numbers holds 300 at place 3 \(1 such\); whole numbers from 1 to 118"),
        ("atomic_numbers", 0, "atomic_numbers holds 0"),
        ("frac_coords_e8", np.nan, "frac_coords_e8 holds nan"),
        ("n_atoms", 1.5, r"n_atoms holds 1\.5"),
        ("n_atoms", -1, "n_atoms holds -1"),
        ("space_group", 70_000, "space_group holds 70000"),
    ],
)
def test_what_a_table_cannot_hold_is_refused_and_not_cut_to_size(
    tmp_path: Path, name: str, value: Any, words: str
) -> None:
    arrays = {
        key: array.astype(type(value)) if key == name else array for key, array in cubic_crystals(9).arrays().items()
    }
    arrays[name] = arrays[name].copy()
    arrays[name].reshape(-1)[3] = value
    np.savez(tmp_path / "t.npz", gap_ev=np.zeros(9), **arrays)
    with pytest.raises(DataError, match=words):
        load_table(tmp_path / "t.npz", "gap_ev")


def test_angles_that_no_cell_has_are_a_cell_without_volume() -> None:
    crystals = cubic_crystals(3)
    flat = crystals.lattice_parameters.copy()
    flat[1, 3:] = [30, 40, 100]  # no three vectors meet at these
    with pytest.raises(CrystalError, match="crystal row 1 has a cell with"):
        replace(crystals, lattice_parameters=flat).check()
