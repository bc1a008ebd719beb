"""`team seed`: the shipped seed folders, a new one from data, and whether one works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from team.options import JsonOption, ListByDefault

seed_app = typer.Typer(cls=ListByDefault, help="Seed folders: one for each property to predict.")


@seed_app.command("list")
def seed_list(as_json: JsonOption = False) -> None:
    """List the seed folders that ship (the default of `team seed`)."""
    from team.seeds.view import print_shipped

    print_shipped(as_json=as_json)


@seed_app.command("new")
def seed_new(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="Folder to make; its name becomes the task's.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="Where crystals and property are: a MatBench task, a folder of CIFs with id_prop.csv, any csv beside "
            "CIFs, a JSON of pymatgen Structures, or a table file (.npz).",
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(help='Column to predict, or a class made of one: "COLUMN > 0.5" [default: the only column]'),
    ] = None,
    kind: Annotated[
        Literal["regression", "classification"] | None, typer.Option(help="What is predicted [default: by the labels].")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="What decides [default: mae, or roc_auc for a class]", show_default=False)
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of the property.")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used, and keep the rest in the folder.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at data, and write the seed folder of a property: task.toml, brief.md, train.py; its playbook is lent."""
    from team.seeds.view import print_new
    from team.seeds.writing import Wishes

    print_new(folder, Wishes(source, target, kind, metric, unit, skip_bad), as_json=as_json)


@seed_app.command("check")
def seed_check(
    folders: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FOLDER]...", help="Seed folders, or names of shipped ones; all shipped where none."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Crystals in the place of the task's.")] = None,
    target: Annotated[str | None, typer.Option(help="Property in the place of the task's.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Train a sample of the playbook's entries only.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Try it on all rows of the search, not on 2,000.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of a trial.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Try whether a seed folder works: protocol, rows, budget, mean predictor, every playbook edit.

    The exit code is 1 where it does not.
    """
    from team.seeds.checks import ROWS, Wanted
    from team.seeds.view import print_checks

    wanted = Wanted(source, target, None if full else ROWS, quick, threads)
    raise typer.Exit(print_checks(folders or [], wanted, as_json=as_json))
