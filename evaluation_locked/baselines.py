"""What others have published on a task, for the user to measure a score against.

It owns the reading of `baselines.toml`; the figures and their sources are there. No decision is made by them: a
champion is decided by our own scores alone.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Baseline:
    """One published result.

    Attributes:
        task: MatBench's name of the task.
        name: Name of the model.
        mae: Mean absolute error in the unit of the task's property (eV for a gap): the mean over the scored folds.
        fold_mae: The same for each fold, in order; empty where not published.
        rmse: Root mean squared error in that unit, the mean over folds; None where not published.
        official: Whether it is on MatBench's leaderboard, which means scored on its five folds by its rules.
        pretrained: Whether the model was first trained on other data.
        source: Where the figure is from.
        note: What to know before comparing; empty for most.
    """

    task: str
    name: str
    mae: float
    fold_mae: tuple[float, ...]
    rmse: float | None
    official: bool
    pretrained: bool
    source: str
    note: str


def load_baselines(task: str) -> tuple[Baseline, ...]:
    """Return the published results on a task, best first; none for a task that we have no results of."""
    text = files("evaluation_locked").joinpath("baselines.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text).get(task, [])
    baselines = [
        Baseline(
            task=task,
            name=row["name"],
            mae=row["mae"],
            fold_mae=tuple(row.get("fold_mae", ())),
            rmse=row.get("rmse"),
            official=row["official"],
            pretrained=row["pretrained"],
            source=row["source"],
            note=row.get("note", ""),
        )
        for row in rows
    ]
    return tuple(sorted(baselines, key=lambda baseline: baseline.mae))
