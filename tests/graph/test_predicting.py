"""A file asked about crystals of a user's own: when it is trained, what it may keep, and what leaves the run."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.dataset import Dataset
from evaluation_locked.kept import store_kept
from evaluation_locked.prepare import prepare
from evaluation_locked.task import load_task
from evaluation_locked.trial import TrialOrder, run_trial
from evaluation_locked.wire import WireError
from graph.errors import RunError
from graph.exporting import export_model
from graph.predicting import Predictor, predict, predictors_of
from graph.recipe import recipe_of
from graph.run_folder import RunConfig, RunFolder
from memory.journal import Journal
from memory.records import Idea
from tests.conftest import TINY_SEED
from tests.evaluation_locked.conftest import cubic_crystals

if TYPE_CHECKING:
    from pathlib import Path

KEEPS = """
    import numpy as np
    from evaluation_locked.client import Task
    task = Task.open()
    def features(crystals):
        owner = np.repeat(np.arange(len(crystals)), crystals.n_atoms)
        fractions = np.zeros((len(crystals), 119))
        np.add.at(fractions, (owner, crystals.atomic_numbers), 1.0)
        return fractions / crystals.n_atoms[:, None]
    if task.kept is None:
        y = task.start_training()
        x = features(task.crystals)
        weights = np.linalg.solve(x.T @ x + np.eye(119), x.T @ y)
        task.keep({"weights": weights, "n_trained": np.array(len(y))})
    else:
        assert task.kept["n_trained"].shape == ()
        weights = task.kept["weights"]
        LINE
    task.predict(lambda crystals: features(crystals) @ weights)
"""
N_ROWS = 300


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunConfig]:
    folder = RunFolder(tmp_path_factory.mktemp("predicts") / "run")
    labels = np.random.default_rng(3).uniform(0, 6, N_ROWS)
    task = load_task(TINY_SEED)
    prepare(task, Dataset("made", cubic_crystals(N_ROWS), labels, "made up"), folder.locked)
    give(folder, 0, KEEPS.replace("LINE", "pass"))
    give(folder, 1, (TINY_SEED / "train.py").read_text())
    give(folder, 2, KEEPS.replace("LINE", "weights = weights + 1.0"))
    return folder, RunConfig(name="run", task=task, seed_folder=str(TINY_SEED))


def give(folder: RunFolder, number: int, source: str) -> None:
    place = folder.make_trial(Idea(number=number, mode="baseline", axis="-", title="file"))
    (place / "train.py").write_text(textwrap.dedent(source))


def by_hand(folder: RunFolder, rows: np.ndarray) -> np.ndarray:
    """Return what the keeping file must say: a ridge regression on all rows of the search."""
    with np.load(folder.locked / "train.npz") as train, np.load(folder.locked / "validation.npz") as validation:
        labels = np.concatenate([train["labels"], np.load(folder.locked / "validation_labels.npy")])
        tables = [(t["n_atoms"], t["atomic_numbers"]) for t in (train, validation)]
    x = np.concatenate([fractions(*table) for table in tables])
    weights = np.linalg.solve(x.T @ x + np.eye(119), x.T @ labels)
    crystals = cubic_crystals(N_ROWS).select(rows)
    return np.asarray(fractions(crystals.n_atoms, crystals.atomic_numbers) @ weights)


def fractions(n_atoms: np.ndarray, atomic_numbers: np.ndarray) -> np.ndarray:
    table = np.zeros((len(n_atoms), 119))
    np.add.at(table, (np.repeat(np.arange(len(n_atoms)), n_atoms), atomic_numbers), 1.0)
    return table / n_atoms[:, None]


def test_a_file_that_keeps_is_trained_once_on_all_rows_of_the_search(run: tuple[RunFolder, RunConfig]) -> None:
    folder, config = run
    recipe = recipe_of(folder, 0)
    predictors = predictors_of(folder, config, recipe, 1, None)
    first = predict(predictors, recipe, cubic_crystals(N_ROWS).select(np.arange(20)))
    assert first.trained == 1 and first.spread is None
    assert first.values == pytest.approx(by_hand(folder, np.arange(20)))
    others = np.array([250, 7])
    second = predict(predictors, recipe, cubic_crystals(N_ROWS).select(others))
    assert second.trained == 0
    assert second.values == pytest.approx(by_hand(folder, others))
    check = predictors[0][0].check
    assert check is not None and check.agrees and check.moved < 1e-9
    assert not list(predictors[0][0].place.parent.glob("**/*.rows"))


def test_a_file_that_keeps_nothing_is_trained_for_new_crystals_only(run: tuple[RunFolder, RunConfig]) -> None:
    folder, config = run
    recipe = recipe_of(folder, 1)
    predictors = predictors_of(folder, config, recipe, 2, None)
    asked = cubic_crystals(N_ROWS).select(np.arange(5))
    first = predict(predictors, recipe, asked)
    assert (first.trained, predict(predictors, recipe, asked).trained) == (2, 0)
    table = np.stack(list(first.trainings.values()))
    assert first.values == pytest.approx(table.mean(axis=0))
    assert first.spread == pytest.approx(np.abs(table[0] - table[1]) / np.sqrt(2))
    assert (np.asarray(first.spread) > 0).any()  # another seed is another draw of rows
    assert predict(predictors, recipe, asked.select(np.arange(4))).trained == 2


def test_what_a_file_does_not_predict_the_same_from_is_not_used(run: tuple[RunFolder, RunConfig]) -> None:
    folder, config = run
    one = Predictor(folder, config, 2, 0, None)
    said = one.predict(cubic_crystals(N_ROWS).select(np.arange(6)))
    assert said == pytest.approx(by_hand(folder, np.arange(6)))
    assert one.check is not None and not one.check.agrees and one.check.moved == pytest.approx(1.0)
    assert one.kept is None


def test_in_a_search_nothing_can_be_kept(run: tuple[RunFolder, RunConfig], tmp_path: Path) -> None:
    folder, config = run
    order = TrialOrder(
        train_py=folder.trial(0) / "train.py", locked=folder.locked, folder=tmp_path / "trial", caps=config.task.caps
    )
    assert run_trial(order).status == "finished"
    assert not (tmp_path / "trial" / "kept.npz").exists()
    train_py = tmp_path / "train.py"
    train_py.write_text(
        textwrap.dedent(KEEPS).replace("task.predict(", "task._to_keep = {'kept.x': np.zeros(9999)}\ntask.predict(")
    )
    outcome = run_trial(order.model_copy(update={"train_py": train_py}))
    assert outcome.status == "invalid" and "over the" in outcome.message


def test_a_name_that_is_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="letters, digits"):
        store_kept({"predictions": np.zeros(1), "kept.../../x": np.zeros(1)}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_ends_early_is_named(run: tuple[RunFolder, RunConfig]) -> None:
    folder, config = run
    give(folder, 3, "raise SystemExit('no data today')")
    with pytest.raises(RunError, match=r"trial 3 could not predict: .* code 1; it said 'no data today'"):
        Predictor(folder, config, 3, 0, None).predict(cubic_crystals(3))


def test_a_model_card_says_what_was_never_trained_on(run: tuple[RunFolder, RunConfig], tmp_path: Path) -> None:
    folder, config = run
    recipe = recipe_of(folder, 0)
    record(folder)
    facts = export_model(folder, config, recipe, tmp_path / "out", predictors_of(folder, config, recipe, 1, None))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("train.py", "task.toml", "model.json", "MODEL_CARD.md"),
        *facts["weights"],
    }
    with np.load(tmp_path / "out" / facts["weights"][0], allow_pickle=False) as weights:
        assert weights["kept.weights"].shape == (119,)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "never trained on: Pm, Sm" in card and "Pm" in facts["unseen_elements"]  # 61, beyond the 60 and 70 held
    assert "Yb" not in facts["unseen_elements"]
    assert "cells of 1 to 2 atoms" in card and f"the {N_ROWS * 4 // 5} crystals" in card
    assert json.loads((tmp_path / "out" / "model.json").read_text())["looks"] == 0
    with pytest.raises(RunError, match="is not empty"):
        export_model(folder, config, recipe, tmp_path / "out", [])


def record(folder: RunFolder) -> None:
    from memory.records import TrialRecord

    idea = Idea(number=0, mode="baseline", axis="-", title="file")
    Journal(folder.journal).append(TrialRecord(number=0, idea=idea, outcome="rejected", reason="told"))


def test_after_cross_validation_every_row_is_trained_on_once(tmp_path: Path) -> None:
    folder, task = RunFolder(tmp_path / "run"), load_task(TINY_SEED)
    task = task.model_copy(update={"split": task.split.model_copy(update={"cross_validation": 3, "repeats": 2})})
    labels = np.random.default_rng(3).uniform(0, 6, N_ROWS)
    prepare(task, Dataset("made", cubic_crystals(N_ROWS), labels, "made up"), folder.locked)
    give(folder, 0, KEEPS.replace("LINE", "pass"))
    one = Predictor(folder, RunConfig(name="run", task=task, seed_folder=str(TINY_SEED)), 0, 0, None)
    said = one.predict(cubic_crystals(N_ROWS).select(np.arange(4)))
    with np.load(folder.locked / "train.npz") as train:
        assert len(train["labels"]) == N_ROWS * 4 // 5
        x = fractions(train["n_atoms"], train["atomic_numbers"])
        weights = np.linalg.solve(x.T @ x + np.eye(119), x.T @ train["labels"])
    asked = cubic_crystals(N_ROWS).select(np.arange(4))
    assert said == pytest.approx(fractions(asked.n_atoms, asked.atomic_numbers) @ weights)
