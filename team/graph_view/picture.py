"""A run as a still picture, by matplotlib: the idea graph as an indented tree, and the progress over trials.

For paper, slides and documentation; `team report` has the same to click on. Outcomes differ by shape and by colour.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from memory.records import AXES
from team.graph_view.layout import lay_out, shown_parent
from team.plain import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from graph.run_folder import RunConfig
    from memory.history import History

# Colour and shape of an outcome. The colours keep a contrast of three to one on white.
MARKS: dict[str, tuple[str, str]] = {
    "kept": ("#0b7d58", "*"),
    "discarded": ("#787e89", "o"),
    "near-miss": ("#b85c05", "D"),
    "replicate": ("#2f76b8", "s"),
    "crashed": ("#c23f7f", "X"),
    "rejected": ("#7c60c9", "v"),
    "set-aside": ("#c93535", "h"),
}
INK, FAINT = "#1f2328", "#787e89"
ROW_INCHES, MAX_INCHES = 0.27, 60.0
TITLE_CHARACTERS = 62
NAMED_ROWS = 200  # beyond that many rows only keeps have words


class Picture(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        self.savefig(held, format="png", dpi=110, bbox_inches="tight")
        return held.getvalue()


def graph_picture(history: History, config: RunConfig, numbers: Sequence[int] | None = None) -> Picture:
    """Return the idea graph: a row a trial, indented below the trial that it edits; the way to the champion is bold.

    Args:
        history: Of the run.
        config: Of the run, for its name and unit.
        numbers: The trials to show, all where it is None.
    """
    places = lay_out(history, numbers)
    at = {place.number: place for place in places}
    n_rows, depth = len(places), max((place.depth for place in places), default=0)
    height = min(MAX_INCHES, 1.3 + ROW_INCHES * max(n_rows, 3))
    figure = Picture(figsize=(11, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    champion = history.champion
    best = set(history.lineage(champion.number)) if champion is not None else set()
    for place in places:
        parent = shown_parent(history, place.number, set(at))
        if parent is not None:
            on_way = place.number in best and parent in best
            x, y = at[parent].depth, at[parent].row
            color, width = (MARKS["kept"][0], 2.2) if on_way else ("#b9bec7", 1.0)
            axes.plot([x, x, place.depth], [y, place.row, place.row], color=color, lw=width, zorder=1 + on_way)
    named = n_rows <= NAMED_ROWS
    words_at = depth + 0.45
    for place in places:
        colour, mark = MARKS[history.outcome(place.number)]
        big = 150 if mark == "*" else 46
        axes.scatter(place.depth, place.row, s=big, c=colour, marker=mark, zorder=3, edgecolors="white", linewidths=0.6)
        if named or place.number in best:
            axes.plot([place.depth, words_at], [place.row] * 2, color="#d5d9df", lw=0.7, ls=(0, (1, 3)), zorder=0)
            _words(axes, history, place.number, words_at, place.row, bold=place.number in best)
    axes.set_xlim(-0.4, words_at + max(5.5, 1.1 * depth))
    axes.set_ylim(n_rows - 0.4, -0.8)
    axes.axis("off")
    shown = {history.outcome(place.number) for place in places}
    _legend(axes, [outcome for outcome in MARKS if outcome in shown])
    left_out = "" if named else f"; words for the champion's way alone, of {n_rows} trials"
    axes.set_title(
        _literal(f"{config.name}: {config.task.title}{left_out}"), loc="left", fontsize=11, color=INK, fontweight="bold"
    )
    return figure


def progress_picture(history: History, config: RunConfig) -> Picture:
    """Return each trial's score with its 95 % interval over crystals, and the champion's score as it moved."""
    metric = config.task.score_metric
    unit = f" ({config.task.unit})" if metric.has_unit else ""
    figure = Picture(figsize=(10, 5), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    for outcome, (colour, mark) in MARKS.items():
        scored = [
            (n, t.score) for n, t in history.trials.items() if t.score is not None and history.outcome(n) == outcome
        ]
        if not scored:
            continue
        numbers, values = [n for n, _ in scored], [score.value for _, score in scored]
        spread = [[s.value - s.low for _, s in scored], [s.high - s.value for _, s in scored]]
        axes.errorbar(numbers, values, yerr=spread, fmt="none", ecolor=colour, alpha=0.45, lw=1.2, zorder=2)
        axes.scatter(numbers, values, s=140 if mark == "*" else 44, c=colour, marker=mark, label=outcome, zorder=3)
    best = _best_over_trials(history)
    if best:
        end = max(history.trials)
        numbers, values = [n for n, _ in best], [value for _, value in best]
        axes.step(
            [*numbers, end],
            [*values, values[-1]],
            where="post",
            color=MARKS["kept"][0],
            lw=2,
            label="champion",
            zorder=1,
        )
    failed = [n for n, t in history.trials.items() if t.score is None]
    if failed:
        line = axes.get_xaxis_transform()
        axes.scatter(failed, [0.02] * len(failed), marker="|", c=MARKS["crashed"][0], transform=line, label="no score")
    axes.set_xlabel("trial")
    axes.set_ylabel(_literal(f"{metric.name}{unit} on search-validation"))
    axes.set_title(
        _literal(f"{config.name}: {config.task.title}"), loc="left", fontsize=11, fontweight="bold", color=INK
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _best_over_trials(history: History) -> list[tuple[int, float]]:
    """Return the champion's mean score from each trial on that was kept and still is, in the order of keeping."""
    steps = []
    for number in sorted(history.keeps):
        mean = history.mean_score(number)
        if mean is not None:
            steps.append((number, mean))
    return steps


def _words(axes: Axes, history: History, number: int, x: float, y: float, *, bold: bool) -> None:
    record = history.trials[number]
    idea, judged = record.idea, history.decisions.get(number, record)
    title = plain(idea.title)
    title = title if len(title) <= TITLE_CHARACTERS else title[: TITLE_CHARACTERS - 1].rstrip() + "…"
    gain = f" ({judged.gain:+.4f})" if judged.gain is not None else ""
    score = f" · {record.score.value:.4f}{gain}" if record.score is not None else f" · {history.outcome(number)}"
    axis = f" · {AXES[idea.axis]}" if idea.axis in AXES else ""
    joined = [str(n) for n in idea.also_from if n != idea.parent]
    joins = f" · takes from {', '.join(joined)}" if joined and idea.mode != "replicate" else ""
    weight: Any = "bold" if bold else "normal"
    note: Any = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
    text = axes.annotate(
        _literal(f"{number}  {title}"), (x, y), (0, 0), fontsize=9, color=INK, fontweight=weight, **note
    )
    axes.annotate(_literal(f"{score}{axis}{joins}"), (1, 0.5), (0, 0), xycoords=text, fontsize=8.5, color=FAINT, **note)


def _legend(axes: Axes, outcomes: list[str]) -> None:
    handles = [
        Line2D([], [], linestyle="", marker=MARKS[o][1], color=MARKS[o][0], label=o, markersize=7) for o in outcomes
    ]
    if handles:
        axes.legend(
            handles=handles, ncols=len(handles), frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(0, 0)
        )


def _literal(text: str) -> str:
    """Return text in which matplotlib reads no mathematics."""
    return plain(text).replace("$", r"\$")
