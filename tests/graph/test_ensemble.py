"""The ensemble of a run: what it is chosen from, and what the same budget buys of the champion instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.dataset import Dataset
from evaluation_locked.prepare import prepare
from evaluation_locked.scorer import score
from evaluation_locked.task import load_task
from graph.ensemble import Choice, choose_ensemble
from graph.errors import RunError
from graph.recipe import read_ensemble
from graph.run_folder import RunConfig, RunFolder, code_sha
from memory.history import History
from memory.records import Idea, TrialRecord
from tests.conftest import TINY_SEED
from tests.evaluation_locked.conftest import cubic_crystals

if TYPE_CHECKING:
    from pathlib import Path

N_ROWS = 600


class Told:
    """A run whose trials err as a test says; its files are those of the tiny seed, for what is really trained."""

    def __init__(self, place: Path):
        self.folder = RunFolder(place / "run")
        task = load_task(TINY_SEED)
        labels = np.random.default_rng(3).uniform(0, 6, N_ROWS)
        prepare(task, Dataset("made", cubic_crystals(N_ROWS), labels, "made up"), self.folder.locked)
        self.config = RunConfig(name="run", task=task, seed_folder=str(TINY_SEED))
        self.labels = np.load(self.folder.locked / "validation_labels.npy")
        self.history = History()

    def add(self, number: int, errors: np.ndarray, outcome: str = "discarded") -> None:
        idea = Idea(number=number, mode="baseline", axis="-", title=f"trial {number}")
        place = self.folder.make_trial(idea)
        (place / "train.py").write_text((TINY_SEED / "train.py").read_text() + f"# {number}\n")
        np.save(place / "predictions.npy", self.labels + errors)
        result, _ = score(self.folder.locked, place / "predictions.npy", place / "residuals.npy")
        sha = code_sha(place)
        self.history.add(
            TrialRecord.model_validate(
                {"number": number, "idea": idea, "outcome": outcome, "reason": "-", "score": result, "code_sha": sha}
            )
        )

    def choose(self, **options: object) -> Choice:
        return choose_ensemble(self.folder, self.config, self.history, **options)  # type: ignore[arg-type]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_members_that_err_apart_are_taken_and_doubtful_ones_are_not(told: Told) -> None:
    noise = np.random.default_rng(0).normal(size=(3, len(told.labels)))
    told.add(0, noise[0], "kept")
    told.add(1, 1.02 * noise[0])
    told.add(2, 1.05 * noise[1])
    told.add(3, 0.01 * noise[2], "set-aside")
    choice = told.choose(size=2)
    assert [(m.trial, m.weight) for m in choice.recipe.members] == [(0, 1), (2, 1)]
    assert (choice.champion, choice.candidates, choice.recipe.rule) == (0, 3, "median")
    assert read_ensemble(told.folder) == choice.recipe
    assert choice.chosen.correlations[0][1] == pytest.approx(
        np.corrcoef(np.abs(noise[0]), np.abs(noise[1]))[0, 1], abs=1e-6
    )
    assert choice.chosen.rivals == ()


def test_the_same_budget_is_trained_once_and_compared(told: Told) -> None:
    noise = np.random.default_rng(0).normal(size=(2, len(told.labels)))
    told.add(0, noise[0], "kept")
    told.add(1, noise[1])
    choice = told.choose(equal_budget=True)
    (often, _, over, _), (long, long_score, _, _) = choice.chosen.rivals
    assert (often, long) == (
        "the champion trained 2 times, combined alike",
        "the champion trained once for 10 s",
    )
    trained = {path.name.split("-", 2)[2]: path for path in (told.folder.path / "ensemble").iterdir()}
    assert sorted(trained) == ["10s-seed-1009", "5s-seed-1009"]
    once = np.load(trained["10s-seed-1009"] / "predictions.npy")
    assert long_score == pytest.approx(np.abs(once - told.labels).mean())
    again = np.load(trained["5s-seed-1009"] / "predictions.npy")
    twice = np.median([told.labels + noise[0], again], axis=0)
    assert over.value == pytest.approx(np.abs(twice - told.labels).mean() - choice.chosen.score)
    written = [(path / "outcome.json").stat().st_mtime_ns for path in trained.values()]
    assert told.choose(equal_budget=True).chosen == choice.chosen
    assert [(path / "outcome.json").stat().st_mtime_ns for path in trained.values()] == written


def test_predictions_that_were_changed_choose_nothing(told: Told) -> None:
    noise = np.random.default_rng(0).normal(size=(2, len(told.labels)))
    told.add(0, noise[0], "kept")
    with pytest.raises(RunError, match="has 1 trainings with a score"):
        told.choose()
    told.add(1, noise[1])
    np.save(told.folder.trial(1) / "predictions.npy", told.labels)
    with pytest.raises(RunError, match="is not what was scored"):
        told.choose()
