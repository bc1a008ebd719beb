"""JSON files of pymatgen Structures: those of MatBench and matminer, and lists of records.

It owns the reading of such files. They are read row by row: the whole of matbench_mp_gap as Structure objects takes
7 GB of memory, and row by row hardly more than its text.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from evaluation_locked.crystals import CrystalError
from evaluation_locked.dataset import DataError, Dataset
from evaluation_locked.sources.bad_rows import BadRows, left_out_note
from evaluation_locked.sources.structures import Cell, cell_from_dict, finish
from evaluation_locked.sources.table_cache import fingerprint, named, through_cache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GAP = re.compile(r"[\s,]*")
_FORMS = (
    'a list of records ([{"structure": {...}, "gap": 1.1}, ...]) or matminer\'s form '
    '({"columns": ["structure", "gap"], "data": [[{...}, 1.1], ...]}), plain, .gz or .bz2'
)


@dataclass(frozen=True)
class Table:
    """What a JSON file holds, before a property is chosen.

    Attributes:
        columns: Names of the values beside the structure.
        cells: One crystal for each row, or why it has none.
        values: For each row a value for each column.
    """

    columns: tuple[str, ...]
    cells: list[Cell | str]
    values: list[tuple[Any, ...]]


def load_structure_json(
    path: Path,
    target_name: str,
    *,
    cache: Path | None = None,
    skip_bad: bool = False,
    with_space_group: bool = True,
) -> Dataset:
    """Read a JSON file of pymatgen Structures.

    Args:
        path: A list of records, or the `split` form that matminer writes; plain, .gz or .bz2.
        target_name: The property to predict. It is the column of that name; `gap_pbe` also finds the column `gap pbe`.
        cache: Where the table is kept until the content of the file changes.
        skip_bad: Leave out rows that cannot be used, and say how many in the provenance.
        with_space_group: Find space groups (about 2 ms a crystal and core).

    Raises:
        DataError: The file is missing or is not of that form, has no such property, or has rows that cannot be used.
    """
    if not path.is_file():
        raise DataError(f"no JSON file at {path}: give the path of {_FORMS}")
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    key = f"json-{fingerprint(content, target_name, skip_bad, with_space_group)}"

    def build() -> Dataset:
        table = read_table(path)
        column = _column_of(table, target_name, path)
        return to_dataset(table, column, path.name, skip_bad=skip_bad, with_space_group=with_space_group)

    dataset = through_cache(cache, key, target_name, build)
    n_rows = sum(1 for _ in _RowReader(path).rows()) if skip_bad else len(dataset)
    provenance = f"{target_name} from the file {path.name}{left_out_note(n_rows - len(dataset), n_rows)}"
    return named(dataset, path.name.split(".")[0], provenance)


def read_table(path: Path) -> Table:
    """Read all rows of a JSON file; a structure that cannot be used becomes the reason against it.

    Raises:
        DataError: The file is no JSON, or not of a known form.
    """
    reader = _RowReader(path)
    columns: tuple[Any, ...] | None = None
    cells: list[Cell | str] = []
    values: list[tuple[Any, ...]] = []
    for row in reader.rows():
        record = row if isinstance(row, dict) else dict(enumerate(row)) if isinstance(row, list) else {}
        if "lattice" in record and "sites" in record:  # a bare Structure, which carries its properties itself
            record = {"structure": record, **(record.get("properties") or {})}
        places = [key for key, value in record.items() if isinstance(value, dict) and "sites" in value]
        if not places:
            cells.append("it holds no Structure (no value with `lattice` and `sites`); add it or delete the row")
        else:
            cells.append(_cell_or_reason(record.pop("structure" if "structure" in places else places[0])))
        if columns is None and places:
            columns = tuple(record)
        values.append(tuple(record.get(key) for key in columns or ()))
    names = reader.header.get("columns")
    if isinstance(names, list) and columns is not None and all(isinstance(key, int) for key in columns):
        if len(names) != len(columns) + 1:
            raise DataError(f"{path.name} names {len(names)} columns ({names}) for rows of {len(columns) + 1} values")
        columns = tuple(str(names[int(key)]) for key in columns)
    if columns is None:
        raise DataError(f"{path.name} holds no Structure in {len(cells)} rows; it must be {_FORMS}")
    return Table(tuple(map(str, columns)), cells, [v if v else (None,) * len(columns) for v in values])


def property_names(path: Path) -> list[str]:
    """Return the names of the values beside the structures of a JSON file.

    Raises:
        DataError: The file is missing, or is not of a known form.
    """
    if not path.is_file():
        raise DataError(f"no JSON file at {path}: give the path of {_FORMS}")
    return list(read_table(path).columns)


def to_dataset(table: Table, column: int, where: str, *, skip_bad: bool, with_space_group: bool) -> Dataset:
    """Return the usable rows with the values of one column.

    Args:
        table: What a file holds.
        column: Index into `table.columns`.
        where: The file's name, for messages.
        skip_bad: Whether bad rows may be left out.
        with_space_group: Find space groups.

    Raises:
        DataError: Rows cannot be used and may not be left out.
    """
    bad = BadRows(where)
    cells, values = [], []
    for row, (cell, value) in enumerate(zip(table.cells, (v[column] for v in table.values), strict=True)):
        if isinstance(cell, str):
            bad.add(f"row {row}", cell)
        elif not isinstance(value, int | float) or not math.isfinite(value):
            bad.add(f"row {row}", f"{table.columns[column]!r} is {value!r}, which is no finite number")
        else:
            cells.append(cell)
            values.append(float(value))
    bad.settle(len(table.cells), skip_bad)
    return Dataset(where, finish(cells, with_space_group=with_space_group), np.array(values, dtype=np.float64), "")


def _column_of(table: Table, target_name: str, path: Path) -> int:
    """Return the index of the column for a property; spelling may differ in case and in what parts the words."""
    for same in (str, _plain):
        found = [i for i, name in enumerate(table.columns) if same(name) == same(target_name)]
        if len(found) == 1:
            return found[0]
    raise DataError(
        f"{path.name} has no property {target_name!r}; it has {', '.join(map(repr, table.columns)) or 'none'}: "
        "set `target` in task.toml to one of them"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _cell_or_reason(structure: dict[str, Any]) -> Cell | str:
    try:
        return cell_from_dict(structure, "its structure")
    except (DataError, CrystalError) as error:
        return str(error)


def _text_of(path: Path) -> str:
    """Return the text of a file, unpacked where its first bytes are those of gzip or bzip2."""
    raw = path.read_bytes()
    try:
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        elif raw[:3] == b"BZh":
            raw = bz2.decompress(raw)
        return raw.decode("utf-8-sig")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}); get or write it anew") from error


class _RowReader:
    """The rows of a JSON text, one at a time.

    Attributes:
        header: Every value of a top-level object but its `data`, complete once all rows were read.
    """

    def __init__(self, path: Path) -> None:
        self.header: dict[str, Any] = {}
        self._name = path.name
        self._text = _text_of(path)
        self._at = 0
        self._decode = json.JSONDecoder().raw_decode

    def rows(self) -> Iterator[Any]:
        """Yield the decoded rows.

        Raises:
            DataError: The text ends early or is not of a known form.
        """
        opening = self._next()
        if opening == "[":
            yield from self._items()
            return
        if opening != "{":
            self._refuse("neither a list nor an object")
        self._at += 1
        has_data = False
        while self._next() != "}":
            key = self._value()
            if not isinstance(key, str) or self._next() != ":":
                self._refuse("no key with a value")
            self._at += 1
            if key == "data" and self._next() == "[":
                has_data = True
                yield from self._items()
            else:
                self.header[key] = self._value()
        if not has_data:
            self._refuse(f"an object without a list `data` (it has {', '.join(self.header) or 'nothing'})")

    def _items(self) -> Iterator[Any]:
        self._at += 1
        while self._next() != "]":
            yield self._value()
        self._at += 1

    def _next(self) -> str:
        """Step over blanks and commas and return the character there, empty at the end of the text."""
        match = _GAP.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _value(self) -> Any:
        self._next()
        try:
            value, self._at = self._decode(self._text, self._at)
        except ValueError as error:
            self._refuse(f"no JSON value ({error})")
        return value

    def _refuse(self, what: str) -> NoReturn:
        found = self._text[self._at : self._at + 40] or "the end of the file"
        raise DataError(f"{self._name} cannot be read at character {self._at} ({found!r}): {what}; it must be {_FORMS}")
