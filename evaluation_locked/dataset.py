"""Crystals with the property that is to be predicted, and their table file.

A table file is a `.npz` with the five arrays of `Crystals` and one array `[n]` for each property. It is what sources
are cached as, what `team data import` writes, and what `--source table:FILE` reads.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.crystals import FRAC_SCALE, MAX_ATOMIC_NUMBER, Crystals

if TYPE_CHECKING:
    from pathlib import Path

CRYSTAL_ARRAYS = ("lattice_parameters", "n_atoms", "atomic_numbers", "frac_coords_e8", "space_group")


class DataError(ValueError):
    """Data that cannot be used; the message names what was found and the way to mend it."""


@dataclass(frozen=True)
class Dataset:
    """Crystals and one property of each.

    Attributes:
        name: Short name, such as `tight-binding` or `matbench_mp_gap`.
        crystals: n crystals.
        target: [n] float64, the property (eV for a band gap; 0 or 1 for a class).
        provenance: One sentence on where the labels come from, shown wherever scores are.
    """

    name: str
    crystals: Crystals
    target: np.ndarray
    provenance: str

    def __len__(self) -> int:
        return len(self.crystals)

    def select(self, rows: np.ndarray) -> Dataset:
        """Return the rows `rows` (integers) as a data set of the same name."""
        return Dataset(self.name, self.crystals.select(rows), self.target[rows], self.provenance)

    def content_hash(self) -> str:
        """Return the sha256 over crystals and labels, in hexadecimal."""
        labels = np.ascontiguousarray(self.target, dtype=np.float64)
        return hashlib.sha256(self.crystals.content_hash().encode() + labels.tobytes()).hexdigest()

    def check(self) -> None:
        """Refuse data that would spoil a run later.

        Raises:
            CrystalError: A crystal cannot be featurised (see `Crystals.check`).
            DataError: A label is missing, or their number differs from the number of crystals.
        """
        if self.target.shape != (len(self.crystals),):
            raise DataError(f"{self.name}: {self.target.shape} labels for {len(self.crystals)} crystals")
        bad = ~np.isfinite(self.target)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"{self.name}: the target of row {row} ({self.crystals.formula(row)}) is {self.target[row]}; "
                f"{bad.sum()} of {len(self)} rows are not finite: leave them out or fill them in"
            )
        self.crystals.check()


def save_table(path: Path, dataset: Dataset, target_name: str) -> None:
    """Write a compressed table file with the property under `target_name`."""
    arrays = dataset.crystals.arrays() | {target_name: np.asarray(dataset.target, dtype=np.float64)}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def load_table(path: Path, target_name: str) -> Dataset:
    """Read a table file.

    Args:
        path: A `.npz` file with the arrays of `Crystals` and one of length n called `target_name`.
        target_name: The property to predict.

    Raises:
        DataError: The file is missing, is no table, or has no such property.
    """
    if not path.is_file():
        raise DataError(f"no table file at {path}: give the path of a .npz file, or make one with `team data import`")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [name for name in CRYSTAL_ARRAYS if name not in file.files]
            if missing:
                raise DataError(f"{path} has no array {missing[0]!r}; it has {', '.join(file.files) or 'none'}")
            properties = [name for name in file.files if name not in CRYSTAL_ARRAYS]
            if target_name not in properties:
                raise DataError(
                    f"{path} has no property {target_name!r}; it has {', '.join(properties) or 'none'}: "
                    "set `target` in task.toml to one of them"
                )
            arrays = {name: file[name] for name in CRYSTAL_ARRAYS}
            _refuse_lossy(arrays, path)
            arrays["frac_coords_e8"] = arrays["frac_coords_e8"] % int(FRAC_SCALE)  # equal crystals, equal bytes
            crystals = Crystals.from_arrays(arrays)
            target = np.asarray(file[target_name], dtype=np.float64)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as a table ({error}); make it anew with `team data import`") from error
    return Dataset(path.stem, crystals, target, f"table file {path.name}")


def _refuse_lossy(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Refuse values that the table's integers cannot hold: element 300 would become 44 without a word.

    Raises:
        DataError: A value is no whole number, or outside what its column may hold.
    """
    allowed = {"n_atoms": (1, 1 << 40), "atomic_numbers": (1, MAX_ATOMIC_NUMBER), "space_group": (0, 230)}
    for name, (low, high) in (allowed | {"frac_coords_e8": (-(1 << 62), 1 << 62)}).items():
        values = arrays[name].reshape(-1)
        with np.errstate(invalid="ignore"):
            bad = ~((values >= low) & (values <= high) & (values == np.floor(values)))
        if bad.any():
            place = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"{path}: {name} holds {values[place]} at place {place} ({bad.sum()} such); whole numbers from {low} "
                f"to {high} are due: mend it or leave that crystal out"
            )
