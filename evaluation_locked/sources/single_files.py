"""Structures that a user names one by one or by folder, without a property: what is to be predicted.

It owns the choice of a reader by the name of a file. A file that cannot be used is refused with all others, or left out
and told of where the caller allows it.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from evaluation_locked.crystals import CrystalError
from evaluation_locked.dataset import DataError
from evaluation_locked.sources.bad_rows import BadRows
from evaluation_locked.sources.cif_folder import parse_cif
from evaluation_locked.sources.structures import cell_from_dict, cell_from_structure, finish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from evaluation_locked.crystals import Crystals
    from evaluation_locked.sources.structures import Cell

POSCAR_NAMES = ("poscar", "contcar")
ENDINGS = (".cif", ".vasp", ".poscar", ".json")


def read_structures(paths: Sequence[Path], *, skip_bad: bool = False) -> tuple[list[str], Crystals, list[str]]:
    """Read structures from CIF, POSCAR and JSON files, and from folders of them.

    Args:
        paths: Files, read by their names: `.cif`, `.vasp`, `.poscar` or POSCAR and CONTCAR, and `.json` with what
            `Structure.as_dict()` writes, alone, in a list, or as `structure` of records. Of a folder every such file.
        skip_bad: Leave out what cannot be used.

    Returns:
        A name for each, the crystals with their space groups, and what was left out and why.

    Raises:
        DataError: There is nothing to read, or something cannot be used and may not be left out.
    """
    names: list[str] = []
    cells: list[Cell] = []
    bad = BadRows("the structures")
    for path in _files(paths):
        for name, cell in _read(path):
            if isinstance(cell, str):
                bad.add(name, cell)
            else:
                names.append(name)
                cells.append(cell)
    bad.settle(len(cells) + len(bad), skip_bad)
    crystals = finish(cells, with_space_group=True)
    crystals.check(names)
    return names, crystals, bad.reasons


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(p for p in path.iterdir() if p.is_file() and _is_structure(p))
            if not below:
                raise DataError(f"{path} holds no structure: {', '.join(ENDINGS)} and POSCAR files are read")
            found += below
        elif not path.is_file():
            raise DataError(f"there is no file {path}: give CIF, POSCAR or JSON files, or a folder of them")
        elif not _is_structure(path):
            raise DataError(f"{path} is no file of a known kind: {', '.join(ENDINGS)} and POSCAR files are read")
        else:
            found.append(path)
    if not found:
        raise DataError("no structures were named: give CIF, POSCAR or JSON files, or a folder of them")
    return found


def _is_structure(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS or path.name.lower().startswith(POSCAR_NAMES)


def _read(path: Path) -> Iterator[tuple[str, Cell | str]]:
    if path.suffix.lower() == ".cif":
        yield path.name, parse_cif(path)
    elif path.suffix.lower() == ".json":
        yield from _read_json(path)
    else:
        yield path.name, _read_poscar(path)


def _read_poscar(path: Path) -> Cell | str:
    from pymatgen.io.vasp import Poscar

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of elements that a header does not name, which is refused below
            poscar = Poscar.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the border to a parser that fails in many ways on broken input
        return f"{path.name} cannot be parsed as POSCAR ({' '.join(str(error).split())[:200] or type(error).__name__})"
    if not poscar.true_names:
        return f"{path.name} does not name its elements; write them above the counts"
    try:
        return cell_from_structure(poscar.structure, path.name)
    except (DataError, CrystalError) as error:
        return str(error)


def _read_json(path: Path) -> Iterator[tuple[str, Cell | str]]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        yield path.name, f"{path.name} is no JSON ({error})"
        return
    single = isinstance(held, dict)
    for at, one in enumerate([held] if single else held if isinstance(held, list) else []):
        name = path.name if single else f"{path.name}[{at}]"
        yield name, _cell(one.get("structure", one) if isinstance(one, dict) else one, name)
    if not isinstance(held, dict | list) or held == []:
        yield path.name, f"{path.name} holds no structure: give what Structure.as_dict() writes, or a list of such"


def _cell(structure: Any, name: str) -> Cell | str:
    if not isinstance(structure, dict):
        return f"{name} is {type(structure).__name__}, no pymatgen Structure; give what Structure.as_dict() writes"
    try:
        return cell_from_dict(structure, name)
    except (DataError, CrystalError) as error:
        return str(error)
