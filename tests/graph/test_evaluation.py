"""Official claims: whose rows and figures they are, how looks are counted, and what `team verify` finds in them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from evaluation_locked import tight_binding
from evaluation_locked.dataset import DataError, load_table, save_table
from evaluation_locked.looks import LooksError, Subject, count_look, read_looks
from evaluation_locked.official import (
    NotOfficialError,
    Rows,
    fingerprint,
    official_task,
    prepare_fold,
    recorded_scores,
)
from evaluation_locked.prepare import load_facts
from graph.errors import RunError
from graph.evaluation import looks_of
from tests.conftest import TINY_SEED, team_command
from tests.graph.official_runs import N_ROWS, SMALL_TASK, Made

pytest.importorskip("matbench")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_a_claim_is_on_all_official_rows_and_each_training_is_a_look(made: Made) -> None:
    first = made.evaluate()
    place = next((made.folder.path / "official" / "fold-1").iterdir())
    predictions = np.load(place / "predictions.npy")
    labels = made.dataset.target[made.test_rows]
    assert first.value == pytest.approx(np.abs(predictions - labels).mean(), abs=1e-9)
    assert first.value == first.recorder["mae"]
    assert first.low < first.value < first.high
    assert (first.n_train, first.n_test) == (len(made.train_rows), len(made.test_rows)) == (509, 127)
    assert first.mean_predictor == pytest.approx(np.abs(labels - made.dataset.target[made.train_rows].mean()).mean())
    assert first.sealed and "system calls" in first.layers
    assert (first.look.number, first.look.at_fold, first.task) == (1, 1, SMALL_TASK)
    assert sorted(p.name for p in place.parent.iterdir()) == [place.name]  # the rows are gone

    assert made.evaluate() == first
    assert len(looks_of(made.folder)) == 1  # shown again
    assert made.differences() == []
    other = made.evaluate(seed=1)
    assert (other.look.number, other.look.at_fold) == (2, 2)
    assert other.value != first.value

    text = (place / "score.json").read_text()
    (place / "score.json").write_text(text.replace(f'"value": {first.value}', f'"value": {first.value - 0.1}'))
    assert [(trial, what) for trial, what, _ in made.differences()] == [(0, "official score")]
    (place / "score.json").write_text(text)
    raw = bytearray((place / "predictions.npy").read_bytes())
    raw[-1] ^= 1
    (place / "predictions.npy").write_bytes(raw)
    assert [what for _, what, _ in made.differences()] == ["official predictions"]


def test_a_look_counts_even_where_no_score_came_of_it(made: Made, tmp_path: Path) -> None:
    away = tmp_path / "away.npz"
    with pytest.raises(DataError, match="no table file"):
        made.evaluate(on_phase=lambda phase: made.table.rename(away) if phase == "ending" else None)
    assert [look.subject.task for look in looks_of(made.folder)] == [SMALL_TASK]
    away.rename(made.table)
    assert made.evaluate().look.number == 1
    assert len(looks_of(made.folder)) == 1


def test_a_training_that_fails_is_no_look_and_leaves_no_rows(made: Made) -> None:
    made.give(1, "raise SystemExit(3)")
    with pytest.raises(RunError, match=r"nothing was looked at: .* code 3"):
        made.evaluate(1)
    assert looks_of(made.folder) == ()
    assert not list((made.folder.path / "official").rglob("*.npz"))


def test_no_file_beside_the_training_holds_a_label_that_judges(made: Made, tmp_path: Path) -> None:
    rows = Rows(spec=made.config.task, cache=None, data_hash=load_facts(made.folder.locked).data_hash, fold=1)
    facts = prepare_fold(rows.model_copy(update={"known_tables": made.known}), tmp_path / "rows")
    assert facts.n_train == 509
    held = np.concatenate(
        [np.load(file)[name].ravel() for file in (tmp_path / "rows").glob("*.npz") for name in np.load(file).files]
    )
    assert set(made.dataset.target[made.train_rows]) <= set(held)
    assert not set(made.dataset.target[made.test_rows]) & set(held)
    assert sorted(p.name for p in (tmp_path / "rows").iterdir()) == ["facts.json", "train.npz", "validation.npz"]


def test_other_crystals_have_no_official_fold(made: Made) -> None:
    with pytest.raises(NotOfficialError, match="no official MatBench task"):
        official_task("tight-binding", tight_binding.load(), {})
    turned = made.dataset.select(np.arange(N_ROWS)[::-1])
    with pytest.raises(NotOfficialError, match="not in its order"):
        official_task("table:made.npz", turned, made.known)
    made.known = {}
    with pytest.raises(NotOfficialError):
        made.evaluate()
    assert looks_of(made.folder) == ()


def test_a_source_that_changed_is_refused(made: Made) -> None:
    save_table(made.table, made.dataset.select(np.roll(np.arange(N_ROWS), 1)), "gap_ev")
    made.known = {fingerprint(load_table(made.table, "gap_ev")): SMALL_TASK}
    with pytest.raises(DataError, match="holds other rows or labels"):
        made.evaluate()


def subject(fold: int, seed: int) -> Subject:
    return Subject(task="t", fold=fold, trial=0, code_sha="c", seed=seed, train_seconds=1.0, predictions_sha="p")


def test_looks_are_counted_once_each_and_cannot_be_changed_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "official" / "looks.jsonl"
    looks = [count_look(path, subject(fold, seed)) for fold, seed in ((0, 0), (1, 0), (0, 1), (0, 0))]
    assert [(look.number, look.at_fold) for look in looks] == [(1, 1), (2, 1), (3, 2), (1, 1)]
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in (lines[1:], [lines[0], lines[2]], [lines[0].replace(b'"seed":0', b'"seed":5'), *lines[1:]]):
        path.write_bytes(b"".join(changed))
        with pytest.raises(LooksError, match="does not follow"):
            read_looks(path)
    path.write_bytes(b"".join(lines) + b'{"number": 4')  # a power cut in the middle of a line
    assert len(read_looks(path)) == 3
    assert count_look(path, subject(2, 0)).number == 4
    assert len(read_looks(path)) == 4


def test_the_recorder_cuts_probabilities_before_it_ranks_them() -> None:
    ids = official_classes()
    labels = np.random.default_rng(0).integers(0, 2, ids).astype(float)
    probabilities = np.clip(labels * 0.3 + np.random.default_rng(1).uniform(0, 0.6, ids), 0, 1)
    scores = recorded_scores("matbench_expt_is_metal", 0, labels, probabilities)
    said = probabilities > 0.5
    expected = 0.5 * (said[labels > 0.5].mean() + (~said[labels < 0.5]).mean())
    assert scores["rocauc"] == pytest.approx(expected)


def official_classes() -> int:
    from matbench.metadata import mbv01_validation

    return len(mbv01_validation["splits"]["matbench_expt_is_metal"]["fold_0"]["test"])


MEAN = """
import numpy as np
from evaluation_locked.client import Task
task = Task.open()
mean = task.start_training().mean()
task.predict(lambda crystals: np.full(len(crystals), mean))
"""


@pytest.mark.skipif("TEAM_TEST_DATA" not in os.environ, reason="needs the real table (TEAM_TEST_DATA)")
def test_the_mean_predictor_claims_the_dummys_figure_on_the_real_task(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    (seed / "playbook").mkdir(parents=True)
    (seed / "train.py").write_text(MEAN)
    (seed / "task.toml").write_text((TINY_SEED / "task.toml").read_text())
    table = Path(os.environ["TEAM_TEST_DATA"], "matbench_mp_gap.npz")
    options = ["--source", f"table:{table}", "--target", "gap_pbe", "--limit", 400, "--trials", 1]
    subprocess.run(
        team_command("run", seed, "--runs", tmp_path, "--name", "real", *options), check=True, capture_output=True
    )
    claim = team_command("evaluate", "real", "--runs", tmp_path, "--fold", 0, "--json")
    told = json.loads(subprocess.run(claim, check=True, capture_output=True, text=True).stdout)
    (score,) = told["folds"]
    assert score["task"] == "matbench_mp_gap"
    assert (score["n_train"], score["n_test"]) == (84_890, 21_223)
    assert score["value"] == pytest.approx(1.327, abs=0.02)  # the leaderboard's Dummy has 1.3272 over five folds
    parts = {part["name"]: part for part in score["parts"]}
    assert parts["metals"]["n"] + parts["non-metals"]["n"] == score["n_test"]
    mean = parts["metals"]["value"]  # of rows that are 0 the mean predictor misses by the mean itself
    assert mean == pytest.approx(1.215, abs=0.01)
    assert parts["formula trained on"]["n"] == pytest.approx(0.3 * score["n_test"], rel=0.15)
    assert (told["looks"], told["new_looks"], told["submission"]) == (1, 1, None)
    text = subprocess.run(claim[:-1], check=True, capture_output=True, text=True).stdout
    assert "1 look at fold 0 by this run, shown again" in text
    assert "coGN" in text and "0.1532" in text
    assert "folds 1, 2, 3, 4 of 5 without a score" in text
