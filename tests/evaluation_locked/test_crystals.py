"""The columnar table against pymatgen, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition, Lattice

from evaluation_locked import tight_binding
from evaluation_locked.crystals import CrystalError, Crystals, concatenate, wrap_frac_coords
from tests.evaluation_locked.conftest import cubic_crystals


def test_lattice_vectors_are_pymatgens() -> None:
    crystals = tight_binding.load().crystals
    vectors = crystals.lattice_vectors()
    for row in range(0, len(crystals), 200):
        lattice = Lattice.from_parameters(*crystals.lattice_parameters[row])
        np.testing.assert_allclose(vectors[row], lattice.matrix, atol=1e-9)
        assert crystals.volumes()[row] == pytest.approx(lattice.volume)


def test_formulas_and_their_keys_agree_with_pymatgen() -> None:
    crystals = tight_binding.load().crystals
    keys = crystals.formula_keys()
    reduced = [Composition(crystals.formula(row)).reduced_formula for row in range(len(crystals))]
    by_key: dict[int, str] = {}
    for key, formula in zip(keys.tolist(), reduced, strict=True):
        assert by_key.setdefault(key, formula) == formula
    assert len(by_key) == len(set(reduced))


@given(st.lists(st.integers(0, 39), min_size=1, max_size=60))
def test_a_selection_holds_each_crystals_own_atoms(rows: list[int]) -> None:
    crystals = cubic_crystals(40)
    chosen = crystals.select(rows)
    assert chosen.n_atoms.tolist() == [1 + row % 2 for row in rows]
    assert chosen.atomic_numbers[chosen.offsets[:-1]].tolist() == [1 + row % 60 for row in rows]
    np.testing.assert_array_equal(
        concatenate([crystals.select([row]) for row in rows]).frac_coords_e8, chosen.frac_coords_e8
    )


def test_equal_crystals_have_equal_hashes_and_others_do_not() -> None:
    crystals = cubic_crystals(40)
    assert crystals.content_hash() == Crystals.from_arrays(crystals.arrays()).content_hash()
    assert crystals.content_hash() != crystals.select(np.arange(40)[::-1]).content_hash()


def test_wrapping_brings_coordinates_into_the_cell() -> None:
    wrapped = wrap_frac_coords(np.array([[1.25, -0.25, 1.0], [-1e-12, 0.999999999, 0.5]]))
    assert wrapped.T.tolist() == [[25_000_000, 75_000_000, 0], [0, 0, 50_000_000]]
    with pytest.raises(CrystalError, match=r"atom 1 has coordinates \[0.0, nan, 0.0\]"):
        wrap_frac_coords(np.array([[0, 0, 0], [0, np.nan, 0]]))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lattice_parameters", np.nan, "row 3 has a lattice parameter"),
        ("lattice_parameters", 0.01, "row 3 has a cell with"),
        ("atomic_numbers", 0, "atomic number outside 1-118"),
        ("space_group", 231, "row 3 has a space group outside 0-230"),
    ],
)
def test_crystals_that_no_network_should_see_are_named(name: str, value: float, words: str) -> None:
    arrays = {key: array.copy() for key, array in cubic_crystals(10).arrays().items()}
    arrays[name][3] = value
    with pytest.raises(CrystalError, match=words):
        Crystals.from_arrays(arrays).check()
