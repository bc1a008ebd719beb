"""Run folders as a run leaves them, of any length, without training: real rows and labels, made-up trials."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation_locked import tight_binding
from evaluation_locked.prepare import prepare
from evaluation_locked.scorer import Score, score
from evaluation_locked.task import load_task
from graph.run_folder import RunConfig, RunFolder, create_run
from memory.records import AXES, Crowding, Idea, TrialRecord, Verdict
from memory.techniques import load_playbook
from team.running import shipped_seed_folder

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = '</script><img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'


def journal_line(entry: TrialRecord) -> bytes:
    """Return an entry as its line in a journal."""
    text = json.dumps(entry.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return b'{"crc32":"%08x","entry":%s}\n' % (zlib.crc32(text), text)


def make_run(runs: Path, n_trials: int, *, name: str = "made", hostile: bool = False) -> RunFolder:
    """Return a run of `n_trials`: every fourth trial better than its champion is kept, others fail in every way."""
    seed_folder = shipped_seed_folder()
    task = load_task(seed_folder)
    folder = create_run(
        runs, RunConfig(name=name, task=task, seed_folder=str(seed_folder), trials=n_trials), seed_folder
    )
    prepare(task, tight_binding.load(), folder.locked)
    labels = np.load(folder.locked / "validation_labels.npy")
    playbook = load_playbook(seed_folder / "playbook")
    code = (seed_folder / "train.py").read_text(encoding="utf-8").splitlines()
    rng = np.random.default_rng(0)
    champion, best, keeps = 0, 1.0, 0
    first: Score | None = None
    with folder.journal.open("wb") as journal:  # without a sync a line, which a thousand trials would wait for
        for number in range(n_trials):
            technique = playbook[int(rng.integers(len(playbook)))]
            fields: dict[str, Any] = {"mode": "baseline", "axis": "-", "title": "seed"}
            if number:
                fields = {
                    "mode": "explore",
                    "axis": technique.axis,
                    "title": f"{HOSTILE} {number}" if hostile else f"{technique.title}, variant {number}",
                    "hypothesis": HOSTILE if hostile else technique.description,
                    "techniques": (technique.id,),
                    "source": f"{HOSTILE} javascript:alert(1) arXiv:1706.05098" if hostile else technique.source,
                    "parent": champion if rng.random() < 0.8 else max(0, number - 7),
                    "why": HOSTILE if hostile else "expected gain +1.4 % +- 1.1 % of the score; best draw of 60 moves",
                    "proposed_by": "offline scout",
                }
            idea = Idea(number=number, **fields)
            place = folder.make_trial(idea)
            (place / "train.py").write_text(f"# {number}\n", encoding="utf-8")
            lines = [f"step {50 * i}, loss {rng.random():.4f}, rate {rng.random():.6f}" for i in range(25)]
            (place / "train.log").write_text("\n".join([*lines, HOSTILE] if hostile else lines), encoding="utf-8")
            kept = number == 0 or (number % max(4, n_trials // 12) == 0)
            value = best - 0.02 * rng.random() if kept else best + 0.06 * rng.random() - 0.005
            outcome = (
                "kept"
                if kept
                else ("discarded", "crashed", "rejected", "near-miss")[int(rng.choice(4, p=[0.8, 0.1, 0.05, 0.05]))]
            )
            result = None
            if kept:
                keeps += 1
                np.save(place / "predictions.npy", labels + rng.normal(0, 0.8 / keeps, len(labels)))
                result, _ = score(folder.locked, place / "predictions.npy", place / "residuals.npy")
                best = result.value
            elif outcome in ("discarded", "near-miss"):
                assert first is not None
                result = first.model_copy(update={"value": value, "low": value - 0.03, "high": value + 0.03})
            first = result if number == 0 else first
            gain = best - value if result is not None and number else None
            start = int(rng.integers(len(code) - 30))
            diff = "".join(f"{'+-  '[i % 4]}{line}\n" for i, line in enumerate(code[start : start + 30]))
            journal.write(
                journal_line(
                    TrialRecord(
                        number=number,
                        idea=idea,
                        outcome=outcome,  # type: ignore[arg-type]
                        reason=f"{HOSTILE} {value:.4f}" if hostile else f"gain {gain}: 1.64 would keep",
                        status="not run"
                        if outcome == "rejected"
                        else "crashed"
                        if outcome == "crashed"
                        else "finished",
                        code_sha=hashlib.sha256(str(number).encode()).hexdigest(),
                        code_lines=300,
                        diff=f"+{HOSTILE}\n{diff}" if hostile else diff,
                        verdict=Verdict(kind="approve", reasons=(HOSTILE,) if hostile else ()),
                        score=result,
                        champion=champion if gain is not None else None,
                        gain=gain,
                        gain_low=None if gain is None else gain - 0.02,
                        gain_high=None if gain is None else gain + 0.02,
                        z=None if gain is None else gain / 0.01,
                        crowding=Crowding(
                            text=0.4, code=0.2, nearest=tuple(n for n in (number - 3, number - 9) if n >= 0)
                        ),
                        featurise_seconds=2.0,
                        train_seconds=20.0,
                        predict_seconds=1.0,
                        smoke_seconds=3.0,
                        overhead_seconds=1.0,
                        started_at="2026-01-01T00:00:00+00:00",
                    )
                )
            )
            champion = number if kept else champion
    assert set(AXES) <= {technique.axis for technique in playbook}
    return folder
