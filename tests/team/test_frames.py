"""A run as data frames: empty, at work, decided later, and after its journal was torn."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import team
from graph.errors import RunError
from memory.journal import Journal
from memory.records import Crowding, Verdict
from tests.memory.builders import decision, trial
from tests.team.runs import write_run

if TYPE_CHECKING:
    from pathlib import Path


def test_an_empty_run_has_the_columns_and_dtypes_of_a_full_one(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [])
    run = team.open_run(folder.path)
    empty, no_ideas = run.trials.dtypes, run.ideas.dtypes
    Journal(folder.journal).append(trial(0, 0.5, "kept", started_at="2026-01-02T03:04:05+00:00"))
    Journal(folder.journal).append(trial(1, None, "crashed", parent=0))
    assert len(run.trials) == 0, "a frame changes at refresh only"
    run.refresh()
    pd.testing.assert_series_equal(run.trials.dtypes, empty)
    pd.testing.assert_series_equal(run.ideas.dtypes, no_ideas)
    assert run.trials.loc[0, "started_at"] == pd.Timestamp("2026-01-02 03:04:05", tz="UTC")
    assert run.trials.loc[1, "parent"] == 0 and run.trials.loc[0, "parent"] is pd.NA
    assert np.isnan(run.trials.loc[1, "score"]) and run.champion is not None and run.champion.number == 0


def test_gain_and_outcome_are_by_the_latest_decision(tmp_path: Path) -> None:
    entries = [
        trial(0, 0.50, "kept"),
        trial(1, 0.45, "near-miss", parent=0, champion=0, gain=0.05, gain_low=-0.02, gain_high=0.12, z=1.2),
        trial(2, 0.47, "replicate", mode="replicate", parent=1, code_sha="code-1"),
        decision(1, "kept", gain=0.04),
    ]
    run = team.open_run("told", write_run(tmp_path, entries).path.parent)
    row = run.trials.loc[1]
    assert (row.outcome, row.gain, row.reason, row.against) == ("kept", 0.04, "decided later", 0)
    assert (row.mean_score, row.trainings, row.champion) == (pytest.approx(0.46), 2, True)
    assert list(run.ideas.index) == [1], "neither the seed nor a repeat is an idea"
    assert set(run.graph.edges) == {(0, 1), (1, 2)}


def test_an_idea_is_told_with_its_reasons(tmp_path: Path) -> None:
    told = trial(
        1,
        0.4,
        parent=0,
        hypothesis="wider",
        why="width is untried",
        verdict=Verdict(kind="approve", reasons=("reads no labels", "does what it says")),
        crowding=Crowding(text=0.25, nearest=(0,)),
    )
    ideas = team.open_run(write_run(tmp_path, [trial(0, 0.5, "kept"), told]).path).ideas
    assert ideas.loc[1, "review"] == "reads no labels; does what it says"
    assert (ideas.loc[1, "crowding_text"], ideas.loc[1, "nearest"]) == (0.25, (0,))
    assert np.isnan(ideas.loc[1, "crowding_code"])


def test_looking_writes_nothing_and_passes_over_a_torn_line(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [trial(0, 0.5, "kept"), trial(1, 0.6, parent=0)])
    whole = folder.journal.read_bytes()
    folder.journal.write_bytes(whole[:-20])
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    with Journal(folder.journal).lock():  # as a run at work holds it; taking it mends the line
        folder.journal.write_bytes(whole[:-20])
        run = team.open_run(folder.path)
        assert list(run.trials.number) == [0]
        folder.journal.write_bytes(whole)
        assert list(run.refresh().trials.number) == [0, 1]
    folder.journal.write_bytes(whole[: whole.index(b"\n") + 1])
    assert list(run.refresh().trials.number) == [0], "a journal that was put back is read anew"
    assert {path.name for path in folder.path.rglob("*")} - {path.name for path in before} == {"journal.torn"}


def test_residuals_of_a_trial_that_did_not_finish_say_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [trial(0, 0.5, "kept"), trial(1, None, "crashed", parent=0)])
    np.save(folder.trial(0) / "residuals.npy", np.array([0.5, -0.25], np.float32))
    run = team.open_run(folder.path)
    np.testing.assert_array_equal(run.residuals(0), [0.5, -0.25])
    with pytest.raises(RunError, match="trial 1 of run told left no residuals"):
        run.residuals(1)
    with pytest.raises(RunError, match="no trial 7"):
        run.residuals(7)


def test_import_team_is_light() -> None:
    heavy = ("pandas", "numpy", "networkx", "pydantic", "rich", "matplotlib", "plotly")
    code = f"import sys, team; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_opening_a_run_imports_nothing_of_the_state_machine(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [trial(0, 0.5, "kept")])
    code = f"import sys, team; team.open_run({str(folder.path)!r}); "
    code += "print([m for m in ('torch', 'langgraph', 'chromadb', 'pymatgen', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
