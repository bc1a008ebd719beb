"""Trials as rows and details: what every panel draws from, and what the side panel of the idea graph says of one trial.

It reads the journal's entries and the files of a trial's folder. Texts are passed on as they were written, by models
and by hostile code: the page shows them as text and nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graph.errors import RunError
from graph.run_folder import last_words
from memory.history import History
from memory.records import TrialRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from graph.run_folder import RunFolder
    from memory.records import Entry

MAX_DIFF_CHARACTERS = 6_000
MAX_LOG_LINES = 20
MAX_LINE_CHARACTERS = 160
MAX_TEXT_CHARACTERS = 1_500

_ARXIV = re.compile(r"\barxiv[:\s]\s*(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?", re.IGNORECASE)
_DOI = re.compile(r"\b(?:doi[:\s]\s*|https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/[-._;()/:A-Za-z0-9]+)")
_BARE_ARXIV = re.compile(r"(?<![\d.])(\d{4}\.\d{5})(?!\d)")


@dataclass(frozen=True)
class Row:
    """One trial in figures.

    Attributes:
        outcome: By the latest decision.
        gain, gain_low, gain_high, z: Against the champion of its time, by the latest decision; positive is better.
        champion_score: Mean score of the champion once this trial was settled, None before the first keep.
        hours: Of work on the run's trials up to the end of this one, pauses left out.
        usd: Paid to models up to the end of this one; 0 where nothing was.
    """

    number: int
    title: str
    mode: str
    axis: str
    outcome: str
    reason: str
    parent: int | None
    also_from: tuple[int, ...]
    techniques: tuple[str, ...]
    nearest: tuple[int, ...]
    score: float | None
    low: float | None
    high: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    z: float | None
    champion_score: float | None
    hours: float
    usd: float


def trial_rows(entries: Iterable[Entry], usd_by_trial: Mapping[int, float] | None = None) -> tuple[History, list[Row]]:
    """Return the history that the entries make, and a row for each trial in the order recorded."""
    history, champions = History(), dict[int, float | None]()
    last = -1
    for entry in entries:
        history.add(entry)
        last = entry.number if isinstance(entry, TrialRecord) else last
        champion = history.champion
        champions[last] = history.mean_score(champion.number) if champion is not None else None
    rows, hours, usd = [], 0.0, 0.0
    for number, trial in history.trials.items():
        judged = history.decisions.get(number, trial)
        hours += worked_seconds(trial) / 3600
        usd += (usd_by_trial or {}).get(number, 0.0)
        rows.append(
            Row(
                number=number,
                title=trial.idea.title,
                mode=trial.idea.mode,
                axis=trial.idea.axis,
                outcome=history.outcome(number),
                reason=history.reason(number),
                parent=trial.idea.parent,
                also_from=trial.idea.also_from,
                techniques=trial.idea.techniques,
                nearest=tuple(n for n in trial.crowding.nearest if isinstance(n, int)),  # of this run
                score=trial.score.value if trial.score else None,
                low=trial.score.low if trial.score else None,
                high=trial.score.high if trial.score else None,
                gain=judged.gain,
                gain_low=judged.gain_low,
                gain_high=judged.gain_high,
                z=judged.z,
                champion_score=champions[number],
                hours=hours,
                usd=usd,
            )
        )
    return history, rows


def worked_seconds(trial: TrialRecord) -> float:
    """Return the wall time that a trial's round took, pauses between rounds left out."""
    return (
        trial.smoke_seconds
        + trial.featurise_seconds
        + trial.train_seconds
        + trial.predict_seconds
        + trial.overhead_seconds
    )


def trial_details(folder: RunFolder, trial: TrialRecord) -> dict[str, Any]:
    """Return what is said of one trial beside its figures: texts, links, the diff, the review, the end of its log.

    None of it changes once the trial is recorded, but for the reason, which a later decision may override.
    """
    idea, verdict = trial.idea, trial.verdict
    try:
        place: Path | None = folder.trial(trial.number)
    except RunError:
        place = None
    log = last_words(place, MAX_LOG_LINES) or last_words(place / "smoke", MAX_LOG_LINES) if place else []
    crowding = trial.crowding
    views = {"text": crowding.text, "code": crowding.code, "behaviour": crowding.behaviour}
    return {
        "hypothesis": _cut(idea.hypothesis),
        "why": _cut(idea.why),
        "source": _cut(idea.source),
        "links": source_links(idea.source),
        "by": idea.proposed_by,
        "techniques": list(idea.techniques),
        "removed": list(idea.removed),
        "knobs": {name: json.dumps(value) for name, value in idea.knobs.items()},
        "review": None if verdict is None else {"kind": verdict.kind, "reasons": [_cut(r) for r in verdict.reasons]},
        "crowding": {name: round(value, 3) for name, value in views.items() if value is not None},
        "status": trial.status,
        "seconds": {
            "featurise": round(trial.featurise_seconds, 1),
            "train": round(trial.train_seconds, 1),
            "predict": round(trial.predict_seconds, 1),
        },
        "memory_gib": round(trial.peak_memory_gib, 2),
        "diff": _cut(trial.diff, MAX_DIFF_CHARACTERS),
        "log": [line[:MAX_LINE_CHARACTERS] for line in log],
    }


def source_links(source: str) -> list[dict[str, str]]:
    """Return the papers that a source names by arXiv id or DOI, each with its address; nothing else becomes a link."""
    found: dict[str, str] = {}
    for match in _ARXIV.finditer(source):
        found[f"arXiv:{match[1]}"] = f"https://arxiv.org/abs/{match[1]}"
    for match in _DOI.finditer(source):
        doi = match[1].rstrip(".,;:)")
        found[f"doi:{doi}"] = f"https://doi.org/{doi}"
    if not found:
        found = {f"arXiv:{m[1]}": f"https://arxiv.org/abs/{m[1]}" for m in _BARE_ARXIV.finditer(source)}
    return [{"text": text, "url": url} for text, url in found.items()]


def plot_text(title: str, limit: int) -> str:
    """Return a title as one line of at most `limit` characters, with what Plotly would take for markup escaped."""
    line = " ".join(title.split())
    line = line if len(line) <= limit else f"{line[: limit - 1]}…"
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    return (
        text
        if len(text) <= limit
        else f"{text[:limit]}\n[{len(text) - limit:,} more characters are in the trial's folder]"
    )
