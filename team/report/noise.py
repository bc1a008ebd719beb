"""Whether to believe the keeps, and what the run cost: the decisions against chance, the replicates, the time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation_locked.keep_rule import KEEP_Z, NEAR_MISS_Z
from team.report.palette import OUTCOME_COLOURS, OUTCOME_SYMBOLS, SEED
from team.report.trials import plot_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory.history import History
    from memory.records import TrialRecord
    from team.report.trials import Row

Figure = dict[str, Any]

LONGEST_Z = 8.0
MAX_GROUPS = 12
PHASES = {
    "train": ("train_seconds", "#3d86cc"),
    "featurise": ("featurise_seconds", "#0b9a6d"),
    "predict": ("predict_seconds", "#a3851a"),
    "smoke trial": ("smoke_seconds", "#d0690a"),
    "the team and the judge": ("overhead_seconds", "#858b96"),
}


def chance_figure(rows: Sequence[Row]) -> Figure | None:
    """Return the decided gains in standard errors beside what changes that do nothing would show; None without any."""
    z = np.array([row.z for row in rows if row.z is not None])
    if len(z) < 3:
        return None
    z = np.clip(z, -LONGEST_Z, LONGEST_Z)
    width = 0.5
    edges = np.arange(math.floor(z.min() / width) * width, max(z.max(), KEEP_Z) + width, width)
    at = np.linspace(-4, 4, 81)
    chance = len(z) * width * np.exp(-(at**2) / 2) / math.sqrt(2 * math.pi)
    counts, _ = np.histogram(z, edges)
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1}
    return {
        "data": [
            {
                "type": "bar",
                "name": "decided trials",
                "x": [round(float(e), 2) for e in edges[:-1] + width / 2],
                "y": [int(count) for count in counts],
                "width": [width * 0.92] * len(counts),
                "marker": {"color": "#3d86cc"},
                "hovertemplate": "%{y} trials near %{x} standard errors<extra></extra>",
            },
            {
                "type": "scatter",
                "name": "changes that do nothing",
                "mode": "lines",
                "x": [round(float(x), 2) for x in at],
                "y": [round(float(y), 3) for y in chance],
                "line": {"color": SEED, "dash": "dash"},
                "hoverinfo": "skip",
            },
        ],
        "layout": {
            "height": 330,
            "xaxis": {"title": {"text": "gain over the champion of the time, in standard errors"}, "zeroline": False},
            "yaxis": {"title": {"text": "trials"}},
            "bargap": 0,
            "shapes": [
                {**line, "x0": KEEP_Z, "x1": KEEP_Z, "line": {"color": OUTCOME_COLOURS["kept"], "width": 2}},
                {
                    **line,
                    "x0": NEAR_MISS_Z,
                    "x1": NEAR_MISS_Z,
                    "line": {"color": OUTCOME_COLOURS["near-miss"], "width": 1.5, "dash": "dot"},
                },
            ],
            "annotations": [
                _mark(KEEP_Z, f"{KEEP_Z:g} keeps", "left"),
                _mark(NEAR_MISS_Z, f"{NEAR_MISS_Z:g} trains again", "right"),
            ],
        },
    }


def replicates_figure(history: History, metric: str) -> Figure | None:
    """Return the scores of every file that was trained more than once, side by side; None where none was."""
    groups: dict[str, list[TrialRecord]] = {}
    for trial in history.trials.values():
        if trial.score is not None and trial.code_sha:
            groups.setdefault(trial.code_sha, []).append(trial)
    shown = [group for group in groups.values() if len(group) > 1][-MAX_GROUPS:]
    if not shown:
        return None
    names = [f"{group[0].number} {plot_text(group[0].idea.title, 40)}" for group in shown]
    scores = [(name, t) for name, group in zip(names, shown, strict=True) for t in group]
    return {
        "data": [
            {
                "type": "scatter",
                "name": "one training",
                "mode": "markers",
                "x": [t.score.value for _, t in scores if t.score],
                "y": [name for name, _ in scores],
                "customdata": [t.number for _, t in scores],
                "marker": {
                    "symbol": OUTCOME_SYMBOLS["replicate"],
                    "color": OUTCOME_COLOURS["replicate"],
                    "size": 10,
                    "opacity": 0.8,
                },
                "hovertemplate": "trial %{customdata}: %{x:.4f}<extra></extra>",
            },
            {
                "type": "scatter",
                "name": "mean",
                "mode": "markers",
                "x": [sum(t.score.value for t in group if t.score) / len(group) for group in shown],
                "y": names,
                "marker": {"symbol": "line-ns-open", "size": 18, "color": SEED, "line": {"width": 3}},
                "hovertemplate": "mean %{x:.4f}<extra></extra>",
            },
        ],
        "layout": {
            "height": 140 + 36 * len(shown),
            "xaxis": {"title": {"text": metric}, "zeroline": False},
            "yaxis": {"automargin": True, "autorange": "reversed"},
            "hovermode": "closest",
        },
    }


def time_figure(history: History) -> Figure | None:
    """Return where the hours went, one bar; None before the first trial."""
    totals = {name: sum(getattr(t, field) for t in history.trials.values()) for name, (field, _) in PHASES.items()}
    if not sum(totals.values()):
        return None
    unit, scale = ("hours", 3600.0) if sum(totals.values()) >= 3600 else ("minutes", 60.0)
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "x": [round(seconds / scale, 3)],
                "y": ["time"],
                "marker": {"color": PHASES[name][1]},
                "hovertemplate": f"{name}: %{{x:.2f}} {unit}<extra></extra>",
            }
            for name, seconds in totals.items()
        ],
        "layout": {
            "height": 190,
            "barmode": "stack",
            "xaxis": {"title": {"text": unit}, "zeroline": False},
            "yaxis": {"visible": False},
        },
    }


def _mark(x: float, text: str, side: str) -> Figure:
    return {
        "x": x,
        "y": 1,
        "yref": "paper",
        "text": text,
        "showarrow": False,
        "xanchor": side,
        "yanchor": "top",
        "font": {"size": 11},
    }
