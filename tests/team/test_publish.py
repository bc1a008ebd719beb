"""What a person types after a search: each command once, on a run of a tiny seed, and what it must not claim."""

from __future__ import annotations

import csv
import json
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from graph.recipe import Recipe, recipe_of, write_ensemble
from graph.run_folder import RunFolder, read_history
from tests.conftest import TINY_SEED, team_command
from tests.evaluation_locked.sources.test_single_files import SALT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    call(folder, "run", TINY_SEED, "--name", "tiny", "--trials", 3)
    return folder


def call(runs: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = team_command(*arguments, "--runs", runs)
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_an_ensemble_is_chosen_and_scored_on_folds_of_our_own(runs: Path) -> None:
    told = json.loads(call(runs, "ensemble", "tiny", "--size", 3, "--json").stdout)
    assert told["worth"]["path"][0] >= told["worth"]["path"][-1] == told["worth"]["score"]
    assert told["train_seconds_total"] == 5.0 * len(told["members"])
    folder = RunFolder(runs / "tiny")
    numbers = [n for n, trial in read_history(folder).trials.items() if trial.score is not None][:2]
    write_ensemble(folder, Recipe(members=tuple(recipe_of(folder, n).members[0] for n in numbers)))

    claim = ("evaluate", "tiny", "--ensemble", "--own-folds", "kfold", "--folds", "0,1")
    facts = json.loads(call(runs, *claim, "--json").stdout)
    assert (facts["official"], facts["submission"], facts["looks"], facts["new_looks"]) == (False, None, 2, 2)
    values = [score["value"] for score in facts["folds"]]
    assert facts["mean"]["value"] == pytest.approx(np.mean(values))
    errors = [score["standard_error"] for score in facts["folds"]]
    assert facts["mean"]["high"] - facts["mean"]["value"] == pytest.approx(1.96 * np.hypot(*errors) / 2)
    text = call(runs, *claim).stdout
    assert "NOT official: kfold folds of tight-binding" in text
    assert "shown again, none of them new; 2 looks in total" in text
    assert not (runs / "tiny" / "submission-ensemble").exists()
    assert "as measured" in call(runs, "verify", "tiny").stdout


def test_an_official_claim_is_refused_where_there_is_none(runs: Path) -> None:
    assert "no official fold" in call(runs, "evaluate", "tiny", "--folds", "all", code=1).stderr
    assert "names no folds" in call(runs, "evaluate", "tiny", "--own-folds", "kfold", "--folds", "first", code=1).stderr
    assert "there is no fold 5" in call(runs, "evaluate", "tiny", "--own-folds", "kfold", "--folds", 5, code=1).stderr


def test_predictions_come_as_a_table(runs: Path, tmp_path: Path) -> None:
    SALT.to(filename=str(tmp_path / "salt.cif"))
    (tmp_path / "bad.cif").write_text("data_nothing\n")
    out = tmp_path / "said.csv"
    asked = ("predict", "tiny", tmp_path, "--seeds", 2)
    assert "1 of 2" in call(runs, *asked, code=1).stderr
    done = call(runs, *asked, "--skip-bad", "--out", out)
    assert "left out: bad.cif" in done.stderr
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert (row["name"], row["formula"], row["atoms"]) == ("salt.cif", "NaCl", "8")
    assert float(row["spread"]) > 0
    again = json.loads(call(runs, *asked, "--skip-bad", "--json").stdout)
    assert again["trained_now"] == 0
    assert again["predictions"][0]["prediction"] == float(row["prediction"])
    assert again["predictions"][0]["prediction"] == pytest.approx(
        np.mean([v[0] for v in again["trainings"].values()]), abs=1e-6
    )


def test_a_comparison_counts_the_rows_that_both_have(runs: Path, tmp_path: Path) -> None:
    with np.load(runs / "tiny" / "locked" / "validation.npz") as file:
        n_validation = len(file["n_atoms"])
    lines = [f"{row},1.0\n" for row in range(0, 5000, 2)]
    (tmp_path / "half.csv").write_text("row,prediction\n" + "".join(lines[:2000]))
    told = json.loads(call(runs, "compare", "tiny", "--published", tmp_path / "half.csv", "--json").stdout)
    (one,) = told["beside"]
    assert told["where"] == "search-validation"
    assert one["n_ours"] + told["ambiguous"] == n_validation
    assert one["n_theirs"] == 2000 and 0 < one["n"] < one["n_ours"]
    assert one["gain"]["value"] == pytest.approx(one["theirs"] - one["ours"])
