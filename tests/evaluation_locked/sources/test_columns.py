"""Sources as a person names them, the properties that they offer, and classes made of numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation_locked.dataset import DataError, Dataset, save_table
from evaluation_locked.sources import load_source
from evaluation_locked.sources.columns import full_source, properties_of
from evaluation_locked.sources.structures import crystals_from_structures
from tests.evaluation_locked.sources.salts import GAPS_EV, SALTS, salts_csv, salts_rows, split_form, write_cifs


def test_short_names_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifs").mkdir()
    home = tmp_path.resolve()
    assert full_source("cifs") == f"cif:{home}/cifs"
    assert full_source("cifs/values.csv") == f"cif:{home}/cifs/values.csv"
    assert full_source("a.json.gz") == f"json:{home}/a.json.gz"
    assert full_source("table:a.npz") == full_source("a.npz") == f"table:{home}/a.npz"
    assert full_source("matbench_phonons") == "matbench:matbench_phonons"
    assert full_source("tight-binding") == "tight-binding"


def test_the_properties_of_every_kind_of_source(tmp_path: Path) -> None:
    write_cifs(tmp_path / "cifs", SALTS, "id,gap,density\n" + "".join(f"{name},1,2\n" for name in SALTS))
    assert properties_of(f"cif:{tmp_path / 'cifs'}") == ["gap", "density"]
    (tmp_path / "cifs" / "id_prop.csv").write_text(salts_csv())
    assert properties_of(f"cif:{tmp_path / 'cifs'}") == []
    (tmp_path / "a.json").write_text(json.dumps(split_form(["structure", "gap pbe"], salts_rows())))
    assert properties_of(f"json:{tmp_path / 'a.json'}") == ["gap pbe"]
    crystals = crystals_from_structures(SALTS.values(), list(SALTS), with_space_group=False)
    save_table(tmp_path / "a.npz", Dataset("a", crystals, np.ones(4), ""), "gap")
    assert properties_of(f"table:{tmp_path / 'a.npz'}") == ["gap"]
    assert properties_of("matbench:matbench_phonons") == ["last phdos peak"]
    assert properties_of("tight-binding") == ["gap_ev"]


def test_a_source_that_is_no_source_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no table")
    with pytest.raises(DataError, match="cannot be read as a table"):
        properties_of(f"table:{tmp_path / 'a.npz'}")
    with pytest.raises(DataError, match="no kind of source is called 'phonons'"):
        properties_of("phonons")
    with pytest.raises(DataError, match="gives a composition for each row and no crystal structure"):
        properties_of("matbench:matbench_steels")


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        ("gap > 5", [0, 0, 1, 1]),
        ("gap>=5.0", [1, 0, 1, 1]),
        ("gap == 4.4", [0, 1, 0, 0]),
        ("gap != 4.4", [1, 0, 1, 1]),
        ("gap<5.7", [1, 1, 0, 0]),
        ("gap <= 5.7e0", [1, 1, 0, 1]),
    ],
)
def test_a_comparison_makes_classes(tmp_path: Path, target: str, classes: list[int]) -> None:
    folder = write_cifs(tmp_path / "cifs", SALTS, "id,gap\n" + salts_csv())
    dataset = load_source(f"cif:{folder}", target)
    assert list(GAPS_EV.values()) == [5.0, 4.4, 8.7, 5.7]
    assert dataset.target.tolist() == classes
    assert dataset.provenance.startswith("1 where gap ") and "id_prop.csv" in dataset.provenance


def test_a_comparison_of_an_unknown_property_is_refused(tmp_path: Path) -> None:
    folder = write_cifs(tmp_path / "cifs", SALTS, "id,gap,density\n" + "".join(f"{name},1,2\n" for name in SALTS))
    with pytest.raises(DataError, match="no column 'gep'; it has gap, density"):
        load_source(f"cif:{folder}", "gep == 0")


def test_a_csv_of_any_name_is_read_and_truth_is_a_class(tmp_path: Path) -> None:
    folder = write_cifs(tmp_path / "cifs", SALTS, "")
    (folder / "stable.csv").write_text("material,stable\n" + "".join(f"{name},{name != 'LiF'}\n" for name in SALTS))
    dataset = load_source(f"cif:{folder / 'stable.csv'}", "stable")
    assert dataset.target.tolist() == [1, 1, 0, 1]
    assert dataset.provenance == "stable from stable.csv of the folder cifs"
    (folder / "id_prop.csv").unlink()
    with pytest.raises(DataError, match=r"it has stable.csv, so name that: cif:.*cifs/stable.csv"):
        load_source(f"cif:{folder}", "stable")
