"""`team graph`: the ideas of a run as a table, as JSON, and as GraphML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from graph.session import read_history
from memory.idea_graph import idea_graph, to_json, write_graphml
from memory.records import AXES
from team.display import COLOURS

if TYPE_CHECKING:
    from pathlib import Path

    from graph.run_folder import RunFolder


def print_graph(folder: RunFolder, graphml: Path | None, *, as_json: bool) -> None:
    """Print what was tried in a run; write the idea graph to `graphml` where it is given.

    Raises:
        RunError, JournalError: There is no such run, or its journal is damaged.
    """
    history = read_history(folder)
    graph = idea_graph(history)
    if graphml is not None:
        write_graphml(graph, graphml)
    if as_json:
        print(to_json(graph))
        return
    console = Console(highlight=False)
    champion = history.champion
    unit = folder.read_config().task.unit
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("from", justify="right")
    table.add_column("mode")
    table.add_column("axis")
    table.add_column("idea", overflow="fold", ratio=2)
    table.add_column(f"score {unit}".strip(), justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=3)
    for trial in history.trials.values():
        outcome = history.outcome(trial.number)
        mark = " *" if champion is not None and champion.number == trial.number else ""
        table.add_row(
            str(trial.number),
            "" if trial.idea.parent is None else str(trial.idea.parent),
            trial.idea.mode,
            f"{trial.idea.axis} {AXES[trial.idea.axis]}" if trial.idea.axis in AXES else "",
            escape(trial.idea.title),
            f"{trial.score.value:.4f}" if trial.score else "",
            f"[{COLOURS[outcome]}]{outcome}{mark}[/]",
            escape(history.reason(trial.number)),
        )
    console.print(table)
    steps = " -> ".join(str(n) for n in history.lineage(champion.number)) if champion else "none yet"
    console.print(f"\n[dim]from the seed to the champion (*): {steps}[/dim]")
    if graphml is not None:
        console.print(f"[dim]written: {escape(str(graphml))}[/dim]")
