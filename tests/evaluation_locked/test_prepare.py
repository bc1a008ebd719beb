"""The locked folder: which rows a search sees, and what its seal covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.crystals import Crystals
from evaluation_locked.dataset import DataError, Dataset, load_table, save_table
from evaluation_locked.prepare import load_facts, load_trial_input, prepare
from evaluation_locked.splits import official_folds

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation_locked.task import TaskSpec


def lengths(path: Path) -> set[float]:
    with np.load(path) as file:
        return set(Crystals.from_arrays(file).lattice_parameters[:, 0].tolist())


def test_no_official_test_row_and_no_formula_twice(locked: Path, dataset: Dataset) -> None:
    test_rows = official_folds(len(dataset))[0][1]
    official = set(dataset.crystals.lattice_parameters[test_rows, 0].tolist())
    train, judged = lengths(locked / "train.npz"), lengths(locked / "validation.npz")
    assert not (train | judged) & official
    assert len(train) + len(judged) == len(dataset) - len(test_rows)
    with np.load(locked / "train.npz") as a, np.load(locked / "validation.npz") as b:
        assert not set(Crystals.from_arrays(a).formula_keys()) & set(Crystals.from_arrays(b).formula_keys())
        assert "labels" not in b.files


def test_facts_tell_sizes_and_the_mean_predictor(locked: Path) -> None:
    facts = load_facts(locked)
    labels = np.load(locked / "validation_labels.npy")
    with np.load(locked / "train.npz") as file:
        mean = file["labels"].mean()
    assert facts.n_validation == len(labels)
    assert facts.mean_predictor == pytest.approx(np.abs(labels - mean).mean())


def test_a_smoke_trial_predicts_training_rows_only(locked: Path) -> None:
    given = load_trial_input(locked, smoke=True)
    seen = set(given.train.lattice_parameters[:, 0].tolist())
    asked = set(given.predict.lattice_parameters[:, 0].tolist())
    assert not seen & asked
    assert seen | asked <= lengths(locked / "train.npz")


def test_the_seal_changes_with_a_label_and_with_the_split(spec: TaskSpec, dataset: Dataset, tmp_path: Path) -> None:
    first = prepare(spec, dataset, tmp_path / "a").seal
    assert prepare(spec, dataset, tmp_path / "b").seal == first
    target = dataset.target.copy()
    target[official_folds(len(dataset))[0][0][0]] += 1e-9
    changed = Dataset(dataset.name, dataset.crystals, target, dataset.provenance)
    assert prepare(spec, changed, tmp_path / "c").seal != first
    other = spec.model_copy(update={"split": spec.split.model_copy(update={"seed": 1})})
    assert prepare(other, dataset, tmp_path / "d").seal != first


def test_a_class_label_that_is_no_class_is_named(spec: TaskSpec, dataset: Dataset, tmp_path: Path) -> None:
    classes = spec.model_copy(update={"kind": "classification", "metric": "roc_auc"})
    with pytest.raises(DataError, match=r"0\.1; classification needs labels 0 and 1"):
        prepare(classes, dataset, tmp_path)


def test_a_table_file_comes_back_as_it_was(dataset: Dataset, tmp_path: Path) -> None:
    save_table(tmp_path / "t.npz", dataset, "gap_ev")
    assert load_table(tmp_path / "t.npz", "gap_ev").content_hash() == dataset.content_hash()
    with pytest.raises(DataError, match="has no property 'band_gap'; it has gap_ev"):
        load_table(tmp_path / "t.npz", "band_gap")
    (tmp_path / "t.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match="cannot be read as a table"):
        load_table(tmp_path / "t.npz", "gap_ev")
    with pytest.raises(DataError, match="no table file"):
        load_table(tmp_path / "u.npz", "gap_ev")
