"""What can be typed once a search has found something: official claims, ensembles, predictions, comparisons."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from team.completion import complete_trial
from team.options import JsonOption, NamedRun, RunArgument, RunsOption

if TYPE_CHECKING:
    from evaluation_locked.ensemble import Rule
    from evaluation_locked.official import OwnFolds


class FoldKind(StrEnum):
    """Folds of our own."""

    KFOLD = "kfold"
    GROUPED = "grouped"


class Combination(StrEnum):
    """How predictions are combined."""

    MEDIAN = "median"
    MEAN = "mean"


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

    own: OwnFolds = own_folds.value if own_folds is not None else ""
    wish = Wish(trial, ensemble, folds, train_seconds, seeds, seed, workers, own, authors)
    raise typer.Exit(print_evaluation(find_run(runs, name), wish, as_json=as_json))


def ensemble(
    name: RunArgument = None,
    size: Annotated[int, typer.Option(min=2, max=20, help="Most members.")] = 5,
    combine: Annotated[
        Combination | None, typer.Option(help="How predictions are combined [default: median for MAE, else mean]")
    ] = None,
    penalty: Annotated[
        float | None, typer.Option(min=0, help="Cost of full crowding, as a share of the best score [default: 0.02]")
    ] = None,
    repeats: Annotated[bool, typer.Option("--repeats", help="Let a training be taken again, for more weight.")] = False,
    equal_budget: Annotated[
        bool,
        typer.Option("--equal-budget", help="Also train what the same budget buys of the champion, and compare."),
    ] = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Choose trials whose predictions are better together, and say what that is worth on rows that did not choose.

    Nothing is trained without --equal-budget. What is chosen is kept as the run's ensemble, for other commands.
    """
    from team.ensemble_view import print_ensemble
    from team.running import find_run

    rule: Rule | None = combine.value if combine is not None else None
    folder = find_run(runs, name)
    code = print_ensemble(folder, size, rule, penalty, repeats=repeats, equal_budget=equal_budget, as_json=as_json)
    raise typer.Exit(code)


def predict(
    name: NamedRun,
    structures: Annotated[
        list[Path], typer.Argument(metavar="STRUCTURES...", help="CIF, POSCAR or JSON files, or folders of them.")
    ],
    trial: TrialOption = None,
    ensemble: EnsembleOption = False,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each file; their spread is shown.")] = 3,
    train_seconds: SecondsOption = None,
    out: Annotated[Path | None, typer.Option(help="Write a .csv or .json file in place of standard output.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out structures that cannot be used.")] = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Predict structures of your own with the champion, a trial or the ensemble; a table comes out.

    The file is trained on all crystals that the search could use, in the sandbox. A file that keeps what it learned is
    trained once; of others, predictions are kept by the content of what was asked.
    """
    from team.predict_view import print_predictions, recipe_for
    from team.running import find_run

    folder = find_run(runs, name)
    recipe = recipe_for(folder, trial, ensemble=ensemble)
    code = print_predictions(folder, recipe, structures, seeds, train_seconds, out, skip_bad=skip_bad, as_json=as_json)
    raise typer.Exit(code)


def export(
    name: NamedRun,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="To write; absent or empty.")],
    trial: TrialOption = None,
    ensemble: EnsembleOption = False,
    seeds: Annotated[int, typer.Option(min=0, help="Trainings whose weights go with it; 0 trains nothing.")] = 1,
    train_seconds: SecondsOption = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Write a trial's file, its weights where it keeps any, and a model card: data, budget, seal, scores, limits."""
    from team.predict_view import print_export, recipe_for
    from team.running import find_run

    run = find_run(runs, name)
    recipe = recipe_for(run, trial, ensemble=ensemble)
    raise typer.Exit(print_export(run, recipe, folder, seeds, train_seconds, as_json=as_json))


def compare(
    name: NamedRun,
    published: Annotated[
        list[Path],
        typer.Option(help="MatBench's results.json.gz, a CSV (id,prediction) or a .npz by model; may be given again."),
    ],
    trial: TrialOption = None,
    ensemble: EnsembleOption = False,
    search_rows: Annotated[
        bool, typer.Option("--search-rows", help="On the search-validation rows, also where folds were evaluated.")
    ] = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Set our predictions beside published ones: paired differences and correlation of errors, on matching rows."""
    from team.compare_view import print_comparison
    from team.predict_view import recipe_for
    from team.running import find_run

    folder = find_run(runs, name)
    recipe = recipe_for(folder, trial, ensemble=ensemble)
    raise typer.Exit(print_comparison(folder, recipe, published, search_rows=search_rows, as_json=as_json))


def add_to(app: typer.Typer) -> None:
    """Add these commands to the `team` command."""
    for command in (evaluate, ensemble, predict, export, compare):
        app.command()(command)
