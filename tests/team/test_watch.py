"""`team watch` and the file it reads: runs at work, killed, resumed and over; in a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

import team.now as now_file
from graph.context import Event
from graph.run_folder import RunFolder
from memory.journal import Journal
from team.now import Announcer, announce, read_now
from team.watch import Follower, told_span
from tests.conftest import TINY_SEED, team_command
from tests.memory.builders import decision, trial
from tests.team.runs import write_run
from tests.team.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Team = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "runs", [trial(0, 0.5, "kept")])


def change(run: RunFolder, **fields: object) -> None:
    held = json.loads(run.now.read_text()) | fields
    run.now.write_text(json.dumps(held))


def test_now_says_who_is_at_work_on_what(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(now_file, "REST_SECONDS", 0.0)
    assert read_now(run) is None
    heard = []
    with announce(run) as announcer:
        listen = announcer.hear(heard.append)
        listen(Event("node", 1, node="code"))
        listen(Event("idea", 1, idea=trial(1, title="wider").idea))
        listen(Event("node", 1, node="train"))
        before = time.time()
        listen(Event("phase", 1, phase="training"))
        now = read_now(run)
        assert now is not None and now.since >= before
        (work,) = now.at_work
        assert (work.number, work.node, work.phase, work.title) == (1, "train", "training", "wider")
        assert work.since >= before and '"node":"train"' in run.now.read_text()
        assert now.standing == "working" and len(heard) == 4
        change(run, process_began=now.process_began - 1)
        assert read_now(run).standing == "killed", "another process has that number by now"  # type: ignore[union-attr]
        change(run, process_began=now.process_began, host="elsewhere")
        assert read_now(run).standing == "unknown"  # type: ignore[union-attr]
        listen(Event("node", 2, node="strategise"))
        assert [work.title for work in read_now(run).at_work] == ["wider", ""]  # type: ignore[union-attr]
        listen(Event("record", 1, entry=trial(1)))
        assert [work.number for work in read_now(run).at_work] == [2]  # type: ignore[union-attr]
        announcer.stopped = "all 2 trials are done"
    assert (read_now(run).standing, read_now(run).at_work) == ("ended", ())  # type: ignore[union-attr]
    with announce(run):
        pass
    assert read_now(run).standing == "interrupted"  # type: ignore[union-attr]
    with announce(run) as announcer:
        announcer.waits = True
    assert read_now(run).standing == "waiting"  # type: ignore[union-attr]
    change(run, version=2)
    assert read_now(run) is None, "another version's file is no news"
    with announce(run):
        shutil.rmtree(run.path)
    assert not run.path.exists(), "a run that could not be prepared stays gone"


def test_events_that_follow_closely_are_written_together_and_the_last_one_soon(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def write(path: Path, text: str, *, durable: bool = True) -> None:
        written.append(text)
        path.write_text(text)

    monkeypatch.setattr(now_file, "write_atomically", write)
    with announce(run) as announcer:
        for number in range(1, 301):
            announcer.listen(Event("node", number, node="strategise"))
        assert len(written) < 100
        deadline = time.monotonic() + 30
        while len(read_now(run).at_work) < 300:  # type: ignore[union-attr]
            assert time.monotonic() < deadline, "the last one is not written though nothing follows"
            time.sleep(0.01)
        announcer.listen(Event("node", 301, node="strategise"))
    n_written = len(written)
    time.sleep(2 * now_file.REST_SECONDS)
    assert len(written) == n_written, "nothing is written once the process is done with the run"
    assert read_now(run).at_work == () and read_now(run).over  # type: ignore[union-attr]


def test_time_left_is_by_the_median_of_recent_rounds_and_by_the_hours(tmp_path: Path) -> None:
    spent = [10.0, 20.0, 300.0]
    entries = [trial(n, 0.5, status="finished", train_seconds=seconds) for n, seconds in enumerate(spent)]
    folder = write_run(tmp_path, [*entries, trial(3, None, "rejected")], trials=8, hours=0.01)
    follower = Follower(folder)
    follower.look()
    assert follower.seconds_left is None, "nobody is at work"
    with announce(folder):
        follower.look()
        assert follower.seconds_left == pytest.approx(36, abs=5), "the hours are over first"
        folder.write_config(follower.config.model_copy(update={"hours": None}))
        follower.look()
        assert follower.seconds_left == 100, "five more trials at twenty seconds"
        folder.write_config(follower.config.model_copy(update={"workers": 2}))
        follower.look()
        assert follower.seconds_left == 50
    assert [told_span(seconds) for seconds in (40, 700, 12_000)] == ["40 s", "12 min", "3 h 20 min"]


def test_a_pipe_gets_a_line_a_record_and_ends_with_the_run(run: RunFolder) -> None:
    announcer = Announcer(run)
    told = {
        kind: subprocess.Popen(
            team_command("watch", "told", *arguments), cwd=run.path.parent.parent, stdout=subprocess.PIPE, text=True
        )
        for kind, arguments in {"text": (), "json": ("--json",)}.items()
    }
    first = {kind: process.stdout.readline() for kind, process in told.items()}  # type: ignore[union-attr]
    assert "seed" not in first["text"] and "idea 0" in first["text"] and json.loads(first["json"])["number"] == 0
    journal = Journal(run.journal)
    journal.append(trial(1, 0.45, "near-miss", parent=0))
    journal.append(decision(1, "kept"))
    announcer.stopped = "all 2 trials are done"
    announcer.end()
    rest = {kind: process.communicate(timeout=120)[0].splitlines() for kind, process in told.items()}
    assert [process.returncode for process in told.values()] == [0, 0]
    assert "idea 1" in rest["text"][0] and "near-miss 0.4500 eV; as built" in rest["text"][0]
    assert rest["text"][1] == "   1  decided again: kept; decided later"
    assert rest["text"][2].startswith("ended at") and "trial 1, mae 0.4500 eV" in rest["text"][2]
    assert [json.loads(line)["kind"] for line in rest["json"]] == ["trial", "decision", "standing"]
    assert json.loads(rest["json"][-1])["standing"] == "ended"


def test_ctrl_c_leaves_quietly_and_the_log_cannot_draw(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(now_file, "REST_SECONDS", 0.0)
    folder = run.make_trial(trial(1, title="wider").idea)
    (folder / "train.log").write_bytes(b"epoch 1 loss 0.5\n\x1b[2J\x1b]0;owned\x07[red]epoch 2\xc2\x9b loss 0.4\n")
    with announce(run) as announcer:
        for event in (Event("node", 1, node="train"), Event("phase", 1, phase="training")):
            announcer.listen(event)
        before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
        terminal = Terminal(team_command("watch"), run.path.parent.parent)
        text = terminal.wait_for(lambda text: "epoch 2" in text)
        assert "training" in text and "/5 s" in text
        assert "[red]epoch 2 loss 0.4" in text and "epoch 1 loss 0.5" in text
        assert "\x1b[2J" not in terminal.screen and "\x1b]0" not in terminal.screen
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.finish() == 0
        assert "Abort" not in terminal.text and "Traceback" not in terminal.text
        assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before, "who looks writes nothing"


def test_several_trials_are_told_with_the_last_line_of_each_log(run: RunFolder, team: Team) -> None:
    with announce(run) as announcer:
        for number, node in ((1, "train"), (2, "smoke"), (3, "code")):
            folder = run.make_trial(trial(number, title=f"idea {number}").idea)
            (folder / "smoke").mkdir()
            place = folder / "smoke" if node == "smoke" else folder
            (place / "train.log").write_text(f"begins\nloss of {number}\n")
            announcer.listen(Event("node", number, node=node, idea=trial(number, title=f"idea {number}").idea))  # type: ignore[arg-type]
        announcer.listen(Event("phase", 1, phase="training"))
        terminal = Terminal(team_command("watch"), run.path.parent.parent, columns=50)
        text = terminal.wait_for(lambda text: "2 | loss of 2" in text)
        assert "1 training" in text and "2 smoke trial" in text and "3 coder" in text and "idea 3" in text
        assert "1 | loss of 1" in text and "begins" not in text and "loss of 3" not in text
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.finish() == 0
        assert "at work on 3 trials (1 training, 1 smoke trial, 1 coder)" in team("watch", "--once").stdout
        *_, told = map(json.loads, team("watch", "--once", "--json").stdout.splitlines())
        assert [(work["number"], work["phase"]) for work in told["at_work"]] == [(1, "training"), (2, ""), (3, "")]


def test_a_run_that_nobody_works_on_is_shown_once(run: RunFolder, team: Team) -> None:
    assert "nobody says that it is at work; champion: trial 0" in team("watch").stdout
    Announcer(run)
    change(run, process_began=1)
    assert "killed after" in team("watch", "told").stdout
    assert "`team resume told` goes on" in team("watch", "told").stdout


def test_a_run_that_is_killed_and_resumed_is_followed_to_its_end(tmp_path: Path, team: Team) -> None:
    seed = tmp_path / "slow_seed"
    shutil.copytree(TINY_SEED, seed)
    text = (seed / "train.py").read_text()
    slow = "    import time\n\n    time.sleep(task.seconds_left() - 0.5)\n    rng ="
    (seed / "train.py").write_text(text.replace("    rng =", slow, 1))
    command = team_command("run", seed, "--name", "killed", "--trials", 3)
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 120
    while time.monotonic() < until and not (tmp_path / "runs" / "killed" / "now.json").exists():
        time.sleep(0.1)
    terminal = Terminal(team_command("watch", "killed"), tmp_path, columns=60)
    assert "training " in terminal.wait_for(lambda text: "training " in text)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "killed after" in terminal.wait_for(lambda text: "killed after" in text)
    team("resume", "killed")
    assert terminal.finish() == 0
    last = terminal.text[terminal.text.rindex("╭") :]
    assert "all 3 trials are done" in re.sub(r"\s*│\n│ ", " ", last)
    assert "100%" in last
