"""The commands that look at a run: `team graph` and what is below it, and `team watch`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from team.completion import complete_trial, complete_trial_or_run
from team.options import JsonOption, ListByDefault, RunArgument, RunsOption

# What can be chosen is written out, because the records that define it import more than `team --help` should; a test
# compares the two. They are enums, because typer takes no list of literals.


class Axis(StrEnum):
    """The part of the network that a trial changed."""

    A1 = "A1"
    A2 = "A2"
    A3 = "A3"
    A4 = "A4"
    A5 = "A5"
    A6 = "A6"
    NONE = "-"


class Outcome(StrEnum):
    """What became of a trial."""

    KEPT = "kept"
    DISCARDED = "discarded"
    NEAR_MISS = "near-miss"
    REPLICATE = "replicate"
    CRASHED = "crashed"
    REJECTED = "rejected"
    SET_ASIDE = "set-aside"


class Mode(StrEnum):
    """What the strategist wanted of a trial."""

    BASELINE = "baseline"
    EXPLORE = "explore"
    REFINE = "refine"
    COMBINE = "combine"
    ABLATE = "ablate"
    SIMPLIFY = "simplify"
    REPLICATE = "replicate"


Format = Literal["graphml", "json", "dot", "png", "svg", "html"]

Number = Annotated[int, typer.Argument(min=0, help="Number of the trial.", autocompletion=complete_trial)]
app = typer.Typer(cls=ListByDefault, help="What was tried, from what, on which axis, kept or not, and why.")


@app.command("list")
def graph_list(
    name: RunArgument = None,
    axis: Annotated[list[Axis] | None, typer.Option(help="Only trials on this axis; may be repeated.")] = None,
    outcome: Annotated[list[Outcome] | None, typer.Option(help="Only trials that ended so; may be repeated.")] = None,
    mode: Annotated[list[Mode] | None, typer.Option(help="Only trials of this mode; may be repeated.")] = None,
    since: Annotated[
        str, typer.Option(help="Only trials from this number on, or begun since: 12, 90m, 2h, 3d, 2026-01-31.")
    ] = "",
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """List what was tried, from what, on which axis, kept or not, and why (the default of `team graph`)."""
    from team.graph_view.filters import Filter
    from team.graph_view.listing import print_graph
    from team.running import find_run

    wanted = Filter(tuple(axis or ()), tuple(outcome or ()), tuple(mode or ()), since)
    print_graph(find_run(runs, name), wanted, as_json=as_json)


@app.command("show")
def graph_show(
    number: Number, name: RunArgument = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False
) -> None:
    """Show one trial whole: idea, reasons, review, score and gain with intervals, crowding, time, and its diff."""
    from team.graph_view.one_trial import print_trial
    from team.running import find_run

    print_trial(find_run(runs, name), number, as_json=as_json)


@app.command("why")
def graph_why(
    number: Number, name: RunArgument = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False
) -> None:
    """Say why a trial was tried and what was said of it: strategist, scout, reviewer and judge."""
    from team.graph_view.one_trial import print_why
    from team.running import find_run

    print_why(find_run(runs, name), number, as_json=as_json)


@app.command("path")
def graph_path(
    to: Annotated[
        str | None,
        typer.Argument(
            metavar="N",
            help="Trial to lead to; the champion where it is left out.",
            autocompletion=complete_trial_or_run,
        ),
    ] = None,
    name: RunArgument = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Tell the way from the seed to the champion, or to trial N: each step, its gain with interval, and why."""
    from team.graph_view.path import print_path
    from team.running import find_run

    if to is not None and not to.isdecimal():
        if name is not None:
            raise typer.BadParameter(f"{to!r} is no trial's number: say `team graph path N RUN`")
        to, name = None, to
    print_path(find_run(runs, name), None if to is None else int(to), as_json=as_json)


@app.command("diff")
def graph_diff(
    one: Annotated[int, typer.Argument(min=0, metavar="A", help="A trial.", autocompletion=complete_trial)],
    other: Annotated[int, typer.Argument(min=0, metavar="B", help="Another.", autocompletion=complete_trial)],
    name: RunArgument = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Show what turns the train.py of trial A into that of trial B."""
    from team.graph_view.one_trial import print_difference
    from team.running import find_run

    print_difference(find_run(runs, name), one, other, as_json=as_json)


@app.command("export")
def graph_export(
    name: RunArgument = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Kind of file [default: as --out ends]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; json and dot are printed where it is left out.")
    ] = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Write the idea graph for another program (graphml, json, dot), a paper (png, svg), or a browser (html)."""
    from team.graph_view.export import export
    from team.running import find_run

    export(find_run(runs, name), out, form)


def watch(
    name: RunArgument = None,
    once: Annotated[bool, typer.Option("--once", help="Show how it stands now, and leave.")] = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Watch a run from another shell: what is at work, the last trials, the champion, the log, the time left.

    It reads files only, and leaves when the run ends; Ctrl-C leaves before. In a pipe it prints a line a trial.
    """
    from team.running import find_run
    from team.watch import watch_run

    watch_run(find_run(runs, name), once=once, as_json=as_json)


def add_to(team: typer.Typer) -> None:
    """Add the commands of this module to the `team` command."""
    team.add_typer(app, name="graph")
    team.command()(watch)
