"""Cross-validation inside the search: every row judges once a cut, by a training that had nothing of its part."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from evaluation_locked.dataset import DataError, Dataset
from evaluation_locked.metrics import METRICS
from evaluation_locked.noise import bootstrap_differences
from evaluation_locked.prepare import compute_seal, load_facts, load_trial_input, prepare
from evaluation_locked.scorer import compare, score
from evaluation_locked.splits import cross_validation_parts
from evaluation_locked.task import SplitSpec, TaskSpec
from evaluation_locked.trial import TrialOrder, TrialOutcome, run_trial
from tests.evaluation_locked.conftest import CAPS

PARTS, REPEATS = 3, 2
ELEMENT_MEANS = """
    import numpy as np
    from evaluation_locked.client import Task
    task = Task.open()
    labels = task.start_training()
    print("seed", task.facts.seed, "seconds", round(task.facts.train_seconds, 3), "rows", len(labels))
    {extra}
    slope = np.polyfit(task.crystals.lattice_parameters[:, 0], labels, 1)
    task.predict(lambda crystals: np.polyval(slope, crystals.lattice_parameters[:, 0]))
"""


@pytest.fixture(scope="module")
def split_spec(spec: TaskSpec) -> TaskSpec:
    return spec.model_copy(update={"split": SplitSpec(cross_validation=PARTS, repeats=REPEATS)})


@pytest.fixture(scope="module")
def parted(split_spec: TaskSpec, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parted") / "locked"
    prepare(split_spec, dataset, folder)
    return folder


def run(locked: Path, place: Path, extra: str = "", **caps: float) -> TrialOutcome:
    place.mkdir(exist_ok=True)
    train_py = place / "train.py"
    train_py.write_text(textwrap.dedent(ELEMENT_MEANS).replace("{extra}", extra))
    order = TrialOrder(
        train_py=train_py,
        locked=locked,
        folder=place,
        caps=CAPS.model_copy(update=caps),
        seed=7,
        check_batches=True,
    )
    return run_trial(order)


def test_parts_keep_formulas_together_and_cuts_differ(dataset: Dataset) -> None:
    rows = np.arange(0, 600, 2)
    parts = cross_validation_parts(dataset.crystals, rows, n_parts=4, repeats=2, seed=1)
    keys = dataset.crystals.formula_keys()[rows]
    assert all(len(set(cut[keys == key])) == 1 for cut in parts for key in set(keys))
    assert all(set(np.bincount(cut, minlength=4)) <= set(range(60, 91)) for cut in parts)  # of 300 rows, 10 a formula
    assert (parts[0] != parts[1]).mean() > 0.5
    again = cross_validation_parts(dataset.crystals, rows, n_parts=4, repeats=2, seed=1)
    assert np.array_equal(parts, again)


def test_parts_of_classes_keep_their_share(dataset: Dataset) -> None:
    rows = np.arange(600)
    classes = (rows % 60 < 12).astype(float)
    parts = cross_validation_parts(dataset.crystals, rows, n_parts=4, seed=0, stratify_labels=classes)[0]
    assert [round(float(classes[parts == part].mean()), 2) for part in range(4)] == [0.2] * 4


def test_more_parts_than_formulas_are_refused(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="1 reduced formulas cannot be cut into 2 parts"):
        cross_validation_parts(dataset.crystals, [0, 60, 120], n_parts=2)


def test_a_training_is_given_neither_row_nor_formula_of_its_part(parted: Path, dataset: Dataset) -> None:
    facts, judged = load_facts(parted), []
    assert (facts.n_trainings, facts.n_validation, facts.n_train) == (6, 480, 320)
    labels = np.load(parted / "validation_labels.npy")
    for number in range(facts.n_trainings):
        given = load_trial_input(parted, smoke=False, training=number)
        assert not set(given.train.formula_keys()) & set(given.predict.formula_keys())
        assert len(given.train) + len(given.predict) == 480
        row_of = np.rint((given.predict.lattice_parameters[:, 0] - 4.0) * 1000).astype(int)  # see cubic_crystals
        assert np.array_equal(labels[given.judged], dataset.target[row_of])
        judged.append(given.judged)
    assert np.array_equal(np.sort(np.concatenate(judged)), np.arange(REPEATS * 480))


def test_the_mean_predictor_is_the_mean_of_the_other_parts(parted: Path) -> None:
    labels, errors = np.load(parted / "validation_labels.npy"), []
    for number in range(PARTS * REPEATS):
        given = load_trial_input(parted, smoke=False, training=number)
        errors.append(np.abs(labels[given.judged] - given.train_labels.mean()))
    assert load_facts(parted).mean_predictor == pytest.approx(np.concatenate(errors).mean())


def test_a_trial_is_all_its_trainings_and_its_score_is_out_of_fold(parted: Path, tmp_path: Path) -> None:
    outcome = run(parted, tmp_path / "trial")
    assert outcome.status == "finished", outcome.message
    log = [line.split() for line in (tmp_path / "trial" / "train.log").read_text().splitlines()]
    assert [line[3] for line in log] == [str(round(CAPS.train_seconds / 6, 3))] * 6
    assert len({line[1] for line in log}) == 6 and log[0][1] == "7"
    predictions = np.load(tmp_path / "trial" / "predictions.npy")
    expected = np.full(960, np.nan)
    for number in range(6):
        given = load_trial_input(parted, smoke=False, training=number)
        slope = np.polyfit(given.train.lattice_parameters[:, 0], given.train_labels, 1)
        expected[given.judged] = np.polyval(slope, given.predict.lattice_parameters[:, 0])
    assert predictions == pytest.approx(expected)
    labels = np.load(parted / "validation_labels.npy")
    result, _ = score(parted, tmp_path / "trial" / "predictions.npy", layers=outcome.layers)
    assert result.value == pytest.approx(np.abs(expected - labels).mean())
    assert result.n == 480 and not result.warnings and result.sealed
    assert sorted(path.name for path in (tmp_path / "trial").iterdir()) == ["predictions.npy", "train.log", "train.py"]


def test_one_training_that_fails_ends_the_trial_and_is_named(parted: Path, tmp_path: Path) -> None:
    outcome = run(parted, tmp_path / "trial", "assert task.facts.seed == 7")
    assert (outcome.status, outcome.message) == ("crashed", "training 2 of 6: train.py ended with code 1")
    assert not (tmp_path / "trial" / "predictions.npy").exists()


def test_trainings_share_the_time_to_predict(parted: Path, tmp_path: Path) -> None:
    slow = "import time; polyval = np.polyval; np.polyval = lambda *given: (time.sleep(0.2), polyval(*given))[1]"
    outcome = run(parted, tmp_path / "trial", slow, predict_seconds=1.5)
    assert outcome.status == "overtime"
    assert re.match(r"training [2-6] of 6: predict took over", outcome.message)


def test_repeats_of_a_crystal_do_not_count_as_more_crystals() -> None:
    rng = np.random.default_rng(0)
    labels, said = rng.normal(size=400), rng.normal(size=400)
    once = bootstrap_differences(METRICS["mae"], labels, [said])
    thrice = bootstrap_differences(METRICS["mae"], np.tile(labels, 3), [np.tile(said, 3)], repeats=3)
    blind = bootstrap_differences(METRICS["mae"], np.tile(labels, 3), [np.tile(said, 3)])
    assert thrice.std() == pytest.approx(once.std(), rel=1e-9)
    assert blind.std() < 0.7 * once.std()


def test_the_comparison_is_paired_over_crystals(parted: Path, tmp_path: Path) -> None:
    labels = np.load(parted / "validation_labels.npy")
    noise = np.random.default_rng(1).normal(size=len(labels))
    np.save(tmp_path / "a.npy", labels + noise)
    np.save(tmp_path / "b.npy", labels + 1.5 * noise)
    found = compare(parted, [tmp_path / "a.npy"], [tmp_path / "b.npy"])
    gains = 0.5 * np.abs(noise).reshape(REPEATS, -1).mean(axis=0)  # of each crystal over its cuts
    assert found.gain == pytest.approx(gains.mean())
    assert found.sampling_error == pytest.approx(gains.std() / np.sqrt(480), rel=0.1)


def test_the_seal_covers_the_parts(split_spec: TaskSpec, dataset: Dataset, tmp_path: Path) -> None:
    facts = prepare(split_spec, dataset, tmp_path / "locked")
    parts = np.load(tmp_path / "locked" / "parts.npy")
    np.save(tmp_path / "locked" / "parts.npy", parts[::-1])
    assert compute_seal(split_spec, tmp_path / "locked") != facts.seal


@pytest.mark.parametrize(
    ("values", "words"),
    [({"cross_validation": 1}, "one part leaves nothing"), ({"repeats": 2}, "2 repeats of no cross-validation")],
)
def test_a_split_that_cannot_be_is_refused(values: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SplitSpec(**values)  # type: ignore[arg-type]
