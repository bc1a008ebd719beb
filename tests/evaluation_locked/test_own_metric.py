"""A metric of a seed's own: computed by the judge, sealed, with a direction that everybody else reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from evaluation_locked.dataset import Dataset
from evaluation_locked.own_metric import judge_metric
from evaluation_locked.prepare import compute_seal, prepare
from evaluation_locked.scorer import ScoringError, compare, score
from evaluation_locked.seed_folder import SeedError
from evaluation_locked.task import OwnMetric, TaskSpec, load_task
from tests.conftest import TINY_SEED

HIGHER = OwnMetric(better="higher")
WITHIN = "def errors(labels, predictions):\n    return abs(labels - predictions) < 0.5\n"


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    folder = tmp_path / "seed"
    shutil.copytree(TINY_SEED, folder)
    (folder / "metric.py").write_text(WITHIN)
    text = (folder / "task.toml").read_text().replace("[caps]", '[own_metric]\nbetter = "higher"\n\n[caps]')
    (folder / "task.toml").write_text('metric = "within_half"\n' + text)
    return folder


def test_the_score_is_the_mean_of_its_errors_and_higher_is_better(seed: Path, dataset: Dataset, tmp_path: Path) -> None:
    spec, locked = load_task(seed), tmp_path / "run" / "locked"
    facts = prepare(spec, dataset, locked, seed_folder=seed)
    labels = np.load(locked / "validation_labels.npy")
    offsets = np.where(np.arange(len(labels)) % 4 == 0, 1.0, 0.1)  # three quarters are within a half
    np.save(tmp_path / "good.npy", labels + offsets)
    np.save(tmp_path / "bad.npy", labels + 1.0)
    result, found = score(locked, tmp_path / "good.npy", champion=[tmp_path / "bad.npy"])
    share = float((offsets < 0.5).mean())
    assert (result.value, result.metrics["within_half"], result.better) == (share, share, "higher")
    assert result.metrics["mae"] == pytest.approx(offsets.mean())
    assert found is not None and found.gain == pytest.approx(share)  # from none within a half; higher is better
    assert found.sampling_error == pytest.approx(np.sqrt(share * (1 - share) / len(labels)), rel=0.1)
    assert compare(locked, [tmp_path / "bad.npy"], [tmp_path / "good.npy"]).gain == pytest.approx(-share)
    assert 0 < facts.mean_predictor < 1
    assert result.perfect == 1.0 and result.gain(0.2, 0.5) == pytest.approx(0.3)


def test_the_seal_covers_the_file(seed: Path, dataset: Dataset, tmp_path: Path) -> None:
    spec, locked = load_task(seed), tmp_path / "run" / "locked"
    seal = prepare(spec, dataset, locked, seed_folder=seed).seal
    (seed / "metric.py").write_text(WITHIN.replace("0.5", "5.0"))
    assert compute_seal(spec, locked) == seal  # the seed's own file may go on changing
    (locked / "metric.py").write_text(WITHIN.replace("0.5", "5.0"))
    assert compute_seal(spec, locked) != seal


def test_one_number_for_all_rows_is_resampled_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "metric.py").write_text("def score(labels, predictions):\n    return abs(labels - predictions).max()\n")
    metric = judge_metric("worst", "regression", OwnMetric(better="lower"), tmp_path / "metric.py")
    assert metric.function(np.array([1.0, 2.0]), np.array([1.5, 5.0])) == 3.0
    assert metric.errors is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "neither errors nor score"),
        (WITHIN + "def score(a, b):\n    return 1.0\n", "errors and score"),
        ("import no_such_module", "does not run .ModuleNotFoundError"),
    ],
)
def test_a_file_that_is_no_metric_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "metric.py").write_text(text)
    with pytest.raises(SeedError, match=words):
        judge_metric("mine", "regression", HIGHER, tmp_path / "metric.py")


def test_errors_that_are_not_one_for_each_row_are_named(seed: Path, dataset: Dataset, tmp_path: Path) -> None:
    (seed / "metric.py").write_text("def errors(labels, predictions):\n    return (labels - predictions)[:-1]\n")
    with pytest.raises(SeedError, match=r"errors\(\) gave shape"):
        prepare(load_task(seed), dataset, tmp_path / "locked", seed_folder=seed)
    (seed / "metric.py").write_text("def errors(labels, predictions):\n    return 1 / (predictions - 3.0)\n")
    locked = tmp_path / "run" / "locked"
    prepare(load_task(seed), dataset, locked, seed_folder=seed)
    np.save(tmp_path / "three.npy", np.full(len(np.load(locked / "validation_labels.npy")), 3.0))
    with pytest.raises(ScoringError, match=r"errors\(\) gave shape .* 0 finite|divide by zero"):
        score(locked, tmp_path / "three.npy")


def test_a_name_that_is_taken_and_a_missing_file_are_refused(seed: Path) -> None:
    (seed / "metric.py").unlink()
    with pytest.raises(SeedError, match="is the seed's own, and there is no"):
        load_task(seed)
    text = (seed / "task.toml").read_text()
    (seed / "task.toml").write_text(text.replace("within_half", "mae"))
    with pytest.raises(SeedError, match="own_metric needs a name of its own"):
        load_task(seed)


def test_a_task_of_it_has_a_direction_and_computes_nothing(seed: Path) -> None:
    metric = load_task(seed).score_metric
    assert (metric.better, metric.has_unit) == ("higher", False)
    with pytest.raises(RuntimeError, match="computed by the judge"):
        metric.function(np.zeros(2), np.zeros(2))
    assert isinstance(TaskSpec.model_validate(load_task(seed).model_dump()), TaskSpec)  # run.toml holds it
