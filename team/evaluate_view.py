"""`team evaluate`: a claim over folds, with its looks, its intervals, and what it must not be mistaken for."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape

from evaluation_locked.baselines import load_baselines
from evaluation_locked.official import n_folds_of
from evaluation_locked.scorer import ScoringError
from graph.errors import RunError
from graph.evaluation import bench_of, looks_of
from graph.folds import evaluate_folds
from graph.recipe import read_ensemble, recipe_of
from graph.run_folder import read_history
from graph.submission import submission_folder, write_submission
from team.running import cache_folder
from team.summary import open_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation_locked.official import OfficialScore, OwnFolds
    from graph.folds import FoldResult
    from graph.recipe import Recipe
    from graph.run_folder import RunConfig, RunFolder
    from memory.history import History

SHOWN_BASELINES = 9
Z95 = 1.96


@dataclass(frozen=True)
class Wish:
    """What was typed.

    Attributes:
        trial: None for the champion.
        ensemble: Evaluate the run's ensemble instead.
        folds: `all`, or numbers with commas; None for the fold that the search left out.
        n_seeds: Trainings of each fold.
        seed: The first of their seeds.
        workers: Trainings at once; None for one a GPU.
        own: See `evaluation_locked.official.Rows`.
    """

    trial: int | None = None
    ensemble: bool = False
    folds: str | None = None
    train_seconds: float | None = None
    n_seeds: int = 1
    seed: int = 0
    workers: int | None = None
    own: OwnFolds = ""
    authors: str = ""


@dataclass(frozen=True)
class Mean:
    """A figure over folds and seeds.

    Attributes:
        value: Mean over folds of the mean over seeds.
        low: Lower end of the 95 % interval over crystals.
        high: Upper end.
        between_folds: Standard deviation of the folds' values.
        between_seeds: Standard deviation of the mean over folds between seeds, None of one seed.
    """

    value: float
    low: float
    high: float
    between_folds: float | None
    between_seeds: float | None


def print_evaluation(folder: RunFolder, wish: Wish, *, as_json: bool) -> int:
    """Evaluate a trial, the champion or the ensemble on folds, print the claim, write the submission.

    Returns:
        0; 1 where a fold came to no score.

    Raises:
        RunError, DataError, SandboxError: There is nothing to evaluate.
    """
    config, history = folder.read_config(), read_history(folder)
    recipe = read_ensemble(folder) if wish.ensemble else recipe_of(folder, chosen_trial(folder, history, wish.trial))
    bench = bench_of(folder, config, recipe, train_seconds=wish.train_seconds, own=wish.own, cache=cache_folder())
    n_folds = n_folds_of(bench.rows(0))
    folds, seeds = read_folds(wish.folds, n_folds, config.task.split.fold), range(wish.seed, wish.seed + wish.n_seeds)
    seconds = bench.spec.caps.train_seconds
    _note(
        f"{recipe.name} on fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}: {seconds:g} s of training"
        f" x {len(folds) * len(seeds) * len(recipe.members)}; what is done already is not trained again"
    )
    before = len(looks_of(folder, wish.own))
    results: list[FoldResult] = []
    phases = evaluate_folds(
        bench,
        recipe,
        folds,
        seeds,
        wish.workers,
        lambda fold, seed, phase: _note(f"  fold {fold} seed {seed} {phase}"),
        _note,
    )
    for result in phases:
        results.append(result)
        told = result.trouble if result.score is None else f"{result.score.metric} {result.score.value:.4f}"
        _note(f"  fold {result.fold} seed {result.seed}: {told}")
    results.sort(key=lambda r: (r.seed, r.fold))
    looks = looks_of(folder, wish.own)
    scores = [r.score for r in results if r.score is not None]
    failed = [r for r in results if r.score is None]
    written, missing = _submit(folder, wish, config, history, recipe, results, n_folds) if scores else (None, "")
    if as_json:
        print(json.dumps(_facts(scores, failed, looks, before, written, wish.own), indent=1))
        return int(bool(failed))
    console = open_console()
    if scores:
        for label, text in _lines(scores, config, history, recipe, looks, before):
            console.print(f"  [dim]{label:<14}[/dim]{text}")
    for result in failed:
        console.print(f"  [red]failed[/red]        fold {result.fold}, seed {result.seed}: {escape(result.trouble)}")
    if written is not None:
        word = "read back by MatBench's loader, its scores ours to 1e-6"
        blank = "" if wish.authors else "; info.json wants authors and a reference"
        console.print(f"  [dim]{'submission':<14}[/dim]{written} ({word}{blank})")
    elif missing:
        console.print(f"  [dim]{'submission':<14}[/dim]none: {missing}")
    return int(bool(failed))


def chosen_trial(folder: RunFolder, history: History, number: int | None) -> int:
    """Return the trial that was named, the champion where none was.

    Raises:
        RunError: There is no such trial, or no champion yet.
    """
    if number is None:
        if history.champion is None:
            raise RunError(f"run {folder.name} has no champion yet: name a trial, or let it run first")
        return history.champion.number
    if number not in history.trials:
        raise RunError(f"run {folder.name} has no trial {number}: `team graph {folder.name}` lists what there is")
    return number


def read_folds(text: str | None, n_folds: int, left_out: int) -> list[int]:
    """Return the folds that a text names.

    Raises:
        RunError: It names none, or one that is not there.
    """
    if text is None:
        return [left_out]
    if text.strip() == "all":
        return list(range(n_folds))
    try:
        folds = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise RunError(f"--folds {text!r} names no folds: give `all`, or numbers such as 0,1") from error
    if strange := [fold for fold in folds if not 0 <= fold < n_folds]:
        raise RunError(f"there is no fold {strange[0]}: the folds are 0 to {n_folds - 1}")
    return folds


def mean_of(scores: Sequence[OfficialScore]) -> Mean:
    """Return the mean over folds and seeds, with the interval that the draw of test crystals makes.

    Test folds hold different crystals, so that their errors add as squares; seeds share the crystals of a fold.
    """
    folds = sorted({score.fold for score in scores})
    seeds = sorted({score.look.subject.seed for score in scores})
    by_fold = [np.mean([s.value for s in scores if s.fold == fold]) for fold in folds]
    errors = [np.mean([s.standard_error for s in scores if s.fold == fold]) for fold in folds]
    by_seed = [np.mean([s.value for s in scores if s.look.subject.seed == seed]) for seed in seeds]
    value, error = float(np.mean(by_fold)), sqrt(float(np.square(errors).sum())) / len(folds)
    return Mean(
        value=value,
        low=value - Z95 * error,
        high=value + Z95 * error,
        between_folds=float(np.std(by_fold, ddof=1)) if len(folds) > 1 else None,
        between_seeds=float(np.std(by_seed, ddof=1)) if len(seeds) > 1 else None,
    )


def parts_of(scores: Sequence[OfficialScore]) -> dict[str, tuple[float, float, int]]:
    """Return the mean of each part over folds, its standard error, and the crystals in it (each counted once)."""
    held: dict[str, tuple[float, float, int]] = {}
    for name in dict.fromkeys(part.name for score in scores for part in score.parts):
        parts = [part for score in scores for part in score.parts if part.name == name]
        n_seeds = len({score.look.subject.seed for score in scores})
        error = sqrt(sum(part.standard_error**2 for part in parts) / n_seeds) / (len(parts) / n_seeds)
        held[name] = (float(np.mean([p.value for p in parts])), error, sum(p.n for p in parts) // n_seeds)
    return held


def _submit(
    folder: RunFolder,
    wish: Wish,
    config: RunConfig,
    history: History,
    recipe: Recipe,
    results: Sequence[FoldResult],
    n_folds: int,
) -> tuple[str | None, str]:
    """Write the submission folder of the first seed; return where it is, or why there is none."""
    if wish.own:
        return None, "folds of our own are not MatBench's"
    scores = [r.score for r in results if r.seed == wish.seed and r.score is not None]
    if lacking := sorted(set(range(n_folds)) - {score.fold for score in scores}):
        return (
            None,
            f"fold{'s' if len(lacking) > 1 else ''} {', '.join(map(str, lacking))} of {n_folds} without a score",
        )
    bench = bench_of(folder, config, recipe, train_seconds=wish.train_seconds, cache=cache_folder())
    champion = history.champion.number if history.champion is not None else None
    place = submission_folder(folder, recipe, champion)
    try:
        write_submission(place, bench, recipe, wish.seed, scores, f"{folder.name} {recipe.name}", wish.authors)
    except ScoringError as error:
        return None, str(error)
    return str(place), ""


def _facts(
    scores: Sequence[OfficialScore],
    failed: Sequence[FoldResult],
    looks: Sequence[Any],
    before: int,
    written: str | None,
    own: OwnFolds,
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "official": not own,
        "folds": [score.model_dump(mode="json") for score in scores],
        "failed": [{"fold": r.fold, "seed": r.seed, "trouble": r.trouble} for r in failed],
        "looks": len(looks),
        "new_looks": len(looks) - before,
        "submission": written,
    }
    if scores:
        facts["mean"] = asdict(mean_of(scores))
        facts["parts"] = {
            name: {"value": value, "standard_error": error, "n": n}
            for name, (value, error, n) in parts_of(scores).items()
        }
        facts["published"] = [asdict(row) for row in load_baselines(scores[0].task)] if not own else []
    return facts


def _lines(
    scores: Sequence[OfficialScore],
    config: RunConfig,
    history: History,
    recipe: Recipe,
    looks: Sequence[Any],
    before: int,
) -> list[tuple[str, str]]:
    first, mean = scores[0], mean_of(scores)
    subject = first.look.subject
    unit = f" {config.task.unit}" if config.task.score_metric.has_unit and config.task.unit else ""
    title = escape(history.trials[subject.trial].idea.title) if recipe.single else ""
    kind = f"NOT official: {first.own} folds of {first.task}" if first.own else f"{first.task}"
    judge = "our metric" if first.own else "MatBench's recorder"
    lines = [("own folds" if first.own else "official", f"{kind}: {recipe.name}{f', {title}' if title else ''}")]
    for score in scores:
        seed = f", seed {score.look.subject.seed}" if mean.between_seeds is not None else ""
        lines.append(
            (
                f"fold {score.fold}{seed}",
                f"[bold]{score.value:.4f}{unit}[/bold] [{score.low:.4f}, {score.high:.4f}] on {score.n_test:,} test "
                f"crystals, by {judge}; the mean predictor has {score.mean_predictor:.4f}",
            )
        )
    if len(scores) > 1:
        spread = "" if mean.between_folds is None else f"; folds differ by {mean.between_folds:.4f} (std)"
        if mean.between_seeds is not None:
            spread += f", seeds by {mean.between_seeds:.4f}"
        n_folds = len({score.fold for score in scores})
        lines.append(
            (
                first.metric,
                f"[bold]{mean.value:.4f}{unit}[/bold] [{mean.low:.4f}, {mean.high:.4f}], mean over {n_folds} folds"
                f"{spread}",
            )
        )
    parts = [f"{name} {value:.4f} +- {error:.4f} ({n:,})" for name, (value, error, n) in parts_of(scores).items()]
    if parts:
        lines.append(("parts", "; ".join(parts)))
    sums = "" if recipe.single else f", the sum over {len(recipe.members)} members"
    lines.append(
        (
            "trained",
            f"{subject.train_seconds:g} s a fold{sums}, on all {first.n_train:,} training crystals of it",
        )
    )
    if not first.own:
        lines += [("published", line) for line in published_lines(scores)]
    lines.append(("looks", _looks_line(scores, looks, before)))
    lines += _cautions(scores, config, history, recipe, unit)
    return lines


def published_lines(scores: Sequence[OfficialScore]) -> list[str]:
    """Return the published results of the task beside ours, fold by fold, as lines of equal columns."""
    first = scores[0]
    if first.metric != "mae" or not (rows := [row for row in load_baselines(first.task) if not row.pretrained]):
        return []
    folds = sorted({score.fold for score in scores})
    ours = {fold: float(np.mean([s.value for s in scores if s.fold == fold])) for fold in folds}
    table = [(row.name, {f: row.fold_mae[f] for f in folds if len(row.fold_mae) > f}, row.mae) for row in rows]
    mean = float(np.mean(list(ours.values())))
    held = sorted([*table[:SHOWN_BASELINES], ("this file", ours, mean)], key=lambda row: row[2])
    width = max(len(name) for name, _, _ in held)
    every = len(folds) == 5
    lines = [f"{'MAE':{width}}" + "".join(f"  fold {fold}" for fold in folds) + ("    mean" if every else "    all 5")]
    for name, by_fold, value in held:
        cells = "".join(f"{by_fold[f]:8.4f}" if f in by_fold else f"{'-':>8}" for f in folds)
        last = f"{value:8.4f}" if every or name != "this file" else f"{'-':>8}"
        lines.append(f"{escape(f'{name:{width}}')}{cells}{last}")
    return lines


def _looks_line(scores: Sequence[OfficialScore], looks: Sequence[Any], before: int) -> str:
    counted = [
        f"{_times(sum(look.subject.fold == fold for look in looks))} at fold {fold}"
        for fold in sorted({score.fold for score in scores})
    ]
    new = len(looks) - before
    shown = f"{new} of them new" if new else "shown again, none of them new"
    return f"{', '.join(counted)} by this run, {shown}; {_times(len(looks))} in total"


def _cautions(
    scores: Sequence[OfficialScore], config: RunConfig, history: History, recipe: Recipe, unit: str
) -> list[tuple[str, str]]:
    lines = []
    left_out, first = config.task.split.fold, scores[0]
    search = history.mean_score(first.look.subject.trial) if recipe.single else None
    if search is not None:
        lines.append(
            (
                "search",
                f"{search:.4f}{unit} is another number: search-validation, which chose this file; do not claim it",
            )
        )
    if first.own == "grouped":
        told = "the search could train and choose on rows of every fold that is grouped by formula"
        lines.append(("beware", told))
    elif others := sorted({score.fold for score in scores} - {left_out}):
        lines.append(
            (
                "beware",
                f"the search left out the test rows of fold {left_out} alone: those of fold"
                f"{'s' if len(others) > 1 else ''} {', '.join(map(str, others))} were among the rows that it could "
                "train and choose on",
            )
        )
    if not all(score.sealed for score in scores):
        lines.append(("sandbox", "[red]off or too thin (`team doctor`): this score is unsealed[/red]"))
    return lines


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _times(n: int) -> str:
    return f"{n} look{'' if n == 1 else 's'}"
