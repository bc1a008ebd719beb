import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evaluation_locked.dataset import DataError
from evaluation_locked.sources import load_source
from evaluation_locked.sources.structure_json import load_structure_json
from evaluation_locked.sources.structures import crystals_from_structures
from tests.evaluation_locked.sources.salts import (
    GAPS_EV,
    SALTS,
    half_iron,
    salts_rows,
    split_form,
)


def test_every_form_of_json_gives_the_same_crystals(tmp_path: Path) -> None:
    expected = crystals_from_structures(SALTS.values(), list(SALTS)).content_hash()
    split = split_form(["structure", "gap pbe"], salts_rows())
    reordered = {"columns": ["gap pbe", "structure"], "data": [[g, s] for s, g in salts_rows()], "index": [3, 1, 2, 0]}
    records = [{"id": i, "structure": s, "gap pbe": g} for i, (s, g) in enumerate(salts_rows())]
    bare = [dict(s, properties={"gap pbe": g}) for s, g in salts_rows()]
    for form in (split, reordered, records, bare, {"version": {"a": [1, 2]}, "data": records}):
        path = tmp_path / "salts.json"
        path.write_text(json.dumps(form, indent=1))
        dataset = load_source(f"json:{path}", "gap_pbe")
        assert dataset.crystals.content_hash() == expected
        assert dataset.target.tolist() == list(GAPS_EV.values())
    assert (dataset.name, dataset.provenance) == ("salts", "gap_pbe from the file salts.json")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_json_is_known_by_its_content(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "salts.data"
    path.write_bytes(pack(json.dumps(split_form(["structure", "gap"], salts_rows())).encode()))
    assert len(load_structure_json(path, "gap", with_space_group=False)) == 4
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"cannot be unpacked|cannot be read at character"):
        load_structure_json(path, "gap")


def test_bad_rows_of_a_json_are_gathered_and_may_be_left_out(tmp_path: Path) -> None:
    rows = salts_rows()
    rows[1][1] = float("nan")
    rows[2][1] = None
    rows += [[half_iron().as_dict(), 1.0], [None, 1.0], [{"lattice": {}, "sites": []}, 1.0]]
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps(split_form(["structure", "gap"], rows)))
    with pytest.raises(DataError) as caught:
        load_structure_json(path, "gap")
    message = str(caught.value)
    assert message.startswith("5 of 7 rows of mixed.json cannot be used")
    assert "row 1: 'gap' is nan" in message and "row 2: 'gap' is None" in message
    assert "row 4: its structure: site 1 (Fe:0.5, Ni:0.5) holds Fe:0.5, Ni:0.5; only ordered" in message
    assert "row 5: it holds no Structure" in message and "row 6: its structure: no pymatgen Structure" in message
    for _ in range(2):
        dataset = load_source(f"json:{path}", "gap", tmp_path / "cache", skip_bad=True)
        assert dataset.target.tolist() == [5.0, 5.7]
        assert "5 of 7 rows could not be used and were left out" in dataset.provenance


def test_a_property_that_a_json_lacks_is_named_with_those_it_has(tmp_path: Path) -> None:
    path = tmp_path / "salts.json"
    path.write_text(json.dumps(split_form(["structure", "gap pbe"], salts_rows())))
    with pytest.raises(DataError, match="no property 'e_form'; it has 'gap pbe': set `target`"):
        load_structure_json(path, "e_form")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"columns": ["structure"], "data": [[{"lattice"', "no JSON value"),
        ("id,gap\nNaCl,5.0\n", "neither a list nor an object"),
        ('{"rows": []}', "an object without a list `data` .it has rows"),
        ("[]", "holds no Structure in 0 rows"),
        ('{"a" 1}', "no key with a value"),
        ("", "the end of the file"),
    ],
)
def test_a_file_that_is_no_such_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_structure_json(path, "gap")
