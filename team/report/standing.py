"""The champion beside published results, on two scales that are never one: search-validation, and the official folds.

A search-validation score is measured on rows that chose the champion, after another training, on another number of
crystals: it is drawn in a figure of its own. In the official figure our own results stand only where `team evaluate`
made some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evaluation_locked.baselines import load_baselines
from evaluation_locked.official import OfficialScore
from team.report.palette import BARS, BEST, SEED
from team.report.trials import plot_text, source_links

if TYPE_CHECKING:
    from graph.run_folder import RunConfig, RunFolder
    from team.summary import Summary

Figure = dict[str, Any]

MAX_BASELINES = 18
PUBLISHED = "#8f74d8"
PRETRAINED = "#a3851a"


def official_results(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the run's scores on official test folds, each with its count of looks; none before `team evaluate`."""
    found = []
    for path in sorted((folder.path / "official").glob("fold-*/*/score.json")):
        try:
            score = OfficialScore.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # `team verify` names a damaged file; a picture leaves it out
        look = score.look
        found.append(
            {
                "fold": score.fold,
                "trial": look.subject.trial,
                "value": score.value,
                "low": score.low,
                "high": score.high,
                "looks": look.at_fold,
            }
        )
    return found


def validation_figure(summary: Summary) -> Figure:
    """Return mean predictor, seed and champion on the rows of the search."""
    points = [
        ("always the mean", summary.mean_predictor, None, None, SEED, "line-ns-open"),
        ("the seed", summary.seed_score, None, None, SEED, "circle"),
        ("the champion", summary.champion_score, summary.champion_low, summary.champion_high, BEST, "star"),
    ]
    return _dots(
        [point for point in points if point[1] is not None],
        f"{summary.metric} {summary.unit} on {summary.n_validation:,} search-validation crystals",
    )


def official_figure(config: RunConfig, official: list[dict[str, Any]]) -> Figure | None:
    """Return published results on the official folds, and this run's; None where nothing is published."""
    published = [b for b in load_baselines(config.task.baselines) if b.official or b.fold_mae or b.pretrained]
    points = [
        (
            plot_text(b.name, 44) + (" *" if b.pretrained else ""),
            b.mae,
            min(b.fold_mae, default=None),
            max(b.fold_mae, default=None),
            PRETRAINED if b.pretrained else PUBLISHED,
            "diamond" if b.pretrained else "circle",
        )
        for b in published[:MAX_BASELINES]
    ]
    for one in official:
        name = f"this run: trial {one['trial']}, fold {one['fold']}, look {one['looks']}"
        points.append((name, one["value"], one["low"], one["high"], BEST, "star"))
    points.sort(key=lambda point: point[1], reverse=True)
    return _dots(points, f"{config.task.metric} {config.task.unit}, official test folds") if points else None


def sources(config: RunConfig) -> list[dict[str, Any]]:
    """Return where the published figures are from."""
    rows = load_baselines(config.task.baselines)
    return [
        {"name": b.name, "value": b.mae, "source": b.source, "note": b.note, "links": source_links(b.source)}
        for b in rows[:MAX_BASELINES]
    ]


def applies(config: RunConfig, source: str) -> bool:
    """Return whether the run's crystals are those of the task whose published figures its seed folder names."""
    return bool(config.task.baselines) and config.task.baselines in source


def _dots(points: list[Any], title: str) -> Figure:
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": [point[1] for point in points],
                "y": [point[0] for point in points],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [0 if p[3] is None else max(0.0, p[3] - p[1]) for p in points],
                    "arrayminus": [0 if p[2] is None else max(0.0, p[1] - p[2]) for p in points],
                    "thickness": 1.4,
                    "width": 3,
                    "color": BARS,
                },
                "marker": {"size": 11, "color": [p[4] for p in points], "symbol": [p[5] for p in points]},
                "hovertemplate": "%{y}: %{x:.4f}<extra></extra>",
                "showlegend": False,
            }
        ],
        "layout": {
            "height": 110 + 26 * len(points),
            "xaxis": {"title": {"text": title}, "rangemode": "tozero", "zeroline": False},
            "yaxis": {"automargin": True, "type": "category"},
            "hovermode": "closest",
        },
    }
