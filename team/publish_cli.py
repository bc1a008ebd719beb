"""What can be typed once a search has found something: official claims, ensembles, predictions, comparisons."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from team.completion import complete_trial
from team.options import JsonOption, RunArgument, RunsOption

if TYPE_CHECKING:
    from evaluation_locked.official import OwnFolds


class FoldKind(StrEnum):
    """Folds of our own."""

    KFOLD = "kfold"
    GROUPED = "grouped"


TrialOption = Annotated[
    int | None, typer.Option(min=0, help="Trial [default: the champion]", autocompletion=complete_trial)
]
EnsembleOption = Annotated[bool, typer.Option("--ensemble", help="The run's ensemble, see `team ensemble`.")]
SecondsOption = Annotated[float | None, typer.Option(min=1, max=1e7, help="Training budget [default: that of the run]")]


def evaluate(
    name: RunArgument = None,
    folds: Annotated[
        str | None,
        typer.Option("--folds", "--fold", help="`all`, or such as 0,1 [default: the fold that the search left out]"),
    ] = None,
    trial: TrialOption = None,
    ensemble: EnsembleOption = False,
    train_seconds: SecondsOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each fold, each with a seed of its own.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed; that of the submission.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Folds at once [default: one a GPU]")] = None,
    own_folds: Annotated[
        FoldKind | None,
        typer.Option(help="Score a source that is no official task on folds of our own, which are not official."),
    ] = None,
    authors: Annotated[str, typer.Option(help="For the submission's info.json.")] = "",
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Claim an official score: train on all training rows of MatBench's folds, and look once at each one's test rows.

    Every look is counted in the run, before its score is shown, and printed with every claim. Where all folds have a
    score, a submission folder is written. What an interrupted call has done, the next one does not do again.
    """
    from team.evaluate_view import Wish, print_evaluation
    from team.running import find_run

    own: OwnFolds = own_folds.value if own_folds is not None else ""  # type: ignore[assignment]
    wish = Wish(trial, ensemble, folds, train_seconds, seeds, seed, workers, own, authors)
    raise typer.Exit(print_evaluation(find_run(runs, name), wish, as_json=as_json))


def add_to(app: typer.Typer) -> None:
    """Add these commands to the `team` command."""
    for command in (evaluate,):
        app.command()(command)
