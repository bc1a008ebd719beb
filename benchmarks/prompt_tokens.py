"""Tokens and our own seconds per round at rounds 5, 50 and 500: do they grow with the number of trials?

    python -m benchmarks.prompt_tokens --json

The state machine, the journal, the idea memory, the judge and the models' exchanges over HTTP are real; the models are
scripted, and trials are stubbed: one has the score that `recorded/scores.json` has for its number, all over again. Up
to `--played` every round is played; from there to a few rounds before the last, rounds are written into the journal as
variants of those that were played, each with a file, a diff, residuals and a score. Tokens are those that the endpoint
counts, four bytes each. CPU seconds are of this process and its children, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation_locked import tight_binding
from evaluation_locked.prepare import prepare
from evaluation_locked.task import load_task
from evaluation_locked.trial import TrialCancelled, TrialOutcome
from graph.campaign import advance
from graph.context import Event
from graph.run_folder import RunConfig, RunFolder, create_run
from graph.session import open_session
from memory.journal import Journal
from memory.records import TrialRecord
from team.model.access import ModelAccess
from team.model.settings import RoleSettings, TeamSettings
from team.model.spend import SpendBook, read_spend
from team.scripted.script import Playbook
from team.scripted.server import ScriptedServer
from team.thinking import model_team
from team.thinking.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from evaluation_locked.trial import Phase, TrialOrder

ROOT = Path(__file__).resolve().parent.parent
SCORES = Path(__file__).resolve().parent / "recorded" / "scores.json"
ROLES = ("strategist", "scout", "coder", "reviewer")
WINDOW = 5  # played rounds that a figure is the median of
# Measured on two cores with an instant scripted endpoint and a trivial evaluation; per extra iteration.
PEERS = {"OpenEvolve 0.4": 0.044, "AIDE 0.2": 0.145, "ShinkaEvolve 0.0.7": 0.270}


class RecordedScores:
    """An executor that trains nothing: predictions are the labels, off by as much as the recorded score says."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        """Write predictions with the recorded mean absolute error."""
        order.folder.mkdir(parents=True, exist_ok=True)
        (order.folder / "train.log").write_text("recorded\n")
        if not order.smoke:
            labels = np.load(order.locked / "validation_labels.npy", allow_pickle=False)
            error = np.random.default_rng(order.seed).standard_normal(len(labels))
            value = self.scores[order.seed % 1_000_003 % len(self.scores)]
            np.save(order.folder / "predictions.npy", labels + error * value / np.abs(error).mean())
        return TrialOutcome(
            status="finished", message="recorded", featurise_seconds=0.1, train_seconds=1.0, predict_seconds=0.1
        )


def measure(folder: Path, rounds: tuple[int, ...], played: int, seed_folder: Path, limit: int) -> dict[str, Any]:
    """Play and fill rounds up to the last of `rounds`, and return tokens and seconds near each of them."""
    task = load_task(seed_folder)
    settings = {"name": "r", "task": task, "seed_folder": str(seed_folder), "trials": 10**6, "limit": limit}
    run = create_run(folder, RunConfig(**settings, models=dict.fromkeys(ROLES, "scripted")), seed_folder)
    prepare(task, tight_binding.load(), run.locked, limit)
    scores = json.loads(SCORES.read_text())
    began = time.monotonic()
    with ScriptedServer(Playbook()) as server:
        role = RoleSettings(model="scripted", base_url=server.base_url)
        access = ModelAccess(TeamSettings(roles=dict.fromkeys(ROLES, role)), SpendBook(run.path))  # type: ignore[arg-type]
        cpu = _play(run, access, scores, min(played, rounds[-1]))
        if rounds[-1] > played:
            _fill(run, rounds[-1] - WINDOW - 3, scores)
            cpu |= _play(run, access, scores, rounds[-1])
        requests = server.stats.requests
    return _figures(run, rounds, cpu) | {
        "requests": requests,
        "seconds": round(time.monotonic() - began, 1),
        "peers_seconds_per_iteration": PEERS,
    }


def _play(run: RunFolder, access: ModelAccess, scores: list[float], until: int) -> dict[int, float]:
    """Play rounds until the journal holds trial `until`; return CPU seconds by round."""
    journal, cancel = Journal(run.journal), threading.Event()
    at = [_cpu_seconds()]
    cpu: dict[int, float] = {}

    def listen(event: Event) -> None:
        if event.kind == "node" and event.node == "strategise":
            at[0] = _cpu_seconds()
        if isinstance(event.entry, TrialRecord):
            cpu[event.entry.number] = _cpu_seconds() - at[0]
            if event.entry.number >= until:
                cancel.set()

    team = model_team(access.settings, Desk(access, run, threading.Event()))
    with journal.lock(), open_session(run, run.read_config(), journal, team, listen, cancel) as context:
        context.executor = RecordedScores(scores)
        with contextlib.suppress(TrialCancelled):
            advance(context)
    return cpu


def _fill(run: RunFolder, until: int, scores: list[float]) -> None:
    """Write trials up to `until` into the journal: variants of those that were played and scored."""
    journal = Journal(run.journal)
    entries = journal.read()
    trials = [entry for entry in entries if isinstance(entry, TrialRecord)]
    models = [trial for trial in trials if trial.score is not None and trial.gain is not None]
    draw = np.random.default_rng(0)
    with journal.lock():
        for number, like in zip(range(len(trials), until), itertools.cycle(models), strict=False):
            assert like.score is not None
            text = f"{run.source(like.number)}\nVARIANT = {number}\n"
            sha = hashlib.sha256(text.encode()).hexdigest()
            title = f"{like.idea.title} ({number})"
            idea = like.idea.model_copy(update={"number": number, "title": title, "techniques": (), "knobs": {}})
            value = scores[number % len(scores)]
            score = like.score.model_copy(update={"value": value, "low": value - 0.1, "high": value + 0.1})
            changes = {"number": number, "idea": idea, "outcome": "discarded", "code_sha": sha, "meaning_sha": sha}
            gain = {"gain": -0.1, "gain_low": -0.2, "gain_high": 0.0, "z": -2.0, "reason": f"gain -0.1 ({number})"}
            place = run.make_trial(idea)
            (place / "train.py").write_text(text)
            residuals = np.load(run.trial(like.number) / "residuals.npy")
            np.save(place / "residuals.npy", residuals + draw.normal(0, 0.1, len(residuals)).astype(residuals.dtype))
            journal.append(like.model_copy(update=changes | gain | {"score": score}))


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _figures(run: RunFolder, rounds: tuple[int, ...], cpu: dict[int, float]) -> dict[str, Any]:
    prompt: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    completion: dict[int, int] = defaultdict(int)
    cached: dict[int, int] = defaultdict(int)
    waited: dict[int, float] = defaultdict(float)
    calls: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for line in read_spend(run.path):
        prompt[line.trial][line.role] += line.prompt_tokens
        completion[line.trial] += line.completion_tokens
        cached[line.trial] += line.cached_tokens
        waited[line.trial] += line.seconds
        calls[line.role].append((line.trial, line.prompt_tokens))
    trials = {e.number: e for e in Journal(run.journal).read() if isinstance(e, TrialRecord)}
    # A round is comparable where each role was asked and the trial was trained: no repair, no repeat, no replicate.
    whole = [
        n for n, trial in trials.items() if set(prompt[n]) == set(ROLES) and trial.status != "not run" and n in cpu
    ]
    found: dict[str, Any] = {"rounds": len(trials), "whole_rounds": len(whole)}
    for wanted in rounds:
        near = sorted(sorted(whole, key=lambda n: abs(n - wanted))[:WINDOW])
        sources = [len((run.trial(n) / "train.py").read_bytes()) // 4 for n in near]
        found[f"round {wanted}"] = {
            "rounds_looked_at": near,
            "prompt_tokens": _median([sum(prompt[n].values()) for n in near]),
            "cached_of_these": _median([cached[n] for n in near]),
            "answer_tokens": _median([completion[n] for n in near]),
            "train_py_tokens": _median(sources),
            "prompt_tokens_of_a_call": {
                role: _median([tokens for n, tokens in calls[role] if near[0] <= n <= near[-1]]) for role in ROLES
            },
            "overhead_seconds": round(float(np.median([trials[n].overhead_seconds for n in near])), 3),
            "overhead_cpu_seconds": round(float(np.median([cpu[n] for n in near])), 3),
            "of_these_at_the_endpoint": round(float(np.median([waited[n] for n in near])), 3),
        }
    return found


def _median(values: list[int]) -> int:
    return int(np.median(values)) if values else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, nargs="+", default=[5, 50, 500])
    parser.add_argument("--played", type=int, default=60, help="rounds that are played before rounds are filled in")
    parser.add_argument("--seed-folder", type=Path, default=ROOT / "crystal_seed")
    parser.add_argument("--limit", type=int, default=1500, help="crystals; they are judged by, not trained on")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(
            Path(temporary), tuple(sorted(arguments.rounds)), arguments.played, arguments.seed_folder, arguments.limit
        )
    print(
        json.dumps(found, indent=1)
        if arguments.json
        else "\n".join(f"{name}: {value}" for name, value in found.items())
    )


if __name__ == "__main__":
    main()
