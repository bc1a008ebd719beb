import os
from pathlib import Path

import numpy as np
import pytest

from evaluation_locked.baselines import load_baselines
from evaluation_locked.splits import official_folds

RESULT_FILES = {
    "coNGN": "coNGN",
    "DeeperGATGNN": "DeeperGATGNN",
    "ALIGNN": "alignn",
    "Finder, structure": "Finder_v1.2_structure",
    "Finder, composition": "Finder_v1.2_composition",
    "CrabNet": "CrabNet",
    "AMMExpress": "automatminer_expressv2020",
    "CGCNN": "cgcnnv2019",
    "RF-SCM/Magpie": "rf",
    "Dummy (mean)": "dummy",
}


def test_the_best_comes_first_and_the_best_on_the_board_is_cogn() -> None:
    baselines = load_baselines("matbench_mp_gap")
    assert [b.mae for b in baselines] == sorted(b.mae for b in baselines)
    official = [b for b in baselines if b.official]
    assert (official[0].name, official[0].mae, len(official)) == ("coGN", 0.1559, 15)
    assert official[-1].name == "Dummy (mean)"


def test_everything_better_than_the_papers_champion_either_saw_other_data_or_is_not_on_the_board() -> None:
    baselines = load_baselines("matbench_mp_gap")
    champion = next(b for b in baselines if b.name == "one general coding agent, champion")
    assert champion.mae == pytest.approx(np.mean(champion.fold_mae), abs=5e-5)
    assert all(not b.official for b in baselines if b.mae < champion.mae)
    assert not any(b.official and b.pretrained for b in baselines)


def test_a_mean_is_that_of_its_folds() -> None:
    for baseline in load_baselines("matbench_mp_gap"):
        assert len(baseline.fold_mae) in (0, 5), baseline.name
        assert baseline.source, baseline.name
        if baseline.fold_mae:
            assert np.mean(baseline.fold_mae) == pytest.approx(baseline.mae, abs=1e-4), baseline.name


def test_names_are_unique() -> None:
    names = [baseline.name for baseline in load_baselines("matbench_mp_gap")]
    assert len(set(names)) == len(names)


def test_an_unknown_task_has_no_baselines() -> None:
    assert load_baselines("tight-binding") == ()


@pytest.mark.skipif("TEAM_TEST_DATA" not in os.environ, reason="TEAM_TEST_DATA is not set")
def test_the_figures_are_those_of_the_published_predictions() -> None:
    folder = Path(os.environ["TEAM_TEST_DATA"])
    with np.load(folder / "matbench_mp_gap.npz") as table, np.load(folder / "published_predictions.npz") as predictions:
        gap_ev = table["gap_pbe"].astype(np.float64)
        errors_ev = {name: predictions[key].astype(np.float64) - gap_ev for name, key in RESULT_FILES.items()}
        three = np.median([predictions[key] for key in ("coNGN", "DeeperGATGNN", "alignn")], axis=0)
        errors_ev["median of coNGN, DeeperGATGNN, ALIGNN"] = np.maximum(three, 0) - gap_ev
    test_rows = [test for _, test in official_folds(len(gap_ev))]
    published = {baseline.name: baseline for baseline in load_baselines("matbench_mp_gap")}
    for name, error_ev in errors_ev.items():
        fold_mae_ev = [np.abs(error_ev[rows]).mean() for rows in test_rows]
        rmse_ev = np.mean([np.sqrt((error_ev[rows] ** 2).mean()) for rows in test_rows])
        assert published[name].fold_mae == pytest.approx(fold_mae_ev, abs=6e-5), name
        assert published[name].rmse == pytest.approx(rmse_ev, abs=6e-5), name
