"""All that a report shows of a run, gathered as plain data: the header, the panels with their figures, the trials.

A panel has one sentence that says what a reader learns from it; one that would teach nothing yet is left out. What
does not change between two trials is kept by the `Gatherer`, so that a report after each trial is cheap.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections import defaultdict
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from evaluation_locked.prepare import load_facts
from graph.run_folder import utc_now
from memory.journal import Journal
from memory.records import AXES
from memory.techniques import PlaybookError
from team.model.spend import read_spend
from team.report import anatomy, ideas_map, noise, search_figures, standing
from team.report.landmarks import LayoutError
from team.report.trials import trial_details, trial_rows
from team.summary import summarise

if TYPE_CHECKING:
    from graph.run_folder import RunFolder
    from memory.history import History
    from memory.techniques import Technique
    from team.model.spend import read_spend
    from team.report.trials import Row
from team.summary import Summary

Panel = dict[str, Any]

COMPRESSION = 6


class Gatherer:
    """Gathers the report of one run, again after each trial.

    Args:
        folder: The run's folder, prepared.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._details: dict[int, dict[str, Any]] = {}
        self._playbook: list[Technique] | None = None

    def payload(self) -> dict[str, Any]:
        """Return everything that the page shows, ready for JSON.

        Raises:
            RunError, JournalError, DataError: The run cannot be read.
        """
        folder = self.folder
        config = folder.read_config()
        facts = load_facts(folder.locked)
        spend = spent(folder)
        history, rows = trial_rows(Journal(folder.journal).read(), spend["usd_by_trial"])
        summary = summarise(folder)
        metric = (
            f"{config.task.metric} ({config.task.unit})" if config.task.score_metric.has_unit else config.task.metric
        )
        better = config.task.score_metric.better
        unit = config.task.unit
        playbook = self._techniques()
        panels = [
            *_search_panels(history, rows, playbook, metric, better),
            *_crowding_panel(history, playbook),
            *_standing_panel(folder, summary),
            *_error_panels(folder, history, config.task.kind, unit),
            *_noise_panel(history, rows, summary, metric),
        ]
        return {
            "name": folder.name,
            "title": config.task.title,
            "made_at": utc_now(),
            "header": header(summary, facts.seal, rows, spend),
            "panels": panels,
            "axes": AXES,
            "trials": [_short(row, history) for row in rows],
            "details": self._compressed_details(history),
        }

    def _techniques(self) -> list[Technique]:
        if self._playbook is None:
            try:
                self._playbook = list(self.folder.playbook(self.folder.read_config()))
            except PlaybookError:
                self._playbook = []  # a run without one has no known techniques to show
        return self._playbook

    def _compressed_details(self, history: History) -> str:
        """Return the details of all trials as base64 of zlib of JSON: a fifth of their size, opened by the browser."""
        for number, trial in history.trials.items():
            if number not in self._details:
                self._details[number] = trial_details(self.folder, trial)
        text = json.dumps({str(n): self._details[n] for n in history.trials}, ensure_ascii=False)
        return base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), COMPRESSION)).decode()


def header(summary: Summary, seal: str, rows: list[Row], spend: dict[str, Any]) -> dict[str, Any]:
    """Return what the top of the page says."""
    keeps = sum(row.outcome == "kept" and row.mode != "baseline" for row in rows)
    said = asdict(summary)
    del said["spend"]  # by role, as no JSON; the page shows the sums
    return said | {
        "path": "",  # where the run lies on this machine is nobody else's business
        "seal": seal,
        "n_trials": len(rows),
        "n_keeps": keeps,
        "hours": rows[-1].hours if rows else 0.0,
        "usd": spend["usd"],
        "tokens": spend["tokens"],
        "honest": (
            "The gain is measured on the search-validation crystals that chose the champion, so it leans to the "
            "good side; only official test folds, opened by a person after the search, are there for a claim."
        ),
    }


def spent(folder: RunFolder) -> dict[str, Any]:
    """Return what models were paid: in all and by trial; nothing where the offline team played alone."""
    by_trial: dict[int, float] = defaultdict(float)
    tokens = 0
    for line in read_spend(folder.path):
        by_trial[line.trial] += line.usd or 0.0
        tokens += line.prompt_tokens + line.completion_tokens
    return {"usd_by_trial": dict(by_trial), "usd": sum(by_trial.values()), "tokens": tokens}


def _search_panels(
    history: History, rows: list[Row], playbook: list[Technique], metric: str, better: str
) -> list[Panel]:
    scored = [row for row in rows if row.score is not None]
    panels: list[Panel] = []
    if scored:
        figure = search_figures.progress_figure(rows, metric, better)
        low, high = figure["layout"]["yaxis"].get("range", (None, None))
        outside = sum(not low <= row.score <= high for row in scored if row.score is not None) if low is not None else 0
        panels.append(
            {
                "id": "progress",
                "title": "Progress",
                "teaches": f"How low the {metric} came, when, and how far the intervals of the others reach below it.",
                "figures": [figure],
                "notes": _progress_notes(rows, outside, better),
            }
        )
    if rows:
        panels.append(
            {
                "id": "ideas",
                "title": "Idea graph",
                "teaches": "Which ideas led to the champion, what was tried beside them, and why each was kept or not: "
                "choose one.",
                "figures": [search_figures.graph_figure(history, rows)],
            }
        )
    if len(scored) > 1:
        panels.append(
            {
                "id": "axes",
                "title": "What was tried where",
                "teaches": "Which parts of the network were worked on, what came of it, and what was left alone.",
                "figures": [search_figures.coverage_figure(rows, playbook)],
            }
        )
    return panels


def _progress_notes(rows: list[Row], outside: int, better: str) -> list[str]:
    champions = [row.champion_score for row in rows if row.champion_score is not None]
    worse = 1 if better == "lower" else -1
    notes = []
    if any(worse * (after - before) > 1e-9 for before, after in pairwise(champions)):
        notes.append(
            "The line gets worse where the champion was trained again and the gain was luck, all of it or in part."
        )
    if outside:
        lie = "score lies" if outside == 1 else "scores lie"
        notes.append(f"{outside} {lie} outside the frame; a double click shows all.")
    return notes


def _crowding_panel(history: History, playbook: list[Technique]) -> list[Panel]:
    try:
        layout = ideas_map.lay_out(history, playbook)
    except LayoutError as error:
        return [{"id": "crowding", "title": "Crowding map", "teaches": f"{error}.", "figures": [], "notes": []}]
    if layout is None:
        return []
    tried = {name for trial in history.trials.values() for name in trial.idea.techniques}
    untried = sum(technique.id not in tried for technique in playbook)
    return [
        {
            "id": "crowding",
            "title": "Crowding map",
            "teaches": f"Where ideas crowd, and what lies open: {untried} of {len(playbook)} known techniques were not "
            "tried (hollow).",
            "figures": [ideas_map.map_figure(layout, history, playbook)],
            "notes": [
                "Near means alike in words. A plane cannot hold all of that: of the neighbourhoods "
                f"{layout.faithfulness:.0%} are kept (half would be chance). The axes have no unit."
            ],
        }
    ]


def _standing_panel(folder: RunFolder, summary: Summary) -> list[Panel]:
    config = folder.read_config()
    official = standing.official_results(folder)
    if not standing.applies(config, summary.source) or summary.champion is None:
        return []
    figure = standing.official_figure(config, official)
    if figure is None:
        return []
    looks = max((one["looks"] for one in official), default=0)
    ours = (
        f"This run's stars are measured there, after {looks} look{'s' if looks > 1 else ''} at that fold."
        if official
        else "This run has no result there yet, so it is not in this figure: team evaluate makes one."
    )
    return [
        {
            "id": "standing",
            "title": "Beside published results",
            "teaches": "How far the champion is from the field, as far as that can be said.",
            "blocks": [
                {
                    "title": "Search-validation: the rows that chose the champion",
                    "note": "Not comparable with the figure below: other rows, fewer crystals, another budget.",
                    "figure": standing.validation_figure(summary),
                },
                {
                    "title": "Official test folds",
                    "note": f"{ours} Bars span the folds of a published model (* pretrained on other data).",
                    "figure": figure,
                },
            ],
            "sources": standing.sources(config),
        }
    ]


def _error_panels(folder: RunFolder, history: History, kind: str, unit: str) -> list[Panel]:
    errors = anatomy.load_errors(folder, history) if kind == "regression" else None
    if errors is None:
        return []
    trainings = f"the mean of {errors.n_trainings} trainings" if errors.n_trainings > 1 else "one training"
    return [
        {
            "id": "errors",
            "title": "Where the champion is wrong",
            "teaches": "Which crystals make up the error that is left, and which of them the search has helped with.",
            "figures": [anatomy.parity_figure(errors, unit), anatomy.range_figure(errors, unit)],
            "confusion": anatomy.confusion(errors, unit),
            "worst": anatomy.worst_crystals(errors),
            "unit": unit,
            "notes": [f"Predictions are {trainings}; {len(errors.labels):,} search-validation crystals."],
        },
        {
            "id": "elements",
            "title": "Error by element",
            "teaches": "Whether the error sits with certain elements: the mean absolute error of crystals with it.",
            "figures": [anatomy.element_figure(errors, unit)],
            "notes": [f"Elements in fewer than {anatomy.MIN_CRYSTALS} of these crystals are left blank."],
        },
    ]


def _noise_panel(history: History, rows: list[Row], summary: Summary, metric: str) -> list[Panel]:
    chance = noise.chance_figure(rows)
    again = noise.replicates_figure(history, metric)
    time = noise.time_figure(history)
    figures = [figure for figure in (chance, again, time) if figure is not None]
    if not figures:
        return []
    kept = sum(row.outcome == "kept" and row.mode != "baseline" for row in rows)
    notes = []
    if summary.seed_noise is not None:
        notes.append(
            f"The same file trained with another random seed moves by {summary.seed_noise:.4f} {summary.unit} (one "
            f"standard deviation); {kept} change{'s were' if kept != 1 else ' was'} kept, and noise alone would "
            f"have made {summary.expected_false_keeps:g} keeps."
        )
    return [
        {
            "id": "noise",
            "title": "Noise and cost",
            "teaches": "Whether the keeps stand out from chance, and what the hours went into.",
            "figures": figures,
            "notes": notes,
        }
    ]


def _short(row: Row, history: History) -> dict[str, Any]:
    fields = asdict(row)
    for name in ("score", "low", "high", "gain", "gain_low", "gain_high", "z", "champion_score", "hours", "usd"):
        if fields[name] is not None:
            fields[name] = round(fields[name], 5)
    champion = history.champion
    fields["is_champion"] = champion is not None and champion.number == row.number
    fields["reason"] = fields["reason"][:600]
    return fields
