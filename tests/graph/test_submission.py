"""All folds of a claim: what fails is named, what is done is kept, and MatBench's own loader reads the submission."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.scorer import ScoringError
from evaluation_locked.submission import load_results
from graph.errors import RunError
from graph.evaluation import Bench, bench_of, looks_of
from graph.folds import FoldResult, evaluate_folds
from graph.recipe import Member, Recipe, read_ensemble, recipe_of, write_ensemble
from graph.run_folder import code_sha
from graph.submission import remake, write_submission
from tests.conftest import TINY_SEED
from tests.graph.official_runs import SMALL_TASK, Made

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("matbench")
FOLDS = range(5)
FAILS_ON_FOLD_0 = """
    import numpy as np
    from evaluation_locked.client import Task
    task = Task.open()
    labels = task.start_training()
    mean = float("nan") if len(labels) == 508 else labels.mean()
    task.submit(np.full(len(task.finish_training()), mean))
"""
SLOW = "import time\ntime.sleep(1)\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("made"))
    made.give(1, SLOW + (TINY_SEED / "train.py").read_text())
    made.give(2, FAILS_ON_FOLD_0)
    return made


def bench(made: Made, recipe: Recipe) -> Bench:
    return bench_of(made.folder, made.config, recipe, known_tables=made.known)


def evaluate(made: Made, recipe: Recipe, folds: range = FOLDS) -> list[FoldResult]:
    return sorted(evaluate_folds(bench(made, recipe), recipe, folds, [0], workers=2), key=lambda r: r.fold)


def test_a_killed_evaluation_goes_on_and_matbench_loads_what_comes_of_it(made: Made, tmp_path: Path) -> None:
    recipe = recipe_of(made.folder, 1)
    script = (
        "import sys; from pathlib import Path; from graph.evaluation import Bench; from graph.folds import *\n"
        "from graph.recipe import Recipe; from evaluation_locked.task import TaskSpec; import json\n"
        "o = json.load(sys.stdin); b = Bench(Path(o['base']), {1: o['file']}, TaskSpec.model_validate(o['spec']), "
        "o['hash'], known_tables=o['known'])\n"
        "print([r.trouble for r in evaluate_folds(b, Recipe.model_validate(o['recipe']), range(5), [0])])\n"
    )
    made_bench = bench(made, recipe)
    order = {
        "base": str(made_bench.base),
        "file": made_bench.files[1],
        "spec": made_bench.spec.model_dump(mode="json"),
        "hash": made_bench.data_hash,
        "known": made.known,
        "recipe": recipe.model_dump(mode="json"),
    }
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    first = made_bench.base / "fold-0"
    while not list(first.glob("*/score.json")):
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (outcome,) = first.glob("*/outcome.json")
    written = outcome.stat().st_mtime_ns

    results = evaluate(made, recipe)
    assert [(r.fold, r.trouble) for r in results] == [(fold, "") for fold in FOLDS]
    assert outcome.stat().st_mtime_ns == written
    looks = looks_of(made.folder)
    assert sorted(look.subject.fold for look in looks) == [0, 1, 2, 3, 4]
    assert not list(made_bench.base.rglob("*.rows"))

    scores = [r.score for r in results if r.score is not None]
    place = tmp_path / "submission"
    means = write_submission(place, made_bench, recipe, 0, scores, "tiny", "A. Tester")
    loaded = load_results(place / "results.json.gz")
    assert loaded.is_valid and loaded.user_metadata["algorithm"] == "tiny"
    task = loaded.tasks_map[SMALL_TASK]
    assert task.scores["mae"]["mean"] == pytest.approx(np.mean([s.value for s in scores]), abs=1e-6)
    assert means["mae"] == task.scores["mae"]["mean"]
    labels = {f"mb-jdft2d-{row + 1:03d}": value for row, value in enumerate(made.dataset.target)}
    for score in scores:
        held = task.results[f"fold_{score.fold}"]["data"]
        by_hand = np.mean([abs(labels[row] - said) for row, said in held.items()])
        assert by_hand == pytest.approx(score.value, abs=1e-9)
    info = json.loads((place / "info.json").read_text())
    assert info["authors"] == "A. Tester" and "5 looks" in info["notes"]
    assert (place / "files" / "0001.py").read_text() == made.folder.source(1)

    with pytest.raises(ScoringError, match=r"of \[4\] there are no predictions"):
        write_submission(tmp_path / "lacking", made_bench, recipe, 0, scores[:4], "tiny", "")
    changed = next((made_bench.base / "fold-3").glob("*/predictions.npy"))
    np.save(changed, np.load(changed) + 1e-3)
    with pytest.raises(ScoringError, match="not what was scored: restore it, or evaluate fold 3 anew"):
        write_submission(tmp_path / "changed", made_bench, recipe, 0, scores, "tiny", "")


def test_a_fold_that_fails_is_named_and_the_others_are_scored(made: Made) -> None:
    failed, scored = evaluate(made, recipe_of(made.folder, 2), range(2))
    assert failed.score is None and scored.score is not None
    assert "trial 2 on fold 0 did not finish" in failed.trouble
    assert "128 of 128 predictions are not finite" in failed.trouble


def test_a_missing_prediction_and_a_nan_are_named(made: Made) -> None:
    made.evaluate(0, 1)
    place = next((made.folder.path / "official" / "fold-1").glob("0000-*"))
    (place / "score.json").unlink()
    whole = np.load(place / "predictions.npy")
    np.save(place / "predictions.npy", whole[:-2])
    with pytest.raises(ScoringError, match="125 predictions for 127 test crystals: 2 are missing"):
        made.evaluate(0, 1)
    spoilt = whole.copy()
    spoilt[7] = np.nan
    np.save(place / "predictions.npy", spoilt)
    with pytest.raises(ScoringError, match=r"1 of 127 predictions are not finite; the first is that of test row 7"):
        made.evaluate(0, 1)
    np.save(place / "predictions.npy", whole)
    made.evaluate(0, 1)


def test_an_ensemble_is_scored_as_one_with_the_sum_of_budgets(made: Made) -> None:
    shas = [code_sha(made.folder.trial(n)) for n in (0, 1)]
    recipe = Recipe(members=(Member(trial=0, code_sha=shas[0]), Member(trial=1, code_sha=shas[1], weight=2)))
    write_ensemble(made.folder, recipe)
    recipe = read_ensemble(made.folder)
    before = len(looks_of(made.folder))
    (result,) = evaluate(made, recipe, range(2, 3))
    assert result.score is not None
    subject = result.score.look.subject
    assert (subject.members, subject.train_seconds) == ((0, 1), 10.0)
    assert len(looks_of(made.folder)) == before + 1  # the members were not looked at
    folds = made.folder.path / "official" / "fold-2"
    parts = [
        np.load(next(folds.glob(f"{slug}-*-seed-{seed}")) / "predictions.npy")
        for slug, seed in (("0000", 0), ("0001", 1009))
    ]
    said = np.load(next(folds.glob("ensemble-*")) / "predictions.npy")
    assert said == pytest.approx((parts[0] + 2 * parts[1]) / 3)
    made.give(1, "raise SystemExit(1)")
    with pytest.raises(RunError, match="not the one that the ensemble was chosen with"):
        read_ensemble(made.folder)
    made.give(1, SLOW + (TINY_SEED / "train.py").read_text())


def test_two_evaluations_at_once_are_refused(made: Made) -> None:
    recipe = recipe_of(made.folder, 2)
    running = evaluate_folds(bench(made, recipe), recipe, range(1, 2), [0])
    next(running)
    with pytest.raises(RunError, match="another `team evaluate` is at work"):
        next(evaluate_folds(bench(made, recipe), recipe, range(1, 2), [0]))
    running.close()


@pytest.mark.slow
def test_a_submission_is_made_again_from_its_folder_alone(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluation_locked import official

    recipe = recipe_of(made.folder, 0)
    scores = [r.score for r in evaluate(made, recipe) if r.score is not None]
    place = tmp_path / "submission"
    write_submission(place, bench(made, recipe), recipe, 0, scores, "tiny", "")
    before = (place / "results.json.gz").read_bytes()
    monkeypatch.setitem(official.KNOWN_TABLES, next(iter(made.known)), SMALL_TASK)
    lines = remake(place, f"table:{made.table}")
    assert lines[0].startswith(f"fold 0: mae {scores[0].value:.4f}")
    assert (place / "results.json.gz").read_bytes()[:2] == before[:2] == b"\x1f\x8b"
    assert len(list((place / "remade").glob("fold-*/*/score.json"))) == 5
