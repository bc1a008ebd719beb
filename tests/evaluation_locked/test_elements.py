"""The table of elements against pymatgen's own values."""

from __future__ import annotations

import numpy as np
from pymatgen.core import Element

from evaluation_locked.elements import PROPERTIES, element_properties


def known(name: str, values: list[float], tolerance: float = 2e-3) -> None:
    """Whether a column of elements 1 to 96 is `values` (NaN where unknown), scaled."""
    column = element_properties()[1:97, PROPERTIES.index(name)]
    expected = (np.array(values) - np.nanmean(values)) / np.nanstd(values)
    np.testing.assert_allclose(column, np.nan_to_num(expected, nan=0.0), atol=tolerance)


def test_the_columns_are_those_of_their_names() -> None:
    elements = [Element.from_Z(z) for z in range(1, 97)]
    known("electronegativity", [float(e.X) if e.symbol not in {"He", "Ne", "Ar"} else np.nan for e in elements])
    known("ionisation_energy_ev", [float(e.ionization_energies[0]) for e in elements])
    known("electron_affinity_ev", [float(e.electron_affinity) for e in elements])
    known(
        "mass_u", [float(e.atomic_mass) for e in elements], tolerance=0.03
    )  # polonium and radon have no stable isotope
    known("period", [float(e.row) for e in elements])


def test_what_is_unknown_stands_at_the_mean() -> None:
    table = element_properties()
    assert table.shape == (119, 16)
    assert table.dtype == np.float32
    assert not table[0].any()
    assert not table[97:].any()
    assert np.isfinite(table).all()
    assert np.abs(table).max() < 8.0
