"""The whole loop over HTTP against the scripted endpoint: faults in every third call, and the run killed in between.

    python -m benchmarks.model_loop --rounds 50 --json

The endpoint wants a key and, among its faults, repeats it. Shown are: that every round ended in a recorded outcome,
that what was recorded before each kill is recorded after it, and that the key is in no file of the run.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from memory.journal import Journal
from memory.records import TrialRecord
from team.scripted.faults import FAULTS, FaultPlan
from team.scripted.script import Playbook
from team.scripted.server import Manners, ScriptedServer

ROOT = Path(__file__).resolve().parent.parent
KEY_NAME = "REHEARSAL_API_KEY"
TEAM_TOML = """
[defaults]
model = "scripted"
base_url = "{url}"
api_key_env = "{key_name}"
timeout_seconds = {timeout}
"""


def rehearse(
    folder: Path,
    *,
    seed_folder: Path,
    rounds: int,
    kills: int,
    rate: float,
    options: tuple[str, ...] = (),
    timeout_seconds: float = 3.0,
    limit_seconds: float = 3600.0,
) -> dict[str, Any]:
    """Run the loop in `folder` and return what was seen.

    Args:
        folder: For the run, empty.
        seed_folder: What is searched.
        rounds: Recorded trials to reach, at least.
        kills: How often the run is killed with SIGKILL on the way, and resumed.
        rate: Share of calls that meet a fault.
        options: Further ones of `team run`.
        timeout_seconds: Of a request.
        limit_seconds: The rehearsal fails beyond.
    """
    key = f"sk-rehearsal-{secrets.token_urlsafe(24)}"
    manners = Manners(key=key, asked_seconds=1, hang_seconds=10 * timeout_seconds)
    began = time.monotonic()
    with ScriptedServer(Playbook(), FaultPlan(FAULTS, rate), manners) as server:
        text = TEAM_TOML.format(url=server.base_url, key_name=KEY_NAME, timeout=timeout_seconds)
        (folder / "team.toml").write_text(text)
        run = folder / "runs" / "r"
        journal = Journal(run / "journal.jsonl")
        team = str(Path(sys.executable).with_name("team"))
        command = [team, "run", str(seed_folder.resolve()), "--name", "r", "--trials", str(rounds), *options]
        kept_after_kills, exit_codes = [], []
        stops = [rounds * (i + 1) // (kills + 1) for i in range(kills)]
        for stop in (*stops, rounds):
            with (folder / "out.txt").open("a") as out:
                process = subprocess.Popen(
                    command, cwd=folder, env=os.environ | {KEY_NAME: key}, stdout=out, stderr=subprocess.STDOUT
                )
                while process.poll() is None and _lines(journal.path) < stop:
                    if time.monotonic() - began > limit_seconds:
                        process.kill()
                        raise SystemExit(f"not at {stop} rounds after {limit_seconds:g} s: see {folder}/out.txt")
                    time.sleep(0.2)
                before = journal.path.read_bytes() if journal.path.exists() else b""
                process.send_signal(signal.SIGKILL if stop != rounds else signal.SIGINT)
                exit_codes.append(process.wait())
                if _lines(journal.path) < stop:
                    raise SystemExit(f"the run ended before {stop} rounds: see {folder}/out.txt")
            after = journal.path.read_bytes() if journal.path.exists() else b""
            kept_after_kills.append(after.startswith(before))
            command = [team, "resume", "r"]
        stats = server.stats.as_dict()
    entries = journal.read()
    return _seen(run, entries, stats, key) | {
        "rounds_wanted": rounds,
        "kills": kills,
        "nothing_recorded_lost": all(kept_after_kills),
        "last_exit_code": exit_codes[-1],
        "seconds": round(time.monotonic() - began, 1),
    }


def _seen(run: Path, entries: tuple[Any, ...], stats: dict[str, Any], key: str) -> dict[str, Any]:
    trials = [entry for entry in entries if isinstance(entry, TrialRecord)]
    numbers = [trial.number for trial in trials]
    files = [path for path in run.rglob("*") if path.is_file()]
    forms = {key.encode(), key.removeprefix("sk-rehearsal-").encode(), base64.b64encode(key.encode()).rstrip(b"=")[:-2]}
    found = [str(path.relative_to(run)) for path in files if any(form in path.read_bytes() for form in forms)]
    played = [trial for trial in trials if trial.idea.mode not in ("baseline", "replicate")]
    stand_ins = [sentence for trial in trials for sentence in trial.stand_ins]
    overhead = np.array([trial.overhead_seconds for trial in trials if trial.status != "not run"])
    faults = stats["faults"]
    return {
        "rounds": len(trials),
        "numbers_without_gap": numbers == list(range(len(numbers))),
        "outcomes": dict(Counter(trial.outcome for trial in trials)),
        "rounds_without_outcome": sum(not trial.outcome or not trial.reason for trial in trials),
        "rounds_with_models": len(played),
        "requests": stats["requests"],
        "faults": sum(faults.values()),
        "fault_share": round(sum(faults.values()) / max(1, stats["requests"]), 3),
        "fault_kinds": len(faults),
        "faults_by_kind": dict(sorted(faults.items())),
        "turns_taken_over": len(stand_ins),
        "turns_taken_over_by_role": dict(
            Counter(
                word
                for sentence in stand_ins
                for word in ("strategist", "scout", "coder", "reviewer")
                if f"offline {word}" in sentence or f"{word}'s model" in sentence
            )
        ),
        "files_searched": len(files),
        "files_with_the_key": found,
        "overhead_seconds_median": round(float(np.median(overhead)), 3) if len(overhead) else None,
    }


def _lines(path: Path) -> int:
    try:
        return sum(b'"kind":"trial"' in line for line in path.read_bytes().splitlines())
    except FileNotFoundError:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.3)
    parser.add_argument("--seed-folder", type=Path, default=ROOT / "crystal_seed")
    parser.add_argument("--train-seconds", type=float, default=1.0)
    parser.add_argument("--limit", type=int, default=600, help="crystals; few, so that a trial is short")
    parser.add_argument("--keep", type=Path, help="folder for the run; a temporary one where it is left out")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    options = ("--train-seconds", str(arguments.train_seconds), "--limit", str(arguments.limit))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        seen = rehearse(
            folder,
            seed_folder=arguments.seed_folder,
            rounds=arguments.rounds,
            kills=arguments.kills,
            rate=arguments.rate,
            options=options,
        )
    print(
        json.dumps(seen, indent=1)
        if arguments.json
        else "\n".join(f"{name:26} {value}" for name, value in seen.items())
    )


if __name__ == "__main__":
    main()
