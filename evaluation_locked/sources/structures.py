"""Single crystals of other libraries, checked and packed into the columnar table.

It owns the conversion and the space groups. It converts ordered crystals only: a site that holds half an atom has no
meaning in a crystal graph, and rounding it would change the compound without a word.
"""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation_locked.crystals import SYMBOLS, CrystalError, Crystals, wrap_frac_coords
from evaluation_locked.dataset import DataError
from evaluation_locked.sources.cores import map_over_cores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pymatgen.core import Structure

SYMPREC_ANGSTROM = 0.1
ANGLE_TOLERANCE_DEGREES = 5.0  # the default of pymatgen's SpacegroupAnalyzer; spglib's own gives other groups for 0.7 %
ATOMIC_NUMBER = {symbol: number for number, symbol in enumerate(SYMBOLS) if number} | {"D": 1, "T": 1}
_CRYSTALS_PER_BATCH = 200
_MEND_DISORDER = (
    "only ordered crystals can be used: order it (pymatgen's OrderDisorderedStructureTransformation) or leave it out"
)


@dataclass(frozen=True)
class Cell:
    """One ordered crystal.

    Attributes:
        lattice_parameters: [6] float64; a, b, c in angstrom, then alpha, beta, gamma in degrees.
        atomic_numbers: [a] uint8; deuterium and tritium count as hydrogen.
        frac_coords_e8: [3, a] int32; fractional coordinates in [0, 1) times 1e8.
    """

    lattice_parameters: np.ndarray
    atomic_numbers: np.ndarray
    frac_coords_e8: np.ndarray


def cell_from_structure(structure: Structure, name: str) -> Cell:
    """Convert a pymatgen Structure.

    Args:
        structure: An ordered structure.
        name: What to call it in a message: a file or an id.

    Raises:
        DataError: A site is partly occupied or holds no element (a dummy species).
        CrystalError: The cell or a coordinate cannot be featurised (see `Crystals.check`).
    """
    numbers = []
    for position, site in enumerate(structure):
        if not site.is_ordered:
            raise DataError(f"{name}: site {position} ({site.label}) holds {site.species_string}; {_MEND_DISORDER}")
        numbers.append(_atomic_number(site.specie.symbol, name, position))
    return _checked(np.array(structure.lattice.parameters), numbers, structure.frac_coords, name)


def cell_from_dict(structure: Mapping[str, Any], name: str) -> Cell:
    """Convert the JSON form of a pymatgen Structure without building its objects, which would take ten times as long.

    Args:
        structure: What `Structure.as_dict()` gives: `lattice` with `matrix` or with a, b, c, alpha, beta, gamma, and
            `sites` with `species` and `abc`.
        name: What to call it in a message.

    Raises:
        DataError: Something of the above is missing or malformed, a site is partly occupied or holds no element.
        CrystalError: The cell or a coordinate cannot be featurised (see `Crystals.check`).
    """
    try:
        lattice, sites = structure["lattice"], structure["sites"]
        if "matrix" in lattice:
            parameters = _parameters_of(np.array(lattice["matrix"], dtype=np.float64).reshape(3, 3))
        else:
            parameters = np.array([lattice[k] for k in ("a", "b", "c", "alpha", "beta", "gamma")], dtype=np.float64)
        numbers = []
        for position, site in enumerate(sites):
            species = site["species"]
            if len(species) != 1 or abs(species[0]["occu"] - 1) > 1e-8:
                held = ", ".join(f"{s['element']}:{s['occu']}" for s in species)
                raise DataError(f"{name}: site {position} ({site.get('label', '?')}) holds {held}; {_MEND_DISORDER}")
            numbers.append(_atomic_number(species[0]["element"], name, position))
        frac_coords = np.array([site["abc"] for site in sites], dtype=np.float64).reshape(-1, 3)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{name}: no pymatgen Structure ({type(error).__name__}: {error}); give what Structure.as_dict() writes"
        ) from error
    return _checked(parameters, numbers, frac_coords, name)


def pack(cells: Sequence[Cell]) -> Crystals:
    """Return the cells, in order, as one table with unknown space groups."""
    return Crystals.from_arrays(
        {
            "lattice_parameters": np.array([cell.lattice_parameters for cell in cells]).reshape(-1, 6),
            "n_atoms": np.array([len(cell.atomic_numbers) for cell in cells]),
            "atomic_numbers": np.concatenate([np.zeros(0, np.uint8), *[cell.atomic_numbers for cell in cells]]),
            "frac_coords_e8": np.concatenate(
                [np.zeros((3, 0), np.int32), *[cell.frac_coords_e8 for cell in cells]], axis=1
            ),
            "space_group": np.zeros(len(cells)),
        }
    )


def crystals_from_structures(
    structures: Iterable[Structure], names: Sequence[str], *, with_space_group: bool = True
) -> Crystals:
    """Convert pymatgen Structures to a table.

    Args:
        structures: n ordered structures.
        names: n names for messages.
        with_space_group: Find space groups, which takes about 2 ms a crystal and core; 0 (unknown) otherwise.

    Raises:
        DataError: The first structure that `cell_from_structure` refuses.
        CrystalError: Likewise.
    """
    cells = [cell_from_structure(structure, name) for structure, name in zip(structures, names, strict=True)]
    return finish(cells, with_space_group=with_space_group)


def finish(cells: Sequence[Cell], *, with_space_group: bool) -> Crystals:
    """Return the cells as a table, with space groups if asked for."""
    crystals = pack(cells)
    if not with_space_group:
        return crystals
    return Crystals.from_arrays(crystals.arrays() | {"space_group": space_groups(crystals)})


def space_groups(crystals: Crystals) -> np.ndarray:
    """Return [n] int16 space-group numbers at a tolerance of 0.1 angstrom, 0 where none is found; on all cores.

    The numbers are those of pymatgen's `SpacegroupAnalyzer(structure, symprec=0.1)`, found by spglib (Togo, Shinohara,
    Tanaka 2024) without building Structures.
    """
    batches = [
        crystals.select(np.arange(first, min(first + _CRYSTALS_PER_BATCH, len(crystals))))
        for first in range(0, len(crystals), _CRYSTALS_PER_BATCH)
    ]
    found = map_over_cores(_space_groups_here, batches, chunk=1, inline_below=5)
    return np.concatenate([np.zeros(0, np.int16), *found])


def _space_groups_here(crystals: Crystals) -> np.ndarray:
    """Return [n] int16 space-group numbers, found in this process."""
    import spglib
    from spglib.error import SpglibError

    vectors, offsets, frac_coords = crystals.lattice_vectors(), crystals.offsets, crystals.frac_coords
    numbers = np.zeros(len(crystals), dtype=np.int16)
    with _quiet_spglib():
        for row in range(len(crystals)):
            atoms = slice(offsets[row], offsets[row + 1])
            cell = (vectors[row].tolist(), frac_coords[atoms].tolist(), crystals.atomic_numbers[atoms].tolist())
            try:
                found = spglib.get_symmetry_dataset(
                    cell, symprec=SYMPREC_ANGSTROM, angle_tolerance=ANGLE_TOLERANCE_DEGREES
                )
            except SpglibError:
                continue  # what spglib will raise, once its old flag is gone, where it gives None today
            numbers[row] = 0 if found is None else found.number
    return numbers


@contextmanager
def _quiet_spglib() -> Iterator[None]:
    """Keep spglib from writing to the terminal, from C and from Python, about tries that it then mends itself."""
    before = os.environ.get("SPGLIB_WARNING")
    os.environ["SPGLIB_WARNING"] = "OFF"
    try:
        with warnings.catch_warnings():
            # It also asks on every call to be switched to exceptions by a global flag, which is not ours to set.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        if before is None:
            del os.environ["SPGLIB_WARNING"]
        else:
            os.environ["SPGLIB_WARNING"] = before


def _atomic_number(symbol: str, name: str, position: int) -> int:
    """Return the atomic number of a symbol, or refuse a dummy species."""
    number = ATOMIC_NUMBER.get(symbol)
    if number is None:
        raise DataError(f"{name}: site {position} holds {symbol!r}, which is no element; name one or leave it out")
    return number


def _parameters_of(matrix: np.ndarray) -> np.ndarray:
    """Return [6] lengths in angstrom and angles in degrees of the rows of a [3, 3] lattice matrix."""
    lengths = np.linalg.norm(matrix, axis=1)
    if not (lengths > 0).all():
        return np.concatenate([lengths, [0.0, 0.0, 0.0]])  # refused by the check, with the name of the crystal
    cosines = [matrix[j] @ matrix[k] / (lengths[j] * lengths[k]) for j, k in ((1, 2), (0, 2), (0, 1))]
    return np.concatenate([lengths, np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))])


def _checked(parameters: np.ndarray, numbers: list[int], frac_coords: np.ndarray, name: str) -> Cell:
    """Return the cell, or refuse one that cannot be featurised."""
    try:
        cell = Cell(parameters, np.array(numbers, dtype=np.uint8), wrap_frac_coords(frac_coords))
    except CrystalError as error:
        raise CrystalError(f"{name}: {error}") from error
    pack([cell]).check(names=[name])
    return cell
