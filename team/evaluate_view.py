"""`team evaluate`: one official claim, with its looks, its interval, and what it must not be mistaken for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.markup import escape

from evaluation_locked.baselines import load_baselines
from graph.evaluation import evaluate, looks_of
from graph.run_folder import RunError, read_history
from team.running import cache_folder
from team.summary import open_console

if TYPE_CHECKING:
    from evaluation_locked.official import OfficialScore
    from graph.run_folder import RunConfig, RunFolder
    from memory.history import History

SHOWN_BASELINES = 5


def print_evaluation(
    folder: RunFolder, number: int | None, fold: int | None, train_seconds: float | None, seed: int, *, as_json: bool
) -> int:
    """Evaluate a trial, the champion where none is named, on an official fold and print the claim.

    Raises:
        RunError, DataError, ScoringError: There is nothing to evaluate, or it did not come to a score.
    """
    config, history = folder.read_config(), read_history(folder)
    if number is None:
        if history.champion is None:
            raise RunError(f"run {folder.name} has no champion yet: name a trial, or let it run first")
        number = history.champion.number
    if number not in history.trials:
        raise RunError(f"run {folder.name} has no trial {number}: `team graph {folder.name}` lists what there is")
    if fold is None:
        fold = config.task.split.fold
    seconds = config.task.caps.train_seconds if train_seconds is None else train_seconds
    print(f"trial {number} on official fold {fold}: {seconds:g} s of training", file=sys.stderr, flush=True)
    before = len(looks_of(folder))
    score = evaluate(
        folder,
        config,
        number,
        fold,
        train_seconds=train_seconds,
        seed=seed,
        cache=cache_folder(),
        on_phase=lambda phase: print(f"  {phase}", file=sys.stderr, flush=True),
    )
    looks = looks_of(folder)
    at_fold = sum(look.subject.fold == fold for look in looks)
    if as_json:
        facts = {"looks_at_fold": at_fold, "looks": len(looks), "new_look": len(looks) > before}
        print(json.dumps(score.model_dump(mode="json") | facts, indent=1))
        return 0
    console = open_console()
    for label, text in _lines(score, config, history, at_fold, len(looks), new=len(looks) > before):
        console.print(f"  [dim]{label:<14}[/dim]{text}")
    return 0


def _lines(
    score: OfficialScore, config: RunConfig, history: History, at_fold: int, total: int, *, new: bool
) -> list[tuple[str, str]]:
    subject = score.look.subject
    unit = f" {config.task.unit}" if config.task.score_metric.has_unit and config.task.unit else ""
    title = escape(history.trials[subject.trial].idea.title)
    lines = [
        ("official", f"fold {score.fold} of {score.task}: trial {subject.trial}, {title}"),
        (
            score.metric,
            f"[bold]{score.value:.4f}{unit}[/bold] [{score.low:.4f}, {score.high:.4f}] on {score.n_test:,} test "
            f"crystals, by MatBench's recorder; the mean predictor has {score.mean_predictor:.4f}",
        ),
        (
            "trained",
            f"{subject.train_seconds:g} s on all {score.n_train:,} training crystals of the fold, seed {subject.seed}",
        ),
    ]
    if published := published_at(score.task, score.fold):
        lines.append(("published", f"on this fold: {published}"))
    shown = "" if new else f", shown again: look {score.look.at_fold} of these"
    fold_looks, all_looks = _times(at_fold), _times(total)
    lines.append(("looks", f"{fold_looks} at fold {score.fold} by this run{shown}; {all_looks} in total"))
    search = history.mean_score(subject.trial)
    if search is not None:
        lines.append(
            (
                "search",
                f"{search:.4f}{unit} is another number: search-validation, which chose this file; do not claim it",
            )
        )
    if score.fold != config.task.split.fold:
        lines.append(
            (
                "beware",
                f"the search left out the test rows of fold {config.task.split.fold} alone: those of fold {score.fold} "
                "were among the rows that it could train and choose on",
            )
        )
    if not score.sealed:
        lines.append(("sandbox", "[red]off or too thin (`team doctor`): this score is unsealed[/red]"))
    return lines


def published_at(task: str, fold: int) -> str:
    """Return the best published figures for a fold, as text; empty where none are known."""
    rows = [row for row in load_baselines(task) if len(row.fold_mae) > fold and not row.pretrained]
    return ", ".join(f"{row.name} {row.fold_mae[fold]:.4f}" for row in rows[:SHOWN_BASELINES])


def _times(n: int) -> str:
    return f"{n} look{'' if n == 1 else 's'}"
