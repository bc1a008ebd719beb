"""`team compare`: our predictions beside published ones, on the rows that both have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.markup import escape

from evaluation_locked.official import OfficialScore
from evaluation_locked.published import Order, Ours, compare_published
from graph.errors import RunError
from graph.evaluation import FOLDERS, bench_of
from graph.run_folder import read_history
from team.running import cache_folder
from team.summary import open_console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evaluation_locked.ensemble import Gain
    from evaluation_locked.published import Report
    from graph.recipe import Recipe
    from graph.run_folder import RunFolder


def print_comparison(
    folder: RunFolder, recipe: Recipe, files: Sequence[Path], *, search_rows: bool, as_json: bool
) -> int:
    """Compare a trial or the ensemble with published predictions and print a line for each.

    Official predictions are compared where the recipe was evaluated on folds; that is no new look, since nothing new is
    scored. Otherwise, or where asked, the search-validation rows are.

    Raises:
        RunError: There are no predictions of ours.
        DataError, ScoringError: A file cannot be read, or ours are not what was scored.
    """
    config = folder.read_config()
    ours = [] if search_rows else _of_folds(folder, recipe)
    if not ours:
        ours = [_of_search(folder, recipe)]
    bench = bench_of(folder, config, recipe, cache=cache_folder())
    order = Order(
        rows=bench.rows(0), locked=str(folder.locked), ours=tuple(ours), files=tuple(str(path) for path in files)
    )
    report = compare_published(order)
    if as_json:
        print(json.dumps(report.model_dump(mode="json"), indent=1))
        return 0
    console = open_console()
    folds = ", ".join(str(one.fold) for one in ours)
    where = (
        f"official folds {folds}, already looked at"
        if report.where == "official"
        else "search-validation rows, which chose this file; what is published was trained on more"
    )
    console.print(f"  [dim]{'ours':<12}[/dim]{recipe.name} on {where}")
    if report.ambiguous:
        console.print(f"  [dim]{'left out':<12}[/dim]{report.ambiguous} rows whose crystal the source holds twice")
    for line in _table(report):
        console.print(line)
    for reason in report.without:
        console.print(f"  [dim]{'without':<12}[/dim]{escape(reason)}")
    return 0


def _of_folds(folder: RunFolder, recipe: Recipe) -> list[Ours]:
    """Return the predictions on every fold that the recipe was scored on: of the longest training, the first seed."""
    best: dict[int, tuple[tuple[float, int], Ours]] = {}
    for path in sorted((folder.path / FOLDERS[""]).glob(f"fold-*/{recipe.slug}-*/score.json")):
        subject = OfficialScore.model_validate_json(path.read_text(encoding="utf-8")).look.subject
        ours = Ours(fold=subject.fold, path=str(path.parent / "predictions.npy"), sha=subject.predictions_sha)
        rank = (-subject.train_seconds, subject.seed)
        if subject.fold not in best or rank < best[subject.fold][0]:
            best[subject.fold] = (rank, ours)
    return [ours for _, (_, ours) in sorted(best.items())]


def _of_search(folder: RunFolder, recipe: Recipe) -> Ours:
    if not recipe.single:
        raise RunError(
            f"the ensemble of {folder.name} was not evaluated yet, so it has no predictions of its own: "
            f"`team evaluate {folder.name} --ensemble`, or compare a trial"
        )
    number = recipe.members[0].trial
    score = read_history(folder).trials[number].score
    if score is None:
        raise RunError(f"trial {number} of {folder.name} has no predictions: it did not finish")
    return Ours(fold=None, path=str(folder.trial(number) / "predictions.npy"), sha=score.predictions_sha)


def _table(report: Report) -> list[str]:
    if not report.beside:
        return ["  [dim]no model shares enough rows with ours[/dim]"]
    width = max(12, *(len(one.name) for one in report.beside))
    lines = [
        f"  [dim]{'model':<{width}}    rows    ours  theirs  ours better by                corr.  both joined[/dim]"
    ]
    for one in report.beside:
        lines.append(
            f"  {escape(f'{one.name:<{width}}')} {one.n:7,} {one.ours:7.4f} {one.theirs:7.4f}  {_gain(one.gain):<29} "
            f"{one.correlation:5.2f}  {one.together:.4f} ({_gain(one.gain_together)})"
        )
    lines.append(
        f"  [dim]{report.metric}; intervals draw formulas; corr. is that of absolute errors; joined is the mean of "
        "both, its gain over the better one[/dim]"
    )
    counts = {(one.n_ours, one.n_theirs) for one in report.beside if one.n < one.n_ours}
    lines += [f"  [dim]rows: we predict {ours:,}, they {theirs:,}[/dim]" for ours, theirs in sorted(counts)]
    return lines


def _gain(gain: Gain) -> str:
    return f"{gain.value:+.4f} \\[{gain.low:+.4f}, {gain.high:+.4f}]"
