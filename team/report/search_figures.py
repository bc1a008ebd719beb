"""Figures of the search: progress, the idea graph, and how far each axis was explored.

A figure is a plain Plotly specification (`data`, `layout`), which `plotly.graph_objects.Figure` takes as it is;
colours of page and text are left to the page, which has a light and a dark one.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from memory.records import AXES
from team.report.palette import BARS, BEST, OUTCOME_COLOURS, OUTCOME_SYMBOLS
from team.report.trials import plot_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memory.history import History
    from memory.techniques import Technique
    from team.report.trials import Row

Figure = dict[str, Any]

LANES = ("-", *AXES)  # from below: the seed and replicates, then the axes
LANE_SPREAD = 0.36
LABEL_CHARACTERS = 30
NAMED_KEEPS = 7  # more are numbered alone, or their names would cover each other
REACH = 0.6  # of the distance from best to seed: how far above the seed a score is still drawn


def progress_figure(rows: Sequence[Row], metric: str, better: str) -> Figure:
    """Return every score with its interval, and the champion's score as it went down, over trials, hours or money.

    `layout.meta.x` holds, for each choice of the horizontal axis, one list of positions a trace.
    """
    scored = [row for row in rows if row.score is not None]
    traces: list[Figure] = []
    positions: list[Sequence[Row]] = []
    steps = [row for row in rows if row.champion_score is not None]
    traces.append(
        {
            "type": "scatter",
            "name": "champion, mean of its trainings",
            "mode": "lines",
            "line": {"shape": "hv", "color": BEST, "width": 2.5},
            "y": [row.champion_score for row in steps],
            "hoverinfo": "skip",
        }
    )
    positions.append(steps)
    for outcome, group in _by_outcome(scored):
        traces.append(
            {
                "type": "scatter",
                "name": outcome,
                "mode": "markers",
                "marker": _marker(outcome, 13 if outcome == "kept" else 8),
                "y": [row.score for row in group],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [_above(row) for row in group],
                    "arrayminus": [_below(row) for row in group],
                    "thickness": 1,
                    "width": 0,
                    "color": _faint(OUTCOME_COLOURS[outcome]),
                },
                "customdata": [row.number for row in group],
                "text": [f"trial {row.number}, {outcome}: {plot_text(row.title, 60)}" for row in group],
                "hovertemplate": "%{text}<br>%{y:.4f}<extra></extra>",
            }
        )
        positions.append(group)
    choices: dict[str, list[list[float]]] = {
        "trials": [[row.number for row in group] for group in positions],
        "hours": [[round(row.hours, 5) for row in group] for group in positions],
    }
    if rows and rows[-1].usd > 0:
        choices["USD"] = [[round(row.usd, 5) for row in group] for group in positions]
    for trace, x in zip(traces, choices["trials"], strict=True):
        trace["x"] = x
    keeps = [row for row in scored if row.outcome == "kept"]
    return {
        "data": traces,
        "layout": {
            "meta": {"x": choices},
            "height": 400,
            "xaxis": {"title": {"text": "trials"}, "zeroline": False},
            "yaxis": {"title": {"text": metric}, "zeroline": False, **_reach(scored, better)},
            "hovermode": "closest",
            "annotations": [
                _keep_label(row, better, named=len(keeps) <= NAMED_KEEPS) for row in keeps if row.mode != "baseline"
            ],
        },
    }


def graph_figure(history: History, rows: Sequence[Row]) -> Figure:
    """Return who came from whom: a node a trial in the order tried, in the lane of its axis.

    The first trace is crowding, which the page shows on demand; the nodes' colour is their outcome's.
    """
    lanes = _lane_heights(rows)
    at = {row.number: row for row in rows}
    lineage = [(row.parent, row.number) for row in rows if row.parent is not None and row.mode != "replicate"]
    joins = [(other, row.number) for row in rows for other in row.also_from if other in at and other != row.number]
    crowding = [(other, row.number) for row in rows for other in row.nearest[:3] if other in at and other != row.number]
    champion = history.champion
    path = history.lineage(champion.number) if champion is not None else []
    edges: list[tuple[str, list[tuple[int, int]], Figure]] = [
        ("crowding", crowding, {"color": "#c75ba0", "width": 1, "dash": "dot"}),
        ("edited from", lineage, {"color": "#8d94a055", "width": 1}),
        ("joins or repeats", joins, {"color": "#3d86cc66", "width": 1, "dash": "dash"}),
        ("way to the champion", list(pairwise(path)), {"color": BEST, "width": 3}),
    ]
    traces: list[Figure] = []
    for name, pairs, line in edges:
        traces.append(
            {
                "type": "scatter",
                "name": name,
                "mode": "lines",
                "line": line,
                "x": [x for a, b in pairs for x in (a, b, None)],
                "y": [y for a, b in pairs for y in (lanes[a], lanes[b], None)],
                "hoverinfo": "skip",
                "showlegend": name != "crowding",
            }
        )
    for outcome, group in _by_outcome(rows):
        sizes = [_size(row, rows) for row in group]
        traces.append(
            {
                "type": "scatter",
                "name": outcome,
                "mode": "markers",
                "marker": _marker(outcome, sizes),
                "x": [row.number for row in group],
                "y": [lanes[row.number] for row in group],
                "customdata": [row.number for row in group],
                "text": [f"trial {row.number}, {outcome}: {plot_text(row.title, 60)}" for row in group],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    ticks = [f"{lane} {AXES[lane]}" if lane in AXES else "seed, replicates" for lane in LANES]
    return {
        "data": traces,
        "layout": {
            "height": 560,
            "xaxis": {"title": {"text": "trial"}, "zeroline": False, "showgrid": False},
            "yaxis": {
                "tickvals": list(range(len(LANES))),
                "ticktext": ticks,
                "zeroline": False,
                "range": [-0.6, len(LANES) - 0.4],
                "automargin": True,
            },
            "hovermode": "closest",
            "dragmode": "pan",
        },
    }


def coverage_figure(rows: Sequence[Row], playbook: Sequence[Technique]) -> Figure:
    """Return, for each axis, how many trials came to what, and what they gained on average beside their champion."""
    axes = list(AXES)[::-1]
    names = []
    for axis in axes:
        known = {technique.id for technique in playbook if technique.axis == axis}
        tried = {name for row in rows for name in row.techniques} & known
        held = f"<br>{len(tried)} of {len(known)} known techniques tried" if known else ""
        names.append(f"<b>{axis}</b> {AXES[axis]}{held}")
    traces: list[Figure] = []
    for outcome in OUTCOME_COLOURS:
        counts = Counter(row.axis for row in rows if row.outcome == outcome)
        if any(counts[axis] for axis in axes):
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": outcome,
                    "x": [counts[axis] for axis in axes],
                    "y": names,
                    "marker": {"color": OUTCOME_COLOURS[outcome], "pattern": {"shape": _PATTERNS[outcome], "size": 6}},
                    "hovertemplate": f"%{{x}} {outcome}<extra></extra>",
                }
            )
    means, low, high, said = [], [], [], []
    for axis in axes:
        gains = [row.gain for row in rows if row.axis == axis and row.gain is not None]
        mean, error = _mean_and_error(gains)
        means.append(mean)
        low.append(error)
        high.append(error)
        said.append(f"{len(gains)} decided")
    traces.append(
        {
            "type": "scatter",
            "name": "mean gain, 95 % of the mean",
            "mode": "markers",
            "x": means,
            "y": names,
            "xaxis": "x2",
            "marker": {"symbol": "diamond", "size": 10, "color": "#3d86cc"},
            "error_x": {"type": "data", "array": high, "arrayminus": low, "thickness": 1.5, "width": 4, "color": BARS},
            "text": said,
            "hovertemplate": "%{x:+.4f}, %{text}<extra></extra>",
        }
    )
    return {
        "data": traces,
        "layout": {
            "height": 400,
            "barmode": "stack",
            "xaxis": {"domain": [0, 0.56], "title": {"text": "trials"}, "zeroline": False},
            "xaxis2": {"domain": [0.62, 1], "title": {"text": "mean gain over the champion"}, "anchor": "y"},
            "yaxis": {"automargin": True, "range": [-0.5, len(axes) - 0.5]},
        },
    }


_PATTERNS = {
    "kept": "",
    "discarded": "/",
    "near-miss": "x",
    "replicate": "|",
    "crashed": "-",
    "rejected": ".",
    "set-aside": "+",
}


def _by_outcome(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {outcome: [] for outcome in OUTCOME_COLOURS}
    for row in rows:
        groups[row.outcome].append(row)
    kept = groups.pop("kept")  # drawn last, above the others
    return [(outcome, group) for outcome, group in (*groups.items(), ("kept", kept)) if group]


def _marker(outcome: str, size: float | list[float]) -> Figure:
    return {
        "symbol": OUTCOME_SYMBOLS[outcome],
        "color": OUTCOME_COLOURS[outcome],
        "size": size,
        "opacity": 1,
        "line": {"width": 0},
    }


def _above(row: Row) -> float:
    return max(0.0, (row.high or 0.0) - (row.score or 0.0))


def _below(row: Row) -> float:
    return max(0.0, (row.score or 0.0) - (row.low or 0.0))


def _faint(colour: str) -> str:
    return f"{colour}77"


def _keep_label(row: Row, better: str, *, named: bool) -> Figure:
    below = better == "lower"
    return {
        "x": row.number,
        "y": row.score,
        "text": f"{row.number} {plot_text(row.title, LABEL_CHARACTERS)}" if named else str(row.number),
        "showarrow": True,
        "arrowwidth": 1,
        "arrowhead": 0,
        "ax": 14,
        "ay": 34 if below else -34,
        "xanchor": "left",
        "font": {"size": 11},
        "name": str(row.number),
    }


def _reach(scored: Sequence[Row], better: str) -> Figure:
    """Return the range of the score's axis: scores far worse than the seed would press all others together."""
    if not scored or scored[0].score is None:
        return {}
    values = np.array([row.score for row in scored], dtype=float)
    seed = float(values[0])
    sign = 1.0 if better == "lower" else -1.0
    best, worst = float((sign * values).min()), float((sign * values).max())
    width = max(sign * seed - best, 0.1 * abs(seed))
    far = min(worst, sign * seed + REACH * width)
    ends = sorted((sign * (best - 0.35 * width), sign * (far + 0.15 * width)))
    return {"range": ends}


def _lane_heights(rows: Sequence[Row]) -> dict[int, float]:
    """Return a height for each trial in the lane of its axis, so that neighbours in it do not cover each other."""
    heights: dict[int, float] = {}
    seen: Counter[str] = Counter()
    spread = (0.0, 0.55, -0.55, 1.0, -1.0)
    for row in rows:
        heights[row.number] = LANES.index(row.axis) + LANE_SPREAD * spread[seen[row.axis] % len(spread)]
        seen[row.axis] += 1
    return heights


def _size(row: Row, rows: Sequence[Row]) -> float:
    """Return a node's size: the seed's and a trial's without gain is small, and the area grows with the gain."""
    top = max((other.gain for other in rows if other.gain is not None and other.outcome == "kept"), default=0.0)
    if row.gain is None or row.gain <= 0 or top <= 0:
        return 9.0 if row.outcome != "kept" else 13.0
    return round(9.0 + 15.0 * min(1.0, row.gain / top) ** 0.5, 1)


def _mean_and_error(values: Sequence[float]) -> tuple[float | None, float]:
    """Return the mean and half of its 95 % interval, 0 where one value shows no spread."""
    if not values:
        return None, 0.0
    if len(values) == 1:
        return float(values[0]), 0.0
    return float(np.mean(values)), float(1.96 * np.std(values, ddof=1) / np.sqrt(len(values)))
