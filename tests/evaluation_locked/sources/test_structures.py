import os

import numpy as np
import pytest
from pymatgen.core import DummySpecies, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from evaluation_locked.crystals import CrystalError
from evaluation_locked.dataset import DataError
from evaluation_locked.sources.structures import crystals_from_structures, space_groups
from tests.evaluation_locked.sources.salts import SALTS, half_iron


def test_structures_keep_their_lattice_atoms_and_coordinates() -> None:
    crystals = crystals_from_structures(SALTS.values(), list(SALTS))
    assert [crystals.formula(row) for row in range(4)] == ["NaCl", "OMg", "LiF", "O2Si"]
    assert crystals.space_group.tolist() == [225, 225, 225, 154]
    for row, structure in enumerate(SALTS.values()):
        atoms = slice(crystals.offsets[row], crystals.offsets[row + 1])
        assert crystals.atomic_numbers[atoms].tolist() == list(structure.atomic_numbers)
        rebuilt = Structure(crystals.lattice_vectors()[row], structure.species, crystals.frac_coords[atoms])
        np.testing.assert_allclose(rebuilt.distance_matrix, structure.distance_matrix, atol=1e-6)


def test_space_groups_are_those_of_the_space_group_analyzer_even_when_distorted() -> None:
    rng = np.random.default_rng(5)
    structures = []
    for size in (0.0, 0.004, 0.02, 0.06, 0.2):
        for structure in SALTS.values():
            strain = np.eye(3) + rng.normal(scale=size / 4, size=(3, 3))
            distorted = Structure(structure.lattice.matrix @ strain, structure.species, structure.frac_coords)
            structures.append(distorted.perturb(size) if size else distorted)
    crystals = crystals_from_structures(structures, [str(i) for i in range(len(structures))], with_space_group=False)
    assert not crystals.space_group.any()
    expected = [SpacegroupAnalyzer(s, symprec=0.1).get_space_group_number() for s in structures]
    assert len(set(expected)) > 3
    assert space_groups(crystals).tolist() == expected


def test_a_space_group_that_cannot_be_found_is_0() -> None:
    overlapping = Structure(Lattice.cubic(4), ["Na", "Na"], [[0, 0, 0], [0, 0, 0.001]])
    crystals = crystals_from_structures([overlapping], ["twice the same atom"])
    assert crystals.space_group.tolist() == [0]
    assert "SPGLIB_WARNING" not in os.environ


def test_deuterium_is_hydrogen_and_oxidation_states_are_dropped() -> None:
    heavy_ice = Structure(Lattice.cubic(3), ["D+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    crystals = crystals_from_structures([heavy_ice], ["ice"], with_space_group=False)
    assert crystals.atomic_numbers.tolist() == [1, 8]


def test_a_partly_occupied_site_is_refused_with_its_place_and_occupancy() -> None:
    with pytest.raises(DataError, match=r"alloy: site 1 .*Fe:0\.5.*only ordered crystals.*OrderDisordered"):
        crystals_from_structures([half_iron()], ["alloy"])


def test_a_dummy_species_is_refused() -> None:
    vacant = Structure(Lattice.cubic(3), [DummySpecies("X"), "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(DataError, match="holes: site 0 holds 'X', which is no element"):
        crystals_from_structures([vacant], ["holes"])


def test_a_coordinate_that_is_no_number_is_refused_by_name() -> None:
    broken = Structure(Lattice.cubic(3), ["O"], [[0, float("nan"), 0]])
    with pytest.raises(CrystalError, match="torn: atom 0 has coordinates"):
        crystals_from_structures([broken], ["torn"])
