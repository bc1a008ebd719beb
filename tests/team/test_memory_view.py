"""`team memory` and `team run --memory` as a user types them, on a seed that trains in a blink."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memory.journal import Journal
from memory.records import TrialRecord
from memory.shared_memory import SharedMemory
from tests.conftest import TINY_SEED, team_command
from tests.team.test_run import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    Team = Callable[..., subprocess.CompletedProcess[str]]


pytestmark = pytest.mark.timeout(900)  # six trainings, each a process that loads torch


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that share a memory, and a third, which is the first one with a memory of its own."""
    place = tmp_path_factory.mktemp("finished")
    shutil.copytree(TINY_SEED, place / "seed", ignore=shutil.ignore_patterns("playbook"))
    (place / "seed" / "playbook").mkdir()
    shutil.copy(TINY_SEED / "playbook" / "clamp-zero.md", place / "seed" / "playbook")
    for name in ("first", "second"):
        command = team_command("run", "seed", "--name", name, "--trials", 3, "--memory", "shared")
        subprocess.run(command, check=True, capture_output=True, cwd=place)
    alone = place / "runs" / "alone"
    shutil.copytree(place / "runs" / "first", alone)
    lines = (alone / "run.toml").read_text().replace('name = "first"', 'name = "alone"').splitlines()
    (alone / "run.toml").write_text("\n".join(line for line in lines if not line.startswith("memory = ")) + "\n")
    subprocess.run(team_command("memory", "rebuild", "alone"), check=True, capture_output=True, cwd=place)
    return place


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A copy of the runs in tmp_path, where `team` works."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    for config in tmp_path.glob("runs/*/run.toml"):
        config.write_text(config.read_text().replace(str(finished), str(tmp_path)))
    register = tmp_path / "shared" / "memory.toml"
    register.write_text(register.read_text().replace(str(finished), str(tmp_path)))
    return tmp_path


def trials_of(run: Path) -> dict[int, TrialRecord]:
    return {e.number: e for e in Journal(run / "journal.jsonl").read() if isinstance(e, TrialRecord)}


def test_an_idea_of_an_earlier_run_counts_in_a_later_one(finished: Path) -> None:
    first, second = (trials_of(finished / "runs" / name) for name in ("first", "second"))
    clamp = next(n for n, trial in first.items() if trial.idea.title == "Clamp at zero")
    assert first[clamp].crowding.code == 0.0
    assert second[clamp].crowding.code == 1.0
    assert second[clamp].crowding.nearest[0] == f"first/{clamp}"
    assert second[0].crowding.nearest == ("first/0", *second[0].crowding.nearest[1:])
    assert (second[0].crowding.text or 0) > (first[0].crowding.text or 0) == 0
    assert not (finished / "runs" / "second" / "chroma").exists()


def test_search_finds_ideas_in_other_words_and_of_other_runs(place: Path, team: Team) -> None:
    found = json.loads(team("memory", "search", "non negative prediction", "second", "-k", 2, "--json").stdout)["found"]
    assert {(hit["run"], hit["title"]) for hit in found} == {("second", "Clamp at zero"), ("first", "Clamp at zero")}
    text = team("memory", "search", "non negative prediction", "second", "--outcome", "kept").stdout
    assert "seed" in text and "first/0" in text and "discarded" not in text
    n_ideas = len(trials_of(place / "runs" / "alone"))
    said = team("memory", "search", "x", "alone", "--axis", "A2").stdout
    assert f"nothing found with axis A2 among {n_ideas} ideas" in said
    one_line(team("memory", "search", "  ", "alone", check=False), "question is empty")
    one_line(team("memory", "search", "x", "alon", check=False), "no run 'alon'", "alone")


def test_crowding_shows_the_views_by_trial_and_by_axis(place: Path, team: Team) -> None:
    said = json.loads(team("memory", "crowding", "second", "--json").stdout)
    trials = trials_of(place / "runs" / "second")
    assert [row["code"] for row in said["trials"]] == [trial.crowding.code for trial in trials.values()]
    by_axis = {row["axis"]: row for row in said["axes"]}
    assert (by_axis["A5"]["ideas"] > 0, by_axis["A5"]["code"], by_axis["A2"]["ideas"]) == (True, 1.0, 0)
    lines = team("memory", "crowding", "second").stdout.splitlines()
    assert lines[0].split() == ["trial", "axis", "text", "code", "errors", "near", "outcome", "title"]
    assert any("Clamp at zero" in line and " 1.00 " in line and " first/" in line for line in lines)
    assert any(line.startswith("empty (fewer than 3 ideas): A1 connectivity") for line in lines)


def test_a_lost_or_damaged_memory_is_made_anew_and_that_is_said(place: Path, team: Team) -> None:
    chroma, n_ideas = place / "runs" / "alone" / "chroma", len(trials_of(place / "runs" / "alone"))
    (chroma / "chroma.sqlite3").write_bytes(b"x" * 10_000)
    text = team("memory", "search", "clamp zero", "alone", "-k", 1).stdout
    assert f"the idea memory was damaged: {n_ideas} ideas made anew from the journal" in text
    assert "Clamp at zero" in text
    shutil.rmtree(chroma)
    assert team("memory", "rebuild", "alone").stdout.startswith(f"{n_ideas} ideas of alone in ")
    (place / "shared" / "chroma" / "chroma.sqlite3").write_bytes(b"x" * 10_000)
    done = team("resume", "second", "--trials", 4)
    assert f"the idea memory was damaged: {2 * n_ideas} ideas made anew" in done.stdout
    shutil.rmtree(place / "shared")
    built = json.loads(team("memory", "rebuild", "first", "second", "--memory", "shared", "--json").stdout)[0]
    assert built["runs"] == ["first", "second"]
    assert built["n_ideas"] == n_ideas + len(trials_of(place / "runs" / "second"))
    assert json.loads(team("memory", "rebuild", "--memory", "shared", "--json").stdout)[0]["runs"] == built["runs"]


def test_another_task_embedder_or_name_is_refused_by_name(place: Path, team: Team, tmp_path: Path) -> None:
    other = tmp_path / "other_seed"
    shutil.copytree(TINY_SEED, other)
    (other / "task.toml").write_text((other / "task.toml").read_text().replace('name = "tiny"', 'name = "wee"'))
    done = team("run", other, "--name", "x", "--memory", "shared", check=False)
    one_line(done, "ideas for tiny (regression of gap_ev by mae", "about wee", "--memory")
    register = place / "shared" / "memory.toml"
    register.write_text(register.read_text().replace("local v1", "local v0"))
    done = team("run", TINY_SEED, "--name", "x", "--memory", "shared", check=False)
    one_line(done, "embedded by local v0", "would use local v1", "--embedder")
    register.write_text(register.read_text().replace("local v0", "local v1"))
    done = team("run", TINY_SEED, "--name", "first", "--runs", "elsewhere", "--memory", "shared", check=False)
    one_line(done, "'first' already", "--name")
    one_line(team("run", TINY_SEED, "--name", "x", "--embedder", "locale", check=False), "'locale'", "sentence-trans")
    one_line(team("run", TINY_SEED, "--name", "x", "--memory", register, check=False), "is a file")
    assert not (place / "runs" / "x").exists() and not (place / "elsewhere" / "first").exists()
    run_toml = place / "runs" / "alone" / "run.toml"
    run_toml.write_text(run_toml.read_text().replace('embedder = "local"', 'embedder = "openai:m@http://127.0.0.1:9"'))
    one_line(
        team("resume", "alone", "--trials", 9, check=False), "local v1", "openai (m at http", "team memory rebuild"
    )


def test_runs_of_two_tasks_make_no_memory(place: Path, team: Team) -> None:
    facts = place / "runs" / "alone" / "locked" / "facts.json"
    facts.write_text(facts.read_text().replace('"target":"gap_ev"', '"target":"gap"').replace('"gap_ev"', '"gap"'))
    done = team("memory", "rebuild", "first", "alone", "--memory", "new", check=False)
    one_line(done, "first is about tiny (regression of gap_ev", "alone about tiny (regression of gap by")
    one_line(team("memory", "rebuild", "--memory", "new", check=False), "fed by no run")
    register = place / "shared" / "memory.toml"
    register.write_text("[")
    one_line(team("memory", "rebuild", "--memory", "shared", check=False), "memory.toml cannot be read", "delete it")


def test_a_memory_at_work_is_refused_to_a_second_run_and_open_to_readers(place: Path, team: Team) -> None:
    with SharedMemory(place / "shared").lock(), Journal(place / "runs" / "alone" / "journal.jsonl").lock():
        begun = time.monotonic()
        done = team("run", TINY_SEED, "--name", "third", "--memory", "shared", check=False)
        one_line(done, "shared is in use by process", "without --memory")
        assert time.monotonic() - begun < 60
        one_line(team("memory", "rebuild", "--memory", "shared", check=False), "in use by process")
        one_line(team("memory", "rebuild", "alone", check=False), "in use by process")
        before = (place / "shared" / "chroma" / "chroma.sqlite3").stat().st_mtime_ns
        for run in ("second", "alone"):
            found = json.loads(team("memory", "search", "clamp zero", run, "-k", 1, "--json").stdout)["found"]
            assert "Clamp at zero" in found[0]["title"]
        assert (place / "shared" / "chroma" / "chroma.sqlite3").stat().st_mtime_ns == before
    assert not (place / "runs" / "third").exists()
