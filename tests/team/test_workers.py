"""`team run --workers` as real processes: killed in the middle of several trials, and with a person who is asked."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from graph.run_folder import RunFolder
from memory.history import History
from memory.journal import Journal
from memory.person import PersonLog
from team.running import WAITING
from tests.conftest import TINY_SEED, team_command
from tests.team.test_run import living

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Team = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.timeout(600)
WORKERS = 3


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """A seed whose trials take two seconds, and of which every edit fits."""
    seed = tmp_path / "seed"
    shutil.copytree(TINY_SEED, seed)
    for name in ("stale", "comment", "crash", "nan"):
        (seed / "playbook" / f"{name}.md").unlink()
    text = (seed / "train.py").read_text()
    slow = "    import time\n\n    time.sleep(min(2.0, task.seconds_left() - 1.0))\n    rng ="
    (seed / "train.py").write_text(text.replace("    rng =", slow, 1))
    return seed


def history_of(run: Path) -> History:
    return History(Journal(run / "journal.jsonl").read())


def test_several_trials_killed_in_the_middle_are_each_done_once(seed: Path, tmp_path: Path, team: Team) -> None:
    command = team_command("run", seed, "--name", "r", "--trials", 9, "--workers", WORKERS)
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    run = tmp_path / "runs" / "r"
    until = time.monotonic() + 120
    most = 0
    while most < WORKERS and time.monotonic() < until:
        most = len(list(run.glob("trials/000[1-9]-*/scratch-*")))
        time.sleep(0.02)
    before = (run / "journal.jsonl").read_bytes()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert most == WORKERS
    done = team("resume", "r")
    assert "9 of 9" in done.stdout
    assert (run / "journal.jsonl").read_bytes().startswith(before)
    history = history_of(run)
    assert sorted(history.trials) == list(range(len(history.trials)))
    assert history.n_trained == 9
    assert living(str(run)) == []
    assert "as measured" in team("verify", "r").stdout


def test_workers_can_be_given_anew_on_resume_and_interrupt_stops_all(seed: Path, tmp_path: Path, team: Team) -> None:
    team("run", seed, "--name", "r", "--trials", 1)
    command = team_command("resume", "r", "--trials", 8, "--workers", 2)
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    run = tmp_path / "runs" / "r"
    until = time.monotonic() + 120
    while len(list(run.glob("trials/000[1-9]-*/scratch-*"))) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "team resume r" in out
    assert living(str(run)) == []
    total = history_of(run).n_trained + 2  # those that were stopped
    assert f"{total} of {total}" in team("resume", "r", "--trials", total).stdout
    assert RunFolder(run).read_config().workers == 2, "it keeps the workers that it was given"
    assert sorted(history_of(run).trials) == list(range(len(history_of(run).trials)))


def test_one_question_at_a_time_and_trials_that_were_paid_for_are_seen_through(
    seed: Path, tmp_path: Path, team: Team
) -> None:
    done = team("run", seed, "--name", "r", "--trials", 8, "--workers", WORKERS, "--approve", check=False)
    assert done.returncode == WAITING, done.stderr
    run = tmp_path / "runs" / "r"
    asked = PersonLog(run / "person.jsonl").read()
    assert len(asked.asked) == 1 and asked.question is not None
    assert {t.idea.mode for t in history_of(run).trials.values()} == {"baseline", "replicate"}, "those ask nobody"
    team("approve", "r")
    assert team("resume", "r", check=False).returncode == WAITING
    history = history_of(run)
    assert history.trials[asked.question.trial].score is not None
    again = PersonLog(run / "person.jsonl").read()
    assert len(again.asked) == 2
    assert again.open_question(history.trials) is not None
    assert "8 of 8" in team("resume", "r", "--no-approve").stdout
