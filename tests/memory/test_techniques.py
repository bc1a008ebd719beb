"""Playbook files: what is read from them, and what is said of those that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from memory.edits import Edit, EditError
from memory.techniques import Knob, PlaybookError, load_playbook

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = """id = "{id}"
title = "Multi-pool"
axis = "A5"
family = "pooling"
source = "arXiv:2004.05718"
expect = "A small gain."
evidence = "+"
"""
EDITS = "<<<<<<< SEARCH\na = 1\n=======\na = 2\nb = 3\n>>>>>>> REPLACE\n"
KNOB = '[knob]\nname = "WIDTH"\nvalues = [32, 96]\n'


def write(folder: Path, name: str, more: str = "", body: str = EDITS, fields: str = FIELDS) -> None:
    text = f"+++\n{fields.format(id=name)}{more}+++\n\nSeveral statistics\nat once.\n\n{body}"
    (folder / f"{name}.md").write_text(text)


def test_a_technique_of_edits(tmp_path: Path) -> None:
    write(tmp_path, "multi-pool", "time_factor = 1.1\n")
    (technique,) = load_playbook(tmp_path)
    assert (technique.id, technique.axis, technique.evidence, technique.time_factor) == ("multi-pool", "A5", 1, 1.1)
    assert technique.description == "Several statistics at once."
    assert technique.edits == technique.edits_for("a = 1") == (Edit("a = 1", "a = 2\nb = 3"),)
    assert not technique.stands_in("a = 1\n")
    assert not technique.stands_in("a = 2\n")
    assert technique.stands_in("def f():\n    a = 2\n    c = 0\n    b = 3\n")
    with pytest.raises(ValidationError, match="frozen"):
        technique.id = "other"  # type: ignore[misc]


def test_a_knob(tmp_path: Path) -> None:
    write(tmp_path, "width", KNOB, body="")
    (technique,) = load_playbook(tmp_path)
    assert technique.knob == Knob(name="WIDTH", values=(32, 96))
    assert technique.edits_for("WIDTH = 64") == (Edit("WIDTH = 64", "WIDTH = 32"),)
    assert technique.edits_for("WIDTH = 64", 96) == (Edit("WIDTH = 64", "WIDTH = 96"),)
    assert technique.stands_in("WIDTH = 96") and not technique.stands_in("WIDTH = 64")
    with pytest.raises(EditError, match="its knobs are DEPTH = 2"):
        technique.edits_for("DEPTH = 2")


def test_conflicts_are_read_as_symmetric_and_files_in_order(tmp_path: Path) -> None:
    write(tmp_path, "b-one")
    write(tmp_path, "a-two", 'conflicts = ["b-one"]\n')
    assert [(t.id, t.conflicts) for t in load_playbook(tmp_path)] == [("a-two", ("b-one",)), ("b-one", ("a-two",))]


def test_no_folder_is_an_empty_playbook(tmp_path: Path) -> None:
    assert load_playbook(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("fields", "more", "body", "message"),
    [
        (FIELDS.replace("A5", "A7"), "", EDITS, "bad.md: axis is 'A7': use one of A1 connectivity, A2 geometry"),
        (FIELDS.replace('"+"', '"+++"'), "", EDITS, r"bad.md: evidence is '\+\+\+': use one of \+\+, \+, 0, \?"),
        (FIELDS.replace('title = "Multi-pool"\n', ""), "", EDITS, "bad.md: title is missing"),
        (FIELDS, "colour = 3\n", EDITS, "bad.md: colour is no field of a technique: use id, title, axis"),
        (FIELDS, "time_factor = -1\n", EDITS, "bad.md: time_factor is -1: Input should be greater than 0"),
        (FIELDS, "", "", "bad.md: no edits found: add a SEARCH/REPLACE block"),
        (FIELDS, KNOB, EDITS, "bad.md: both a knob and 1 edits: keep one"),
        (FIELDS, KNOB.replace("[32, 96]", "[]"), "", "bad.md: knob.values is"),
        (FIELDS, KNOB.replace("WIDTH", "width"), "", "bad.md: knob.name is 'width'"),
        (FIELDS, 'conflicts = ["nowhere"]\n', EDITS, "bad.md: conflicts names 'nowhere'.*use one of good"),
        (FIELDS, 'requires = ["bad"]\n', EDITS, "bad.md: requires names 'bad'"),
        (FIELDS, "", EDITS.replace(">>>>>>> REPLACE", ""), "bad.md: edits: edit block 1 is not closed"),
        (FIELDS, "axis 3\n", EDITS, "bad.md: the front matter is not TOML"),
        (FIELDS, 'description = "x"\n', EDITS, "bad.md: description stands in the front matter"),
        (FIELDS.replace("{id}", "good"), "", EDITS, "bad.md: id is 'good': name the file good.md"),
    ],
)
def test_a_bad_file_is_named_with_field_and_mend(
    tmp_path: Path, fields: str, more: str, body: str, message: str
) -> None:
    write(tmp_path, "good")
    write(tmp_path, "bad", more, body, fields)
    with pytest.raises(PlaybookError, match=message):
        load_playbook(tmp_path)


def test_a_file_without_front_matter(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_text("# A technique\n")
    with pytest.raises(PlaybookError, match=r"bad.md: no front matter found: begin with '\+\+\+'"):
        load_playbook(tmp_path)
