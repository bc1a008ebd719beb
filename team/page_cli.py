"""The commands that show a run as a page, and the pause that the page's button shares with the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from team.options import RunArgument, RunsOption


def pause(name: RunArgument = None, runs: RunsOption = Path("runs")) -> None:
    """Let a run that is at work finish its trial and stop; `team resume` goes on."""
    from team.pausing import pause as ask
    from team.running import find_run

    typer.echo(ask(find_run(runs, name)))


def serve(
    name: RunArgument = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str,
        typer.Option(envvar="TEAM_SERVE_TOKEN", help="What a browser must bring; made where it is needed and missing."),
    ] = "",
    runs: RunsOption = Path("runs"),
) -> None:
    """Show a run in a web page of this machine as it goes on, with buttons to pause, resume, steer and approve."""
    from team.running import find_run
    from team.serve.app import serve as begin

    begin(find_run(runs, name), host=host, port=port, token=token)


def report(
    name: RunArgument = None,
    out: Annotated[Path | None, typer.Option(help="File to write [default: report.html in the run's folder]")] = None,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser.")] = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Write what a run tried as one HTML file, to look at, print or send; a run keeps its own current.

    It holds labels of the rows that judge: show it to people, not to a model that searches on the task.
    """
    import webbrowser

    from team.report.writer import write_report
    from team.running import find_run

    path = write_report(find_run(runs, name), out)
    typer.echo(path)
    if open_it:
        webbrowser.open(path.resolve().as_uri())


def add_to(app: typer.Typer) -> None:
    """Add these commands to the `team` command."""
    for command in (report, serve, pause):
        app.command()(command)
