"""A folder of CIF files with `id_prop.csv`, the layout that CGCNN (Xie, Grossman 2018) introduced.

It owns the csv and the parsing of CIFs. Every row is read before anything is refused, so that one error lists all that
is to be mended; a row is left out only where the caller allows it, and then the number is told.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation_locked.crystals import CrystalError
from evaluation_locked.dataset import DataError, Dataset
from evaluation_locked.sources.bad_rows import BadRows, left_out_note
from evaluation_locked.sources.cores import map_over_cores
from evaluation_locked.sources.structures import Cell, cell_from_structure, finish
from evaluation_locked.sources.table_cache import fingerprint, named, through_cache

CSV_NAME = "id_prop.csv"
_ABSENT = frozenset(("", "n/a", "na", "none", "null", "-", "--", "?"))
_CLASSES = {"true": 1.0, "false": 0.0}
_CONTRADICTIONS = ("Missing elements", "Incorrect stoichiometry")
_INLINE_BELOW = 300  # a worker needs 2 s to import pymatgen, in which one core parses about this many CIFs


@dataclass(frozen=True)
class Row:
    """One row of the csv: where it stands, the id, and the text of the property."""

    line: int
    crystal_id: str
    value: str


def load_cif_folder(
    folder: Path,
    target_name: str,
    *,
    cache: Path | None = None,
    skip_bad: bool = False,
    with_space_group: bool = True,
) -> Dataset:
    """Read a folder of CIFs, on all cores.

    The csv has one row for each crystal: the id in its first column, and `<id>.cif` beside it. A header is recognised
    by itself. The property is in the column named `target_name`, or in the last one where the csv has only one property
    or no header.

    Args:
        folder: Holds `id_prop.csv` and the CIFs; or the path of a csv of another name beside them.
        target_name: The property to predict.
        cache: Where the table is kept, so that the next call needs no parsing; it is read again only while names,
            sizes and times of all files are as they were.
        skip_bad: Leave out rows that cannot be used, and say how many in the provenance.
        with_space_group: Find space groups (about 2 ms a crystal and core).

    Raises:
        DataError: There is no folder, csv or property column, or rows cannot be used: a missing or unreadable CIF, a
            property that is no finite number, an id given twice, a partly occupied site, a cell without volume.
    """
    csv_path = csv_of(folder)
    folder = csv_path.parent
    listing = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in os.scandir(folder) if _is_cif(e.name))
    rows = _rows_of(csv_path, target_name, {_id_of(name) for name, _, _ in listing})
    if not rows:
        raise DataError(f"{csv_path} has no rows; give one `id,value` for each CIF")
    content = hashlib.sha256(csv_path.read_bytes()).hexdigest()
    key = f"cif-{fingerprint(content, listing, target_name, skip_bad, with_space_group)}"
    dataset = through_cache(
        cache, key, target_name, lambda: _parse(csv_path, rows, skip_bad=skip_bad, with_space_group=with_space_group)
    )
    n_unused = len(listing) - len({row.crystal_id for row in rows} & {_id_of(name) for name, _, _ in listing})
    provenance = (
        f"{target_name} from {csv_path.name} of the folder {folder.resolve().name}"
        f"{left_out_note(len(rows) - len(dataset), len(rows))}"
        f"{f'; {n_unused} CIFs have no row and were not used' if n_unused else ''}"
    )
    return named(dataset, folder.resolve().name, provenance)


def csv_of(folder: Path) -> Path:
    """Return the csv of a source: `id_prop.csv` of a folder, or the csv that was named.

    Raises:
        DataError: There is none.
    """
    csv_path = folder if folder.suffix == ".csv" and not folder.is_dir() else folder / CSV_NAME
    if csv_path.is_file():
        return csv_path
    others = sorted(path.name for path in csv_path.parent.glob("*.csv"))
    found = "it has no such file" if csv_path.parent.is_dir() else "there is no such folder"
    if others:
        found = f"it has {', '.join(others[:5])}, so name that: cif:{csv_path.parent / others[0]}"
    raise DataError(
        f"no {csv_path.name} in {csv_path.parent}: {found}; give a folder with rows `id,value` and <id>.cif for each"
    )


def property_columns(folder: Path) -> list[str]:
    """Return the names of the properties in a source's csv; none where it has no header.

    Raises:
        DataError: There is no csv.
    """
    csv_path = csv_of(folder)
    with csv_path.open(newline="", encoding="utf-8-sig") as file:
        first = next((row for row in csv.reader(file) if any(cell.strip() for cell in row)), [""])
    header = [cell.strip() for cell in first]
    cif_ids = {_id_of(e.name) for e in os.scandir(csv_path.parent) if _is_cif(e.name)}
    return header[1:] if _is_header(header, cif_ids) else []


def _parse(csv_path: Path, rows: list[Row], *, skip_bad: bool, with_space_group: bool) -> Dataset:
    """Parse the CIFs of all rows and return them with their values."""
    folder, bad = csv_path.parent, BadRows(csv_path.name)
    cells, values = [], []
    parsed = map_over_cores(
        parse_cif, [folder / f"{row.crystal_id}.cif" for row in rows], chunk=32, inline_below=_INLINE_BELOW
    )
    first_line: dict[str, int] = {}
    for row, cell in zip(rows, parsed, strict=True):
        value = _number(row.value)
        earlier = first_line.setdefault(row.crystal_id, row.line)
        where = f"line {row.line} ({row.crystal_id})"
        if earlier != row.line:
            bad.add(where, f"the id stands in line {earlier} already; keep one of them")
        elif value is None:
            bad.add(where, f"the value is {row.value!r}, which is no finite number; fill it in or delete the line")
        elif isinstance(cell, str):
            bad.add(where, cell)
        else:
            cells.append(cell)
            values.append(value)
    bad.settle(len(rows), skip_bad)
    return Dataset(folder.name, finish(cells, with_space_group=with_space_group), np.array(values), "")


def parse_cif(path: Path) -> Cell | str:
    """Return the crystal of a CIF file, or why it has none."""
    from pymatgen.io.cif import CifParser

    if not path.is_file():
        return f"there is no file {path.name}; add it or delete the line"
    with warnings.catch_warnings(record=True) as warned:
        # The parser warns of every value that it mends (rounded thirds, occupancies just over 1). Thousands of files
        # would bury the user in them; what must not pass silently is looked for below and refused.
        warnings.simplefilter("always")
        try:
            structures = CifParser(path).parse_structures(primitive=False)
        except Exception as error:  # the border to a parser that fails in many ways on broken input
            reason = " ".join(str(error).split()) or type(error).__name__
            return f"{path.name} cannot be parsed as CIF ({reason[:200]}); write it anew or delete the line"
    if len(structures) > 1:
        return f"{path.name} holds {len(structures)} structures; keep one data block"
    try:
        cell = cell_from_structure(structures[0], path.name)
    except (DataError, CrystalError) as error:
        return str(error)
    # Experimental CIFs often leave out hydrogens, or half of a disordered group: their formula gives them away.
    wrong = [text for text in (str(w.message) for w in warned) if text.startswith(_CONTRADICTIONS)]
    if wrong:
        return f"{path.name}: its atoms do not make its formula ({' '.join(wrong[0].split())[:200]}); complete the file"
    return cell


def _rows_of(csv_path: Path, target_name: str, cif_ids: set[str]) -> list[Row]:
    """Return the data rows of the csv; the header, if there is one, chooses the column."""
    with csv_path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        lines = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(c.strip() for c in row)]
    column = -1
    if lines:
        header = lines[0][1]
        if _is_header(header, cif_ids):
            column = _property_column(header, target_name, csv_path)
            lines = lines[1:]
    return [Row(n, _id_of(c[0]), _cell_at(c, column)) for n, c in lines]


def _is_header(cells: list[str], cif_ids: set[str]) -> bool:
    """Say whether a first row names columns: its first names no crystal, its last is a word and no absent value."""
    return _id_of(cells[0]) not in cif_ids and not _is_float(cells[-1]) and cells[-1].lower() not in _ABSENT


def _property_column(header: list[str], target_name: str, csv_path: Path) -> int:
    """Return the index of the property's column; with several properties and none of that name, ask for one."""
    properties = header[1:]
    if target_name in properties:
        return header.index(target_name, 1)
    if len(properties) == 1:
        return 1
    raise DataError(
        f"{csv_path} has no column {target_name!r}; it has {', '.join(properties) or 'only ' + repr(header[0])}: "
        "set `target` in task.toml to one of its columns"
    )


def _cell_at(cells: list[str], column: int) -> str:
    """Return the text of a column; empty where the row is too short or has an id alone."""
    if len(cells) < 2 or column >= len(cells):
        return ""
    return cells[column]


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float | None:
    """Return the finite number that a text holds, 1 and 0 for `true` and `false`, or None."""
    if text.lower() in _CLASSES:
        return _CLASSES[text.lower()]
    return float(text) if _is_float(text) and math.isfinite(float(text)) else None


def _is_cif(name: str) -> bool:
    return name.endswith(".cif")


def _id_of(name: str) -> str:
    return name.removesuffix(".cif")
