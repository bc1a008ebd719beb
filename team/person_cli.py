"""The commands by which a person takes part in a run from any shell: approve, reject, revise, steer, ideas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from team.options import JsonOption, ListByDefault, NamedRun, RunArgument, RunsOption

NumberOption = Annotated[
    int | None, typer.Option("--number", help="The trial that is meant; refused if another waits.")
]
ideas_app = typer.Typer(cls=ListByDefault, help="Ideas of your own: a queue that goes before the strategist's.")


def approve(
    name: RunArgument = None,
    number: NumberOption = None,
    show: Annotated[bool, typer.Option("--show", help="Show the change that waits, and answer nothing.")] = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Let the trial be trained that a run with --approve asks about; `team resume` goes on."""
    from team.person_view import answer, show_open_question
    from team.running import find_run

    folder = find_run(runs, name)
    if show:
        show_open_question(folder, number)
    else:
        typer.echo(answer(folder, "approve", "", number))


def reject(
    why: Annotated[str, typer.Option("--why", help="The reason, for the journal.")],
    name: RunArgument = None,
    number: NumberOption = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Refuse the change that a run asks about; the journal records your reason."""
    from team.person_view import answer
    from team.running import find_run

    typer.echo(answer(find_run(runs, name), "reject", why, number))


def revise(
    why: Annotated[str, typer.Option("--why", help="What the coder is to do otherwise.")],
    name: RunArgument = None,
    number: NumberOption = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Hand the change that a run asks about back to the coder."""
    from team.person_view import answer
    from team.running import find_run

    typer.echo(answer(find_run(runs, name), "revise", why, number))


def steer(
    name: NamedRun,
    wish: Annotated[str | None, typer.Argument(help="What you wish for, such as 'more on the readout'.")] = None,
    show: Annotated[bool, typer.Option("--list", help="List the wishes and what became of them.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Take back the wishes that wait.")] = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Put a wish before the strategist at the next round, while the run goes on or before it does."""
    from team.person_view import add_wish, clear_wishes, list_wishes
    from team.running import find_run

    folder = find_run(runs, name)
    if clear:
        clear_wishes(folder)
    if wish is not None:
        typer.echo(add_wish(folder, wish))
    if show or (wish is None and not clear):
        list_wishes(folder)


@ideas_app.command("list")
def ideas_list(name: RunArgument = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """List the queue and what became of each idea (the default of `team ideas`)."""
    from team.person_view import list_ideas
    from team.running import find_run

    list_ideas(find_run(runs, name), as_json=as_json)


@ideas_app.command("add")
def ideas_add(
    name: NamedRun,
    title: Annotated[str, typer.Argument(help="The idea in a few words.")],
    axis: Annotated[str | None, typer.Option(help="A1 to A6, where it changes something.")] = None,
    technique: Annotated[list[str] | None, typer.Option(help="A technique of the playbook; may be repeated.")] = None,
    knob: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, a constant of train.py; may be repeated.")] = None,
    edit: Annotated[Path | None, typer.Option(help="A file of search/replace blocks.")] = None,
    train_py: Annotated[Path | None, typer.Option("--train-py", help="A whole train.py.")] = None,
    parent: Annotated[int | None, typer.Option(help="Trial to start from [default: the champion]", min=0)] = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Put an idea of your own into the queue; the next round takes it, and reviews and judges it like any other."""
    from team.person_view import IdeaOptions, add_idea
    from team.running import find_run

    options = IdeaOptions(title, axis, tuple(technique or ()), tuple(knob or ()), edit, train_py, parent)
    add_idea(find_run(runs, name), options)


@ideas_app.command("drop")
def ideas_drop(
    name: NamedRun,
    k: Annotated[int, typer.Argument(metavar="K", help="Its number in `team ideas list`.")],
    runs: RunsOption = Path("runs"),
) -> None:
    """Take an idea out of the queue."""
    from team.person_view import drop_idea
    from team.running import find_run

    drop_idea(find_run(runs, name), k)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the `team` command."""
    for command in (approve, reject, revise, steer):
        app.command()(command)
    app.add_typer(ideas_app, name="ideas")
