"""`team run` as a user types it, on a seed that trains in a blink: what is recorded, shown, refused and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from evaluation_locked import judge_code, prepare, tight_binding
from evaluation_locked.dataset import save_table
from evaluation_locked.keep_rule import KEEP_Z
from graph.run_folder import RunFolder
from memory.history import History
from memory.journal import Journal
from tests.conftest import TINY_SEED, team_command

if TYPE_CHECKING:
    from collections.abc import Callable

    Team = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tried everything the tiny playbook holds."""
    runs = tmp_path_factory.mktemp("finished")
    command = team_command("run", TINY_SEED, "--runs", runs, "--name", "all", "--trials", 16)
    subprocess.run(command, check=True, capture_output=True, cwd=runs)
    return runs / "all"


def history_of(run: Path) -> History:
    return History(Journal(run / "journal.jsonl").read())


def living(mark: str) -> list[str]:
    """Return the command lines of living processes that hold `mark` in command line, environment or folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (
                    (entry / "cmdline").read_text() + (entry / "environ").read_text() + str((entry / "cwd").readlink())
                )
            except OSError:
                continue
            if mark in text:
                found.append(text)
    return found


def test_the_champion_beats_the_seed_and_every_outcome_is_recorded(finished: Path) -> None:
    history = history_of(finished)
    alone = {t.idea.techniques[0]: t for t in history.trials.values() if len(t.idea.techniques) == 1}
    reasons = {name: [t.reason for t in history.trials.values() if name in t.idea.techniques] for name in alone}
    assert history.champion is not None and history.knobs_in(history.champion.number)["RIDGE"] != 1000.0
    assert history.mean_score(history.champion.number) < 1.1 < history.mean_score(0)  # type: ignore[operator]
    assert history.trials[0].idea.mode == "baseline" and history.trials[0].outcome == "kept"
    assert history.trials[1].idea.mode == "replicate", "the noise between seeds is measured first"
    assert alone["stale"].outcome == "rejected"
    assert "matches 0 times" in alone["stale"].reason
    assert alone["comment"].outcome == "rejected"
    assert "does nothing" in alone["comment"].reason
    assert alone["crash"].outcome == "crashed"
    assert any("no_such_fact" in reason for reason in reasons["crash"])
    assert any("not finite" in reason for reason in reasons["nan"])
    kept = [t for t in history.trials.values() if history.outcome(t.number) == "kept" and t.number]
    assert all(t.gain_low is not None and t.z >= KEEP_Z for t in kept if t.code_lines >= 20)  # type: ignore[operator]


def test_files_follow_from_the_journal(finished: Path) -> None:
    history = history_of(finished)
    champion = history.champion
    assert champion is not None
    source = (finished / "champion" / "train.py").read_text()
    assert f"RIDGE = {history.knobs_in(champion.number)['RIDGE']}" in source
    for number in history.trials:
        folder = next((finished / "trials").glob(f"{number:04d}-*"))
        assert json.loads((folder / "idea.json").read_text())["number"] == number
    graph = nx.read_graphml(finished / "ideas.graphml")
    assert graph.number_of_nodes() == len(history.trials)
    assert nx.has_path(graph, "0", str(champion.number))


def test_graph_lists_what_was_tried_and_why(finished: Path, team: Team) -> None:
    text = team("graph", "all", "--runs", finished.parent).stdout
    assert "Clamp at zero  explore of" in text
    assert "A5 readout" in text
    assert "matches 0 times" in text
    data = json.loads(team("graph", "all", "--runs", finished.parent, "--json").stdout)
    titles = {node["title"]: node for node in data["nodes"]}
    assert titles["A file that crashes"]["outcome"] == "crashed"
    assert titles["seed"]["score"] == pytest.approx(history_of(finished).trials[0].score.value)  # type: ignore[union-attr]


def test_status_prints_the_gain_over_the_seed_with_its_interval(finished: Path, team: Team) -> None:
    data = json.loads(team("status", "all", "--runs", finished.parent, "--json").stdout)
    history = history_of(finished)
    assert data["trained"] == sum(t.status != "not run" for t in history.trials.values())
    assert data["gain"] == pytest.approx(data["seed_score"] - data["champion_score"])
    assert data["gain_low"] > 0
    assert data["overhead_seconds"] > 0
    text = team("status", "all", "--runs", finished.parent).stdout
    assert "beyond noise" in text and "not DFT" in text


def test_a_trial_is_never_trained_twice_for_the_same_code(finished: Path) -> None:
    history = history_of(finished)
    trained = [t for t in history.trials.values() if t.score is not None and t.idea.mode != "replicate"]
    assert len({t.meaning_sha for t in trained}) == len(trained)
    assert len({t.seed for t in history.trials.values()}) == len(history.trials)


def test_kill_in_the_middle_of_a_trial_leaves_nothing_and_resume_loses_nothing(tmp_path: Path, team: Team) -> None:
    seed = tmp_path / "slow_seed"
    shutil.copytree(TINY_SEED, seed)
    text = (seed / "train.py").read_text()
    slow = "    import time\n\n    time.sleep(task.seconds_left() - 0.5)\n    rng ="
    (seed / "train.py").write_text(text.replace("    rng =", slow, 1))
    (seed / "task.toml").write_text((seed / "task.toml").read_text().replace("train_seconds = 5", "train_seconds = 3"))
    command = team_command("run", seed, "--name", "killed", "--trials", 4)
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    run = tmp_path / "runs" / "killed"
    until = time.monotonic() + 60
    journal = run / "journal.jsonl"
    while time.monotonic() < until and not (
        journal.exists() and journal.read_bytes().count(b"\n") >= 2 and list(run.glob("trials/*/scratch-*"))
    ):
        time.sleep(0.05)
    before = journal.read_bytes()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    until = time.monotonic() + 10
    while living(str(run)) and time.monotonic() < until:
        time.sleep(0.05)
    assert living(str(run)) == []
    assert len(before.splitlines()) < 5, "the run was over before it was killed"
    done = team("resume", "killed")
    after = (run / "journal.jsonl").read_bytes()
    assert after.startswith(before)
    history = history_of(run)
    assert sum(t.status != "not run" for t in history.trials.values()) == 4
    assert list(history.trials) == list(range(len(history.trials)))
    assert "4 of 4" in done.stdout


def test_interrupt_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    shutil.copytree(TINY_SEED, seed)
    hang = "    import time\n\n    time.sleep(task.seconds_left() - 0.5)\n    rng ="
    (seed / "train.py").write_text((seed / "train.py").read_text().replace("    rng =", hang, 1))
    command = team_command("run", seed, "--name", "stopped")
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run = tmp_path / "runs" / "stopped"
    until = time.monotonic() + 60
    while not list(run.glob("trials/0000-*/scratch-*")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "team resume stopped" in out
    assert living(str(run)) == []


def test_the_checkpoint_may_be_lost_or_damaged(finished: Path, tmp_path: Path, team: Team) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "all")
    run = tmp_path / "runs" / "all"
    (run / "checkpoint.sqlite").write_bytes(b"not a database" * 100)
    shutil.rmtree(run / "chroma")
    (run / "ideas.graphml").unlink()
    n = len(history_of(run).trials)
    done = team("resume", "all", "--trials", 17)
    assert "going on after" in done.stdout
    assert len(history_of(run).trials) >= n
    assert nx.read_graphml(run / "ideas.graphml").number_of_nodes() == len(history_of(run).trials)


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("trials/0000-*/predictions.npy", "trial 0, predictions"),
        ("trials/0000-*/score.json", "trial 0, score.json"),
        ("trials/0000-*/train.py", "trial 0, train.py"),
        ("champion/train.py", "champion"),
        ("locked/validation_labels.npy", "run, seal"),
        ("locked/train.npz", "run, locked folder"),
    ],
)
def test_verify_names_what_one_byte_changed(finished: Path, tmp_path: Path, team: Team, file: str, what: str) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "all")
    assert "as measured" in team("verify", "all").stdout
    path = next((tmp_path / "runs" / "all").glob(file))
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    at = next(i for i in range(at, len(data)) if data[i : i + 1].isdigit()) if path.suffix == ".json" else at
    data[at] ^= 1
    path.write_bytes(data)
    done = team("verify", "all", check=False)
    assert done.returncode == 1
    assert what in done.stdout + done.stderr


def test_verify_names_a_judge_that_changed_by_one_byte(finished: Path, tmp_path: Path) -> None:
    package = tmp_path / "evaluation_locked"
    shutil.copytree(Path(prepare.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "metrics.py").open("a") as source:
        source.write("\n")
    folder = RunFolder(finished)
    task = folder.read_config().task
    before = prepare.compute_seal(task, folder.locked)
    assert prepare.load_facts(folder.locked).seal == before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge_code, "PACKAGE", package)
        assert prepare.compute_seal(task, folder.locked) != before


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def test_wrong_input_ends_in_one_line_that_names_the_value_and_the_mend(team: Team, tmp_path: Path) -> None:
    one_line(team("run", "no_such_seed", check=False), "no_such_seed", "crystal_seed")
    one_line(team("run", TINY_SEED, "--source", "tight-bindung", check=False), "tight-bindung", "tight-binding")
    one_line(team("run", TINY_SEED, "--source", "matbench:matbench_mp_gab", check=False), "matbench_mp_gab", "mp_gap")
    one_line(team("run", TINY_SEED, "--name", "a/b", check=False), "a/b")
    one_line(team("resume", "nothing", check=False), "nothing")
    one_line(team("status", check=False), "team run")
    assert not list(tmp_path.glob("runs/*/journal.jsonl"))


def test_a_broken_task_or_playbook_is_refused_before_anything_is_made(team: Team, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    shutil.copytree(TINY_SEED, seed)
    good = (seed / "task.toml").read_text()
    for text, words in {
        "name = ": ("task.toml", "not TOML"),
        good.replace("train_seconds = 5", "train_seconds = -5"): ("caps.train_seconds", "-5"),
        good.replace("memory_gib", "memory_gb"): ("caps.memory_gb", "not a key"),
        good.replace('target = "gap_ev"\n', ""): ("target", "missing"),
        good + "\n[split]\nfold = 7\n": ("fold 7 of 5",),
        'metric = "mea"\n' + good: ("'mea'", "did you mean 'mae'"),
    }.items():
        (seed / "task.toml").write_text(text)
        one_line(team("run", seed, check=False), *words)
    (seed / "task.toml").write_text(good)
    (seed / "playbook" / "volume.md").write_text("no front matter")
    one_line(team("run", seed, check=False), "volume.md")
    assert not (tmp_path / "runs").exists()


def test_a_target_that_is_not_a_number_is_named(team: Team, tmp_path: Path) -> None:
    dataset = tight_binding.load()
    target = dataset.target.copy()
    target[17] = np.nan
    save_table(tmp_path / "t.npz", type(dataset)("t", dataset.crystals, target, "test"), "gap_ev")
    one_line(team("run", TINY_SEED, "--source", "table:t.npz", check=False), "row 17", "nan", "leave them out")
    one_line(team("run", TINY_SEED, "--source", "table:t.npz", "--target", "gap", check=False), "'gap'", "gap_ev")
    assert not list(tmp_path.glob("runs/*/run.toml"))


def test_a_name_that_is_taken_or_at_work_is_refused(team: Team, tmp_path: Path) -> None:
    command = team_command("run", TINY_SEED, "--name", "busy", "--trials", 99)
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("runs/busy/trials/0000-*")) and time.monotonic() < until:
        time.sleep(0.05)
    one_line(team("run", TINY_SEED, "--name", "busy", check=False), "busy", "team resume busy")
    one_line(team("resume", "busy", check=False), str(process.pid))
    team("pause", "busy")
    assert process.wait(timeout=120) == 0, "it was left alone"


def test_a_seed_that_fails_says_so(team: Team, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    shutil.copytree(TINY_SEED, seed)
    (seed / "train.py").write_text((seed / "train.py").read_text().replace("RIDGE * np.eye", "RIDGES * np.eye"))
    done = team("run", seed, "--json", check=False)
    assert "RIDGES" in json.loads(done.stdout)["stopped"]
    assert done.returncode == 1


def test_a_limit_takes_that_many_crystals(team: Team) -> None:
    data = json.loads(team("run", TINY_SEED, "--limit", 1000, "--trials", 1, "--json").stdout)
    assert data["n_validation"] == pytest.approx(170, abs=2)
    assert data["champion"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_crystals_are_read_stops_at_once_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    (tmp_path / "cifs").mkdir()
    text = Structure(Lattice.cubic(4.1), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(fmt="cif")
    for i in range(190):  # seconds to read, in one process
        (tmp_path / "cifs" / f"c{i}.cif").write_text(text.replace("4.1", f"4.{i:03d}"))
    (tmp_path / "cifs" / "id_prop.csv").write_text("".join(f"c{i},{i}\n" for i in range(190)))
    command = team_command("run", TINY_SEED, "--name", "early", "--source", "cif:cifs")
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "reading cif:cifs" in process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, out + err
    assert out.endswith("stopped before anything was recorded\n") and err == ""
    assert not (tmp_path / "runs" / "early").exists()
