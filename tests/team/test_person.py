"""A person in the loop, as real processes: questions that survive a kill, wishes and ideas that are taken up once."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from graph.run_folder import RunFolder
from memory.history import History
from memory.journal import Journal
from memory.person import PersonError, PersonLog
from team.person_view import IdeaOptions, add_idea
from team.running import WAITING
from tests.conftest import TINY_SEED, team_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Team = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.timeout(900)  # a dozen processes a test, each of which imports what a run needs

EDIT = """<<<<<<< SEARCH
    predictions = features(task.finish_training()) @ weights
=======
    predictions = np.maximum(features(task.finish_training()) @ weights, 0.25)
>>>>>>> REPLACE
"""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended with a question about its first changed file."""
    folder = tmp_path_factory.mktemp("asked")
    seed = folder / "seed"
    shutil.copytree(TINY_SEED, seed)
    for name in ("stale", "comment", "crash", "nan"):
        (seed / "playbook" / f"{name}.md").unlink()
    command = team_command("run", seed, "--name", "asked", "--trials", 4, "--approve")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == WAITING, done.stdout + done.stderr
    assert "team approve asked --show" in done.stdout
    return folder


@pytest.fixture
def run(asked: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    shutil.copytree(asked / "runs", tmp_path / "runs")
    return tmp_path / "runs" / "asked"


def history_of(run: Path) -> History:
    return History(Journal(run / "journal.jsonl").read())


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_only_changed_files_are_asked_about_and_the_diff_is_shown(run: Path, team: Team) -> None:
    assert [t.idea.mode for t in history_of(run).trials.values()] == ["baseline", "replicate"]
    shown = team("approve", "asked", "--show", "--number", 2).stdout
    diff = next(run.glob("trials/0002-*/change.diff")).read_text()
    assert diff and diff in shown
    assert json.loads(team("status", "asked", "--json").stdout)["waiting_trial"] == 2
    one_line(team("approve", "asked", "--number", 1, check=False), "asks about trial 2, not 1")
    one_line(team("reject", "asked", "--why", " ", check=False), "the reason to reject it is empty")


def test_nothing_is_paid_for_without_an_answer_and_what_was_approved_is_what_trains(run: Path, team: Team) -> None:
    before = (run / "journal.jsonl").read_bytes()
    assert team("resume", "asked", check=False).returncode == WAITING
    assert (run / "journal.jsonl").read_bytes() == before
    asked_sha = PersonLog(run / "person.jsonl").read().question.code_sha  # type: ignore[union-attr]
    team("approve", "asked")
    assert team("resume", "asked", check=False).returncode == WAITING
    trial = history_of(run).trials[2]
    assert trial.code_sha == asked_sha and trial.score is not None
    assert len(PersonLog(run / "person.jsonl").read().asked) == 2, "each change was asked about once"


def test_a_refusal_is_recorded_in_the_persons_words_and_a_revision_goes_to_the_coder(run: Path, team: Team) -> None:
    team("reject", "asked", "--why", "we know that from 2019")
    one_line(team("approve", "asked", check=False), "waits for no answer")
    team("resume", "asked", check=False)
    refused = history_of(run).trials[2]
    assert (refused.outcome, refused.status) == ("rejected", "not run")
    assert refused.reason == "a person rejected it: we know that from 2019"
    team("revise", "asked", "--why", "half as strong")
    team("resume", "asked", check=False)
    revised = history_of(run).trials[3]
    assert revised.outcome == "rejected", "the offline coder has one edit for an idea"
    assert revised.reason.startswith("a person asks: half as strong; the playbook has no other edit")


def test_the_answer_is_on_the_disk_before_it_counts_so_that_a_kill_loses_neither(run: Path, team: Team) -> None:
    (run / "checkpoint.sqlite").write_bytes(b"lost in a power cut" * 100)
    team("approve", "asked", "--number", 2)
    before = (run / "journal.jsonl").read_bytes()
    process = subprocess.Popen(team_command("resume", "asked"), cwd=run.parent.parent, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(run.glob("trials/0002-*/scratch-*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (run / "journal.jsonl").read_bytes().startswith(before)
    done = team("resume", "asked", check=False)
    assert done.returncode == WAITING, done.stdout + done.stderr
    assert history_of(run).trials[2].score is not None
    assert len(PersonLog(run / "person.jsonl").read().asked) == 2, "nobody was asked about trial 2 again"


def test_a_run_killed_at_its_question_asks_it_again_at_the_terminal(run: Path, team: Team) -> None:
    def at_terminal() -> tuple[subprocess.Popen[bytes], int]:
        screen, terminal = pty.openpty()
        process = subprocess.Popen(
            team_command("resume", "asked"),
            cwd=run.parent.parent,
            stdin=terminal,
            stdout=terminal,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "50"},
            start_new_session=True,
        )
        os.close(terminal)
        return process, screen

    def read_until(screen: int, words: bytes) -> bytes:
        seen = b""
        while words not in seen:
            seen += os.read(screen, 65_536)
        return seen

    process, screen = at_terminal()
    read_until(screen, b"top the run:")
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.close(screen)
    process, screen = at_terminal()
    seen = read_until(screen, b"top the run:")
    assert re.search(rb"\x1b\[[39]1(;\d+)*m- ", seen), "what is taken out is red"
    os.write(screen, b"reject\n")
    read_until(screen, b"the reason to reject it is empty")
    os.write(screen, b"r: not now\n")
    read_until(screen, b"trial 3")
    read_until(screen, b"top the run:")
    os.write(screen, b"s\n")
    read_until(screen, b"for your answer on trial 3")
    assert process.wait(timeout=60) == WAITING
    os.close(screen)
    assert history_of(run).trials[2].reason == "a person rejected it: not now"
    assert PersonLog(run / "person.jsonl").read().open_question(range(3)) is not None, "to stop the run is no answer"


def test_without_approval_the_question_falls_away(run: Path, team: Team) -> None:
    done = team("resume", "asked", "--no-approve", "--trials", 3)
    assert "3 of 3" in done.stdout
    assert history_of(run).trials[2].score is not None
    assert "3 (1 were asked for)" in team("resume", "asked", "--trials", 1).stdout
    assert "--trials 6" in team("status", "asked").stdout


def test_wishes_and_ideas_are_taken_up_once_each_and_judged_like_any_other(run: Path, team: Team) -> None:
    (run / "edit.txt").write_text(EDIT)
    (run / "whole.py").write_text((TINY_SEED / "train.py").read_text().replace("1000.0", "7.0"))
    team("steer", "asked", "more about the volume")
    team("steer", "asked", "I like turtles")
    team("ideas", "add", "asked", "never below a quarter", "--edit", run / "edit.txt", "--axis", "a5", "--parent", 0)
    team("ideas", "add", "asked", "a file of mine", "--train-py", run / "whole.py")
    team("ideas", "add", "asked", "the volume again", "--technique", "volume", "--knob", "RIDGE=20.0", "--parent", 0)
    team("ideas", "add", "asked", "be clever")
    team("ideas", "add", "asked", "not this one")
    team("ideas", "drop", "asked", 5)
    team("resume", "asked", "--no-approve", "--trials", 9)
    trials = history_of(run).trials
    own = {t.idea.title: t for t in trials.values() if t.idea.proposed_by == "a person"}
    assert list(own) == ["never below a quarter", "a file of mine", "the volume again", "be clever"]
    assert [t.number for t in own.values()] == [3, 4, 5, 6], "after the question, ahead of the strategist"
    assert "0.25)" in own["never below a quarter"].diff and own["never below a quarter"].idea.axis == "A5"
    assert own["never below a quarter"].score is not None and own["never below a quarter"].idea.parent == 0
    assert "RIDGE = 7.0" in own["a file of mine"].diff and own["a file of mine"].outcome == "kept"
    assert own["the volume again"].idea.axis == "A3" and "volumes()" in own["the volume again"].diff
    assert "RIDGE = 20.0" in own["the volume again"].diff
    assert own["be clever"].outcome == "rejected" and "technique, a knob or an edit" in own["be clever"].reason
    for words in ("'more about the volume'", "'I like turtles') names nothing that the offline team knows"):
        assert sum(words in t.idea.why for t in trials.values()) == 1
    states = [row["state"] for row in json.loads(team("ideas", "asked", "--json").stdout)["ideas"]]
    assert states[1:] == [
        "trial 4, kept",
        f"trial 5, {own['the volume again'].outcome}",
        "trial 6, rejected",
        "taken back",
    ]
    assert "verify" not in team("verify", "asked").stderr


def test_an_idea_taken_before_a_kill_is_taken_by_the_same_trial_after_it(run: Path, team: Team) -> None:
    team("reject", "asked", "--why", "first mine")
    team("ideas", "add", "asked", "mine", "--knob", "RIDGE=3.0")
    team("steer", "asked", "the volume")
    command = team_command("resume", "asked", "--no-approve")
    process = subprocess.Popen(command, cwd=run.parent.parent, stdout=subprocess.DEVNULL)
    log = PersonLog(run / "person.jsonl")
    until = time.monotonic() + 60
    while time.monotonic() < until and not log.read().taken and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 3 not in history_of(run).trials, "the round was over before it was killed"
    (run / "checkpoint.sqlite").unlink(missing_ok=True)  # the round begins anew, not at the node that was cut short
    team("resume", "asked", "--no-approve", "--trials", 5)
    trials = history_of(run).trials
    assert [t.number for t in trials.values() if t.idea.title == "mine"] == [3]
    assert sum("'the volume'" in t.idea.why for t in trials.values()) == 1


def test_wrong_input_ends_in_one_line(run: Path, team: Team) -> None:
    (run / "stale.txt").write_text(EDIT.replace("predictions = features", "prediction = features"))
    one_line(team("steer", "nothing", "x", check=False), "no run 'nothing'")
    one_line(team("ideas", "drop", "asked", 4, check=False), "idea 4", "none is waiting")
    stale = team("ideas", "add", "asked", "x", "--edit", run / "stale.txt", check=False)
    one_line(stale, "matches 0 times", "28 | predictions = features")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"title": " "}, "the title is empty"),
        ({"title": "x" * 1_000_000}, "1,000,000 characters, 1,000 at most"),
        ({"techniques": ("volum",)}, "no technique 'volum' in the playbook of this run; the nearest: volume"),
        ({"techniques": ("ridge",)}, r"add --knob RIDGE=VALUE \(worth a trial: 1.0, 10.0"),
        ({"knobs": ("WIDTH=3",)}, "no such constant; its constants are RIDGE = 1000.0"),
        ({"knobs": ("RIDGE=high",)}, "'RIDGE=high': write NAME=VALUE"),
        ({"knobs": ("RIDGE=[1]",)}, "write NAME=VALUE"),
        ({"axis": "A7"}, "'A7': use one of A1 connectivity"),
        ({"parent": 40}, "trial 40 has no train.py to start from; these have: 0, 1"),
        ({"edit": "def ("}, "holds no edit block"),
        ({"edit": EDIT, "train_py": "pass"}, "both --edit and --train-py"),
        ({"edit": EDIT, "knobs": ("RIDGE=1.0",)}, "set the constant in that file"),
        ({"edit": EDIT.replace("=======", "")}, "ends without '<<<<<<< SEARCH' and '======='"),
        ({"train_py": "x" * 1_000_000}, "1,000,000 bytes, 400,000 at most"),
        ({"train_py": "def ("}, "does not compile"),
        ({"train_py": "\n"}, "is empty"),
        ({"train_py": "\udcff"}, "not UTF-8 text"),
    ],
)
def test_an_idea_that_cannot_be_carried_out_is_refused_before_it_is_written(
    run: Path, fields: dict[str, Any], words: str
) -> None:
    before = (run / "person.jsonl").read_bytes()
    for name in ("edit", "train_py"):
        if name in fields:
            (run / name).write_text(fields[name], encoding="utf-8", errors="surrogateescape")
            fields = fields | {name: run / name}
    none = dict.fromkeys(("axis", "edit", "train_py", "parent")) | {"title": "x", "techniques": (), "knobs": ()}
    with pytest.raises(PersonError, match=words) as refused:
        add_idea(RunFolder(run), IdeaOptions(**(none | fields)))  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    assert (run / "person.jsonl").read_bytes() == before
