"""`team seed check`: what a seed folder must hold, and that each broken promise is seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evaluation_locked.seed_folder import shipped_seeds
from team.seeds.checks import Wanted, check_seed
from tests.conftest import TINY_SEED

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from team.seeds.checks import Check

    Team = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """The tiny seed, and of its playbook what is right."""
    folder = tmp_path / "seed"
    shutil.copytree(TINY_SEED, folder)
    for broken in ("stale", "crash", "nan", "comment"):
        (folder / "playbook" / f"{broken}.md").unlink()
    (folder / "brief.md").write_text("# Brief\n")
    return folder


def found(folder: Path, wanted: Wanted | None = None) -> dict[str, Check]:
    return {check.name: check for check in check_seed(folder, wanted or Wanted(limit=600))}


def test_a_seed_that_works_passes_every_check(seed: Path) -> None:
    checks = found(seed)
    assert [name for name, check in checks.items() if not check.passed] == []
    assert list(checks) == [
        "task.toml",
        "brief.md",
        "source",
        "rows",
        "metric",
        "review",
        "mean predictor",
        "trial",
        "budget",
        "playbook edits",
        "playbook trains",
    ]
    assert "498 crystals to train on, 102 to judge by" in checks["rows"].found
    assert checks["playbook trains"].found == "3 of 3 edited files train and predict"


def test_every_broken_entry_is_named_and_the_exit_code_says_so(tmp_path: Path, team: Team) -> None:
    done = team("seed", "check", TINY_SEED, "--json", check=False)
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)[str(TINY_SEED)]}
    failed = {name for name, check in checks.items() if not check["passed"]}
    assert failed == {
        "brief.md",
        "entry stale",
        "entry comment",
        "playbook edits",
        "entry crash",
        "entry nan",
        "playbook trains",
    }
    assert "matches 0 times" in checks["entry stale"]["found"]
    assert "no_such_fact" in checks["entry crash"]["found"]


@pytest.mark.parametrize(
    ("old", "new", "failed", "words"),
    [
        ("import numpy as np\n", "import os\n\nimport numpy as np\n", "review", "import of 'os'"),
        ("np.linalg.solve(", "np.linalg.solv(", "trial", "has no attribute 'solv'"),
        ("task.submit(predictions)", "task.submit(predictions[1:])", "trial", "predict each once"),
        ("    rng =", "    import time; time.sleep(60)\n    rng =", "budget", "s of 5 s to train"),
    ],
)
def test_a_file_that_breaks_a_promise_fails_that_check(seed: Path, old: str, new: str, failed: str, words: str) -> None:
    text = (seed / "train.py").read_text()
    assert old in text
    (seed / "train.py").write_text(text.replace(old, new))
    shutil.rmtree(seed / "playbook")
    checks = found(seed)
    assert not checks[failed].passed and words in checks[failed].found, checks[failed].found
    assert checks["mean predictor"].passed


def test_a_metric_with_its_direction_the_wrong_way_round_is_seen(seed: Path) -> None:
    (seed / "metric.py").write_text("def errors(labels, predictions):\n    return abs(labels - predictions)\n")
    text = (seed / "task.toml").read_text().replace("[caps]", '[own_metric]\nbetter = "higher"\n\n[caps]')
    (seed / "task.toml").write_text('metric = "mine"\n' + text)
    check = found(seed)["metric"]
    assert not check.passed and "higher is said to be better" in check.found


def test_what_cannot_be_read_ends_the_suite(seed: Path, tmp_path: Path) -> None:
    checks = found(seed, Wanted(source=f"table:{tmp_path / 'none.npz'}"))
    assert not checks["source"].passed and "no table file at" in checks["source"].found
    assert "trial" not in checks
    (seed / "task.toml").write_text("name = ")
    assert list(found(seed)) == ["folder"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in shipped_seeds() if name != "is_metal"])
def test_shipped_seeds_pass(name: str) -> None:
    failed = [check for check in check_seed(name, Wanted()) if not check.passed]
    assert failed == []


@pytest.mark.slow
def test_the_shipped_classification_passes_on_the_shipped_crystals() -> None:
    wanted = Wanted(source="tight-binding", target="gap_ev == 0")
    assert [check for check in check_seed("is_metal", wanted) if not check.passed] == []
