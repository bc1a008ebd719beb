"""Structures that a user names: what is read by which name, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pymatgen.core import Lattice, Structure

from evaluation_locked.dataset import DataError
from evaluation_locked.sources.single_files import read_structures

if TYPE_CHECKING:
    from pathlib import Path

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    SALT.to(filename=str(tmp_path / "a.cif"))
    SALT.to(filename=str(tmp_path / "POSCAR_salt"), fmt="poscar")
    (tmp_path / "many.json").write_text(json.dumps([SALT.as_dict(), {"structure": SALT.as_dict(), "gap": 1}]))
    (tmp_path / "one.json").write_text(json.dumps(SALT.as_dict()))
    (tmp_path / "notes.txt").write_text("not a structure")
    return tmp_path


def test_every_form_gives_the_same_crystal(folder: Path) -> None:
    names, crystals, left_out = read_structures([folder])
    assert names == ["POSCAR_salt", "a.cif", "many.json[0]", "many.json[1]", "one.json"]
    assert left_out == []
    assert {crystals.formula(row) for row in range(5)} == {"NaCl"}
    assert crystals.n_atoms.tolist() == [8] * 5 and crystals.space_group.tolist() == [225] * 5
    assert crystals.lattice_parameters[:, 0] == pytest.approx([5.64] * 5)


def test_what_cannot_be_used_is_named_together_or_left_out(folder: Path) -> None:
    (folder / "b.cif").write_text("data_nothing\n")
    (folder / "broken.json").write_text("{")
    (folder / "c.vasp").write_text("salt\n1.0\n5 0 0\n0 5 0\n0 0 5\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n")
    with pytest.raises(DataError) as refused:
        read_structures([folder])
    assert "3 of 8" in str(refused.value)
    for words in ("b.cif", "broken.json is no JSON", "c.vasp does not name its elements"):
        assert words in str(refused.value)
    names, _, left_out = read_structures([folder], skip_bad=True)
    assert len(names) == 5 and len(left_out) == 3


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*absent.cif"):
        read_structures([folder / "absent.cif"])
    with pytest.raises(DataError, match=r"notes.txt is no file of a known kind"):
        read_structures([folder / "notes.txt"])
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="holds no structure"):
        read_structures([folder / "empty"])
