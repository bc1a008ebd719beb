"""What a shell offers after Tab, asked as a shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from memory.journal import Journal
from tests.conftest import team_command
from tests.memory.builders import trial
from tests.team.runs import write_run

if TYPE_CHECKING:
    from pathlib import Path


def offered(cwd: Path, typed: str, **environment: str) -> list[str]:
    """Return what bash would offer for a line whose last word is being typed."""
    asked = {
        "_TEAM_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
    }
    done = subprocess.run(
        team_command(), cwd=cwd, env=os.environ | asked | environment, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout.split()


def test_runs_and_trials_are_offered(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_run(runs, [trial(0, 0.5, "kept"), trial(1, 0.4, parent=0)], name="alpha")
    beta = write_run(runs, [trial(n, 0.5) for n in range(12)], name="beta")
    Journal(beta.journal).append(trial(12, 0.4))
    assert sorted(offered(tmp_path, "team status ")) == ["alpha", "beta"]
    assert offered(tmp_path, "team watch al") == ["alpha"]
    assert offered(tmp_path, "team graph show 1") == ["1", "10", "11"], "of the run that was written to last"
    assert offered(tmp_path, "team graph path be") == ["beta"]
    assert offered(tmp_path / "runs", "team status al", TEAM_RUNS=str(runs)) == ["alpha"]
    assert offered(tmp_path, f"team status --runs {tmp_path} a") == []
    assert sorted(offered(tmp_path, "team graph list --mode re")) == ["refine", "replicate"]


def test_completion_imports_nothing_but_the_command_line() -> None:
    heavy = ("numpy", "pydantic", "rich.live", "graph", "memory", "evaluation_locked")
    code = f"import sys, team.cli, team.completion; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
