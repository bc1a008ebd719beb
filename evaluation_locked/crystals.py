"""The columnar crystal table: every crystal of a data set in six flat arrays.

It owns structure only. Labels live in `evaluation_locked.dataset`, so that a table of crystals can be handed to a trial
without a second thought. It imports numpy alone, because it is read inside a trial.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FRAC_SCALE = 1e8  # fractional coordinates are kept as integers of 1e-8, so that equal crystals have equal bytes
MAX_ATOMIC_NUMBER = 118

# fmt: off
SYMBOLS = (
    "X", "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca",
    "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",
    "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce",
    "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir",
    "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm",
    "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc",
    "Lv", "Ts", "Og",
)
# fmt: on


class CrystalError(ValueError):
    """A crystal that no calculation should start from; the message names it and the way to mend it."""


@dataclass(frozen=True)
class Crystals:
    """Crystal structures as flat arrays; the atoms of crystal i follow those of crystal i - 1.

    Attributes:
        lattice_parameters: [n, 6] float64; a, b, c in angstrom, then alpha, beta, gamma in degrees.
        n_atoms: [n] int64; atoms in each cell.
        atomic_numbers: [n_atoms.sum()] uint8.
        frac_coords_e8: [3, n_atoms.sum()] int32; fractional coordinates in [0, 1) times 1e8.
        space_group: [n] int16; number 1 to 230, 0 where unknown.
    """

    lattice_parameters: np.ndarray
    n_atoms: np.ndarray
    atomic_numbers: np.ndarray
    frac_coords_e8: np.ndarray
    space_group: np.ndarray

    def __len__(self) -> int:
        return len(self.n_atoms)

    @property
    def offsets(self) -> np.ndarray:
        """[n + 1] int64; the atoms of crystal i are offsets[i]:offsets[i + 1]."""
        return np.concatenate([[0], np.cumsum(self.n_atoms)])

    @property
    def frac_coords(self) -> np.ndarray:
        """[n_atoms.sum(), 3] float64 fractional coordinates in [0, 1)."""
        return self.frac_coords_e8.T / FRAC_SCALE

    def lattice_vectors(self) -> np.ndarray:
        """Return [n, 3, 3] float64 rows a, b, c in angstrom; c along z, a in the xz plane, as pymatgen sets them."""
        a, b, c = self.lattice_parameters[:, :3].T
        cos_alpha, cos_beta, cos_gamma = np.cos(np.radians(self.lattice_parameters[:, 3:])).T
        sin_alpha, sin_beta, _ = np.sin(np.radians(self.lattice_parameters[:, 3:])).T
        cos_gamma_star = np.clip((cos_alpha * cos_beta - cos_gamma) / (sin_alpha * sin_beta), -1.0, 1.0)
        sin_gamma_star = np.sqrt(1.0 - cos_gamma_star**2)
        zero = np.zeros_like(a)
        return np.stack(
            [
                np.stack([a * sin_beta, zero, a * cos_beta], axis=1),
                np.stack([-b * sin_alpha * cos_gamma_star, b * sin_alpha * sin_gamma_star, b * cos_alpha], axis=1),
                np.stack([zero, zero, c], axis=1),
            ],
            axis=1,
        )

    def volumes(self) -> np.ndarray:
        """Return [n] float64 cell volumes in cubic angstrom."""
        return np.abs(np.linalg.det(self.lattice_vectors()))

    def select(self, rows: np.ndarray | Sequence[int]) -> Crystals:
        """Return the crystals at `rows` (integers, any order, repeats allowed) as a table of their own."""
        rows = np.asarray(rows, dtype=np.int64)
        counts = self.n_atoms[rows]
        starts = self.offsets[:-1][rows]
        first = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(rows) else np.zeros(0, dtype=np.int64)
        atoms = np.arange(counts.sum()) + np.repeat(starts - first, counts)
        return Crystals(
            lattice_parameters=self.lattice_parameters[rows],
            n_atoms=counts,
            atomic_numbers=self.atomic_numbers[atoms],
            frac_coords_e8=self.frac_coords_e8[:, atoms],
            space_group=self.space_group[rows],
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the five arrays by name, ready for `numpy.savez` or the wire."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Crystals:
        """Build a table from arrays of the names above, with the dtypes above."""
        return cls(
            lattice_parameters=np.asarray(arrays["lattice_parameters"], dtype=np.float64),
            n_atoms=np.asarray(arrays["n_atoms"], dtype=np.int64),
            atomic_numbers=np.asarray(arrays["atomic_numbers"], dtype=np.uint8),
            frac_coords_e8=np.asarray(arrays["frac_coords_e8"], dtype=np.int32),
            space_group=np.asarray(arrays["space_group"], dtype=np.int16),
        )

    def content_hash(self) -> str:
        """Return the sha256 of all arrays in hexadecimal; equal crystals in equal order have equal hashes."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def formula(self, row: int) -> str:
        """Return the reduced formula of crystal `row`, elements in order of atomic number, such as `O2Ti`."""
        start, stop = self.offsets[row], self.offsets[row + 1]
        numbers, counts = np.unique(self.atomic_numbers[start:stop], return_counts=True)
        counts //= np.gcd.reduce(counts)
        return "".join(f"{SYMBOLS[z]}{n if n > 1 else ''}" for z, n in zip(numbers, counts, strict=True))

    def formula_keys(self) -> np.ndarray:
        """Return [n] uint64, equal for two crystals exactly when their reduced formulas are equal.

        Each (element, reduced count) pair is hashed to 64 bits and the hashes of a crystal are added, so a collision of
        two formulas among 1e6 crystals has a probability near 3e-8.
        """
        crystal = np.repeat(np.arange(len(self), dtype=np.int64), self.n_atoms)
        pairs, counts = np.unique(crystal * 256 + self.atomic_numbers, return_counts=True)
        owner, element = pairs // 256, pairs % 256
        first = np.searchsorted(owner, np.arange(len(self)))
        divisor = np.gcd.reduceat(counts, first) if len(self) else np.zeros(0, dtype=np.int64)
        mixed = mix64((element * 65536 + counts // divisor[owner]).astype(np.uint64))
        return np.add.reduceat(mixed, first) if len(self) else np.zeros(0, dtype=np.uint64)

    def check(self, names: Sequence[str] | None = None) -> None:
        """Refuse crystals that cannot be featurised.

        Args:
            names: What to call each crystal in a message; its row number where absent.

        Raises:
            CrystalError: An array has the wrong shape, a crystal has no atoms, a lattice parameter is not finite and
                positive, a cell has no volume, or an atomic number is outside 1 to 118.
        """
        n, n_total = len(self), int(self.n_atoms.sum())
        shapes = {
            "lattice_parameters": (n, 6),
            "atomic_numbers": (n_total,),
            "frac_coords_e8": (3, n_total),
            "space_group": (n,),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise CrystalError(f"{name} has shape {getattr(self, name).shape}, and n_atoms asks for {shape}")

        def refuse(bad: np.ndarray, what: str) -> None:
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                name = names[row] if names is not None else f"row {row}"
                raise CrystalError(f"crystal {name} {what.format(row=row)}; mend it or leave it out ({bad.sum()} such)")

        refuse(self.n_atoms < 1, "has no atoms")
        lengths_bad = ~(np.isfinite(self.lattice_parameters).all(axis=1) & (self.lattice_parameters > 0).all(axis=1))
        refuse(lengths_bad, "has a lattice parameter that is not a positive number")
        volume = self.volumes()
        refuse(~(volume / self.n_atoms > 0.1), "has a cell with (nearly) no volume")
        strange = (self.atomic_numbers < 1) | (self.atomic_numbers > MAX_ATOMIC_NUMBER)
        refuse(np.add.reduceat(strange, self.offsets[:-1]) > 0 if n else strange, "has an atomic number outside 1-118")
        refuse((self.space_group < 0) | (self.space_group > 230), "has a space group outside 0-230")


def wrap_frac_coords(frac_coords: np.ndarray) -> np.ndarray:
    """Return [3, n] int32 coordinates times 1e8, wrapped into [0, 1e8), from [n, 3] fractional coordinates.

    Raises:
        CrystalError: A coordinate is not finite.
    """
    frac_coords = np.asarray(frac_coords, dtype=np.float64)
    if not np.isfinite(frac_coords).all():
        atom = int(np.flatnonzero(~np.isfinite(frac_coords).all(axis=1))[0])
        raise CrystalError(
            f"atom {atom} has coordinates {frac_coords[atom].tolist()}; mend it or leave the crystal out"
        )
    scaled = np.rint((frac_coords % 1.0) * FRAC_SCALE).astype(np.int64) % int(FRAC_SCALE)
    return np.ascontiguousarray(scaled.T.astype(np.int32))


def concatenate(tables: Sequence[Crystals]) -> Crystals:
    """Return the crystals of all tables, in order, as one table."""
    return Crystals.from_arrays(
        {
            field.name: np.concatenate(
                [getattr(t, field.name) for t in tables], axis=1 if field.name == "frac_coords_e8" else 0
            )
            for field in fields(Crystals)
        }
    )


def mix64(x: np.ndarray) -> np.ndarray:
    """Return splitmix64 of x (Steele, Lea, Flood 2014): a fixed bijection of 64-bit integers that looks random."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
