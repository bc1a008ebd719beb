"""The bench of accuracy at a budget: its rows, its resuming, and one real trial."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import (
    SEED_FOLDER,
    Result,
    append_result,
    choose_rows,
    digest_of,
    gain,
    read_results,
    show,
    train_once,
    write_locked,
)
from evaluation_locked import tight_binding
from evaluation_locked.dataset import load_table
from evaluation_locked.splits import official_folds

REAL_DATA = os.environ.get("TEAM_TEST_DATA")


def result(**changes: object) -> Result:
    made = Result("a.py", "digest", 60.0, 0, 2, 0.5, 60.0, 1.0, 0.5, "9 steps of 32; more", 0.1, [0.0, 1.0])
    return replace(made, **changes)  # type: ignore[arg-type]


def test_no_row_is_trained_on_and_judged_by_and_none_is_an_official_test_row() -> None:
    dataset = tight_binding.load()
    protocol = choose_rows(dataset, 300)
    assert (len(protocol.train), len(protocol.validation), protocol.official) == (250, 50, False)
    rows = np.sort(official_folds(len(dataset))[0][0])
    rows = rows[dataset.crystals.n_atoms[rows] <= 60]
    chosen = np.random.default_rng(0).choice(rows, 300, replace=False)
    assert len(set(chosen)) == 300
    assert (protocol.validation.target == dataset.target[chosen[250:]]).all()
    assert not set(chosen) & set(official_folds(len(dataset))[0][1])


@pytest.mark.skipif(REAL_DATA is None, reason="TEAM_TEST_DATA is not set")
def test_the_protocol_is_that_of_the_peers() -> None:
    protocol = choose_rows(load_table(Path(REAL_DATA or "") / "matbench_mp_gap.npz", "gap_pbe"))
    assert protocol.official and (len(protocol.train), len(protocol.validation)) == (5000, 1000)
    assert protocol.train.crystals.n_atoms.max() <= 60


def test_an_interrupted_bench_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert read_results(path) == []
    append_result(path, result(seed=0))
    with path.open("a") as stream:
        stream.write('{"file": "torn')
    append_result(path, result(seed=1))
    assert [(r.seed, r.key) for r in read_results(path)] == [(0, result().key), (1, ("digest", 60.0, 1, 2))]


def test_another_text_or_other_rows_are_another_trial(tmp_path: Path) -> None:
    dataset = tight_binding.load()
    few, more = choose_rows(dataset, 300), choose_rows(dataset, 306)
    file = tmp_path / "train.py"
    file.write_text("a = 1\n")
    before = digest_of(file, few)
    assert digest_of(file, more) != before
    file.write_text("a = 2\n")
    assert digest_of(file, few) != before


def test_the_gain_is_paired_and_positive_where_the_first_is_better() -> None:
    labels = np.zeros(200)
    hard = np.where(np.arange(200) < 20, 5.0, 0.1)  # what is hard is hard for both
    good, bad = result(predictions=(hard - 0.05).tolist()), result(predictions=hard.tolist())
    found = gain(labels, [good], [bad])
    assert found.value == pytest.approx(0.05) and found.low == pytest.approx(0.05) and found.high == pytest.approx(0.05)


def test_a_file_is_trained_by_the_judges_own_runner(tmp_path: Path) -> None:
    protocol = choose_rows(tight_binding.load(), 300)
    write_locked(protocol, tmp_path / "locked")
    found = train_once(SEED_FOLDER / "train.py", protocol, tmp_path / "locked", seconds=2.0, seed=3, threads=1)
    assert found.train_seconds <= 2.5 and "steps of" in found.said and len(found.predictions) == 50
    assert found.mae_ev == pytest.approx(
        np.abs(np.array(found.predictions) - protocol.validation.target).mean(), abs=1e-5
    )
    shown = show(protocol, [SEED_FOLDER / "train.py"], [found], threads=1)
    assert f"{found.mae_ev:.4f} eV" in shown and "measured elsewhere" not in shown

    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError('no network')\n")
    with pytest.raises(RuntimeError, match=r"crashed(.|\n)*no network"):
        train_once(broken, protocol, tmp_path / "locked", seconds=2.0, seed=3, threads=1)
