"""The `team` command: what can be typed, with which defaults. The work is done elsewhere, imported when it is needed.

Errors that a person can mend end here in one line and exit code 1; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

from team import graph_cli, memory_cli, page_cli, person_cli, publish_cli, seed_cli
from team.options import (
    BaseUrlOption,
    ExecutorOption,
    JsonOption,
    ListByDefault,
    MaxCostOption,
    MaxTokensOption,
    ModelOption,
    RunArgument,
    RunsOption,
    TeamFileOption,
    WorkersOption,
)

SEED_HELP = "Seed folder, or the name of a shipped one (`team seed`); that of the band gap where it is left out."

app = typer.Typer(
    name="team",
    help="An autonomous research team for crystal machine learning.\n\n"
    "`team run` starts a search on crystals that ship with it; `team status` and `team graph` show what was tried.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(cls=ListByDefault, help="Where crystals come from, and what is in a source.")
app.add_typer(memory_cli.memory_app, name="memory")
app.add_typer(data_app, name="data")
app.add_typer(seed_cli.seed_app, name="seed")


@app.command()
def run(
    seed_folder: Annotated[Path | None, typer.Argument(help=SEED_HELP, show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run [default: the task and a number]")] = None,
    task: Annotated[
        str | None, typer.Option(help="MatBench structure task to search on, such as matbench_phonons.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Crystals: tight-binding, matbench:TASK, cif:FOLDER, json:FILE or table:FILE."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help='Name of the property in the source, or a class: "gap_pbe == 0".')
    ] = None,
    start_from: Annotated[
        str | None, typer.Option("--start", help="Begin from this file of the seed folder's starts/, such as cogn.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=100, help="Search on an even sample of this many crystals.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trainings to pay for, replicates among them.")] = 10,
    train_seconds: Annotated[float | None, typer.Option(min=1, max=1e7, help="Training budget of each trial.")] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", "--max-hours", min=0.01, help="Begin no trial after this much wall time.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Root of all random numbers of the search.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of a trial [default: all cores but one]")
    ] = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    memory: Annotated[
        Path | None,
        typer.Option(help="Share the idea memory in this folder with other runs of the same task, one at a time."),
    ] = None,
    embedder: Annotated[
        str,
        typer.Option(help="Of ideas: local, onnx, openai:MODEL[@URL] or sentence-transformers:FOLDER; kept for good."),
    ] = "local",
    unsafe_no_sandbox: Annotated[
        bool, typer.Option("--unsafe-no-sandbox", help="Run trials unheld by the kernel; scores are marked unsealed.")
    ] = False,
    approve: Annotated[
        bool, typer.Option("--approve", help="Ask before a changed file is trained, with the change shown.")
    ] = False,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    team_file: TeamFileOption = None,
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Start a run: the team improves a seed's train.py, trial by trial, until the budget is spent.

    Ctrl-C stops it cleanly; `team resume` goes on.
    """
    from team.casting import TeamOptions
    from team.running import RunOptions, start

    options = RunOptions(
        seed_folder=seed_folder,
        name=name,
        matbench_task=task,
        source=source,
        target=target,
        limit=limit,
        trials=trials,
        train_seconds=train_seconds,
        hours=hours,
        seed=seed,
        threads=threads,
        workers=workers,
        sandboxed=not unsafe_no_sandbox,
        approve=approve,
        team=TeamOptions(model, base_url, team_file, max_cost, max_tokens),
        runs=runs,
        embedder=embedder,
        memory=memory,
        start=start_from,
        executor=executor,
    )
    raise typer.Exit(start(options, as_json=as_json))


@app.command()
def resume(
    name: RunArgument = None,
    trials: Annotated[int | None, typer.Option(min=1, help="New total of trainings to pay for.")] = None,
    hours: Annotated[float | None, typer.Option("--hours", "--max-hours", min=0.01, help="Wall time from now.")] = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    approve: Annotated[
        bool | None, typer.Option("--approve/--no-approve", help="Ask before a changed file is trained.")
    ] = None,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    team_file: TeamFileOption = None,
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that was interrupted, or give a finished one more trials."""
    from team.casting import TeamOptions
    from team.running import resume_run

    team = TeamOptions(model, base_url, team_file, max_cost, max_tokens)
    raise typer.Exit(
        resume_run(runs, name, trials=trials, hours=hours, workers=workers, approve=approve, team=team, as_json=as_json)
    )


@app.command()
def status(name: RunArgument = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """Show how far a run is: trials, keeps, the champion against the seed, and where things lie."""
    from team.running import find_run
    from team.summary import print_summary, summarise

    print_summary(summarise(find_run(runs, name)), as_json=as_json)


@app.command()
def verify(name: RunArgument = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """Recompute every score and the seal of a run from what is stored, and name what differs."""
    from team.running import find_run
    from team.verify_view import print_verification

    raise typer.Exit(print_verification(find_run(runs, name), as_json=as_json))


@app.command()
def control(
    name: RunArgument = None,
    trial: Annotated[int | None, typer.Option(min=0, help="Trial to control [default: the champion]")] = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Train a trial's file on labels in random order: it must score no better than a constant."""
    from team.control_view import print_control
    from team.running import find_run

    raise typer.Exit(print_control(find_run(runs, name), trial, as_json=as_json))


@app.command()
def doctor(runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """Check this installation: packages, devices, sandbox, disk."""
    from team.doctor import print_checks

    raise typer.Exit(print_checks(runs, as_json=as_json))


@data_app.command("list")
def data_list(as_json: JsonOption = False) -> None:
    """List the kinds of sources (the default of `team data`)."""
    from team.data_view import print_kinds

    print_kinds(as_json=as_json)


@data_app.command("show")
def data_show(
    source: Annotated[str, typer.Argument(help="Such as tight-binding or table:FILE.")] = "tight-binding",
    target: Annotated[str, typer.Option(help="Name of the property in the source.")] = "gap_ev",
    as_json: JsonOption = False,
) -> None:
    """Show what is in a source: sizes, elements, formulas, and the target's distribution."""
    from team.data_view import print_source

    print_source(source, target, as_json=as_json)


@data_app.command("import")
def data_import(
    source: Annotated[str, typer.Argument(help="Such as cif:FOLDER, json:FILE or matbench:TASK.")],
    table: Annotated[Path, typer.Argument(help="The .npz table file to write.")],
    target: Annotated[str, typer.Option(help="Name of the property.")] = "gap_ev",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out crystals that cannot be used.")] = False,
) -> None:
    """Turn a source into a table file, which loads in a second and travels."""
    from team.data_view import import_source

    import_source(source, table, target, skip_bad=skip_bad)


@app.command("scripted-model")
def scripted_model(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1, 0 for a free one.")] = 0,
    answers: Annotated[
        Path | None, typer.Option(help="Replay these JSON lines instead of playing the roles.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn where several answers would do.")] = 0,
    fault_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of requests that meet a fault.")] = 0.0,
    fault_seed: Annotated[int, typer.Option(min=0, help="Of which requests meet which fault.")] = 0,
    faults: Annotated[str | None, typer.Option(help="Kinds, with commas between them [default: all]")] = None,
    retry_after: Annotated[int, typer.Option(min=0, help="Seconds that a 429 asks a client to wait.")] = 1,
    hang: Annotated[float, typer.Option(min=0, help="Seconds that a fault `timeout` says nothing.")] = 600.0,
    as_json: JsonOption = False,
) -> None:
    """Serve a scripted model over HTTP, for rehearsals: it plays all roles, costs nothing and thinks nothing."""
    from team.scripted.serving import serve_scripted

    raise typer.Exit(
        serve_scripted(port, answers, seed, fault_rate, fault_seed, faults, retry_after, hang, as_json=as_json)
    )


graph_cli.add_to(app)
person_cli.add_to(app)
page_cli.add_to(app)
publish_cli.add_to(app)


def main() -> None:
    """Run the command line; what a person can mend is told in one line."""
    try:
        app()
    except Exception as error:
        message = mendable(error)
        if message is None:
            raise
        typer.secho(f"team: {message}", fg="red", err=True)
        sys.exit(1)


def mendable(error: Exception) -> str | None:
    """Return the line for an error whose cause lies outside this program, None for a bug."""
    from evaluation_locked.crystals import CrystalError
    from evaluation_locked.dataset import DataError
    from evaluation_locked.scorer import ScoringError
    from evaluation_locked.task import SeedError
    from evaluation_locked.trial import SandboxError
    from graph.errors import RunError
    from memory.chroma_folder import IdeaMemoryError
    from memory.embedders import EmbedderError
    from memory.history import HistoryError
    from memory.journal import JournalError
    from memory.person import PersonError
    from memory.run_lock import RunLockedError
    from memory.techniques import PlaybookError

    safe = "what was recorded is safe, and `team resume` goes on"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror} ({error.filename or 'the disk of the run'}): make room; {safe}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}; name another path, or make this one readable and writable"
    if "disk is full" in str(error) or "No space left" in str(error):  # sqlite and Chroma have no errno
        return f"{error}: make room; {safe}"
    known = (
        CrystalError,
        DataError,
        EmbedderError,
        HistoryError,
        IdeaMemoryError,
        JournalError,
        PersonError,
        PlaybookError,
        RunError,
        RunLockedError,
        SandboxError,
        ScoringError,
        SeedError,
    )
    return str(error) if isinstance(error, known) else None
