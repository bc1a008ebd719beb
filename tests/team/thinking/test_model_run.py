"""`team run --model` as a user types it, against the scripted endpoint: faults, an outage, a limit, and going on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.model_loop import rehearse
from graph.machine import build
from memory.journal import Journal
from memory.records import TrialRecord
from team.scripted.script import Playbook
from team.scripted.server import ScriptedServer
from tests.conftest import TINY_SEED

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Team = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.timeout(900)  # many processes, perhaps on a busy machine


def trials_of(run: Path) -> list[TrialRecord]:
    return [entry for entry in Journal(run / "journal.jsonl").read() if isinstance(entry, TrialRecord)]


def test_a_run_among_faults_and_a_kill_records_every_round_and_no_key(tmp_path: Path) -> None:
    seen = rehearse(
        tmp_path, seed_folder=TINY_SEED, rounds=6, kills=1, rate=0.3, timeout_seconds=1.0, limit_seconds=800
    )
    assert seen["rounds"] >= 6 and seen["numbers_without_gap"]
    assert seen["rounds_without_outcome"] == 0
    assert seen["nothing_recorded_lost"]
    assert seen["files_with_the_key"] == [] and seen["files_searched"] > 50
    assert seen["rounds_with_models"] >= 4 and seen["faults"] > 0


def test_a_run_whose_endpoint_is_gone_is_the_offline_teams_and_says_so(tmp_path: Path, team: Team) -> None:
    with ScriptedServer(Playbook()) as server:
        url = server.base_url  # nobody listens there when the block ends
    team("run", TINY_SEED, "--name", "gone", "--trials", 3, "--model", "scripted", "--base-url", url)
    run = tmp_path / "runs" / "gone"
    trials = trials_of(run)
    played = [trial for trial in trials if trial.idea.mode not in ("baseline", "replicate")]
    assert played and all(trial.stand_ins for trial in played)
    assert all(trial.idea.proposed_by == "offline scout" for trial in trials)
    data = json.loads(team("status", "gone", "--json").stdout)
    assert data["stand_ins"] == sum(len(trial.stand_ins) for trial in trials)
    assert data["models"] == dict.fromkeys(("strategist", "scout", "coder", "reviewer"), "scripted")


def test_a_limit_stops_the_run_with_words_and_resume_goes_on(tmp_path: Path, team: Team) -> None:
    with ScriptedServer(Playbook()) as server:
        command = ("run", TINY_SEED, "--name", "poor", "--trials", 4, "--model", "scripted")
        done = team(*command, "--base-url", server.base_url, "--max-tokens", 19_000)
        run = tmp_path / "runs" / "poor"
        assert "--max-tokens would be passed" in done.stdout
        first = trials_of(run)
        data = json.loads(team("status", "poor", "--json").stdout)
        assert data["trained"] < 4 and data["spend"]["all"]["tokens"] <= 19_000
        team("resume", "poor", "--max-tokens", 1_000_000)
        trials = trials_of(run)
    assert sum(trial.status != "not run" for trial in trials) == 4
    assert trials[: len(first)] == first
    spend = [json.loads(line) for line in (run / "spend.jsonl").read_text().splitlines()]
    assert {line["role"] for line in spend} == {"strategist", "scout", "coder", "reviewer"}
    exchanges = sorted(path.name for path in run.glob("trials/*/llm/*.txt"))
    assert "01-strategist.txt" in exchanges and "02-scout.txt" in exchanges


def test_a_model_without_a_key_is_told_before_anything_is_made(tmp_path: Path, team: Team, monkeypatch: object) -> None:
    done = team("run", TINY_SEED, "--model", "some-model", "--team-file", "none.toml", check=False)
    assert done.returncode == 1 and "none.toml" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_studio_file_names_the_machine() -> None:
    from pathlib import Path

    from graph import machine

    root = Path(__file__).resolve().parents[3]
    path, _, name = json.loads((root / "langgraph.json").read_text())["graphs"]["team"].partition(":")
    assert (root / path).resolve() == Path(machine.__file__).resolve()
    opened = getattr(machine, name)()
    assert set(opened.get_graph().nodes) == set(build().get_graph().nodes)
    assert "number" in opened.get_input_jsonschema()["properties"]
