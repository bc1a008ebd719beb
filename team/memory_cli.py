"""The commands of `team memory`: search it, see where it is crowded, make it anew, fetch a model for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from team.options import JsonOption, RunArgument, RunsOption

OutcomeName = Literal["kept", "discarded", "near-miss", "replicate", "crashed", "rejected", "set-aside"]
AxisName = Literal["A1", "A2", "A3", "A4", "A5", "A6"]

memory_app = typer.Typer(
    no_args_is_help=True,
    help="What a run remembers: every idea whatever became of it. Search it, see where it is crowded, make it anew.\n\n"
    "A run's memory is made from its journal and may be deleted. `team run --memory DIR` shares one between runs.",
)


@memory_app.command("search")
def memory_search(
    query: Annotated[str, typer.Argument(help="What to look for, in words.")],
    name: RunArgument = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many ideas to show.")] = 10,
    outcome: Annotated[OutcomeName | None, typer.Option(help="Only ideas that ended so.")] = None,
    axis: Annotated[AxisName | None, typer.Option(help="Only ideas on this axis.")] = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Find the ideas that say something like QUERY, in other words too, the nearest first.

    Where a run shares its memory, ideas of other runs are among them, as RUN/NUMBER. A run at work may be searched.

    Example: team memory search "Polyak averaging" --outcome kept
    """
    from team.memory_view import search_memory
    from team.running import find_run

    search_memory(find_run(runs, name), query, k, outcome=outcome, axis=axis, as_json=as_json)


@memory_app.command("crowding")
def memory_crowding(name: RunArgument = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """Show how near each trial was to what was tried before it, in text, code and errors, and which axes are crowded.

    Each view goes from 0 (alone) to 1 (a duplicate), as measured when the trial was made. Text and code are known
    before a trial is paid for, errors after it. `docs/memory.md` says what they measure.
    """
    from team.memory_view import print_crowding
    from team.running import find_run

    print_crowding(find_run(runs, name), as_json=as_json)


@memory_app.command("rebuild")
def memory_rebuild(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Names of runs; the latest where left out.")
    ] = None,
    memory: Annotated[
        Path | None,
        typer.Option(help="A shared memory; made of the RUNs' journals, of those that feed it where none is named."),
    ] = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Make an idea memory anew from journals, which are the truth, and say how many ideas and how many seconds.

    It mends a damaged memory, and embeds all ideas again where the embedder changed.
    """
    from team.memory_view import rebuild_memory
    from team.running import find_run

    wanted: list[str | None] = [*names] if names else []
    if not wanted and memory is None:
        wanted = [None]
    found = [find_run(runs, name) for name in wanted]
    rebuild_memory(found, memory, as_json=as_json)


@memory_app.command("fetch")
def memory_fetch(
    url: Annotated[str | None, typer.Option(help="A mirror of the archive; what comes is checked by its hash.")] = None,
) -> None:
    """Download the model of `--embedder onnx` (all-MiniLM-L6-v2, 83 MB), once. Nothing else downloads it."""
    from team.memory_view import fetch_model

    fetch_model(url)
