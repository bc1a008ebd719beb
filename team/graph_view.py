"""`team graph`: the ideas of a run as text, as JSON, and as GraphML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from graph.run_folder import read_history
from memory.idea_graph import idea_graph, to_json, write_graphml
from memory.records import AXES
from team.display import COLOURS
from team.summary import open_console

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
        graphml.parent.mkdir(parents=True, exist_ok=True)
        write_graphml(graph, graphml)
    if as_json:
        print(to_json(graph))
        return
    console = open_console()
    champion = history.champion
    task = folder.read_config().task
    unit = f" {task.unit}" if task.score_metric.has_unit else ""
    for trial in history.trials.values():
        idea, outcome = trial.idea, history.outcome(trial.number)
        mark = " *" if champion is not None and champion.number == trial.number else ""
        origin = "" if idea.parent is None else f" of {idea.parent}"
        axis = f" {idea.axis} {AXES[idea.axis]}" if idea.axis in AXES else ""
        score = f" {trial.score.value:.4f}{unit}" if trial.score else ""
        console.print(
            f"[bold]{trial.number:4d}[/bold]  {escape(idea.title)}  [dim]{idea.mode}{origin}{axis}[/dim]"
            f"  [{COLOURS[outcome]}]{outcome}{mark}[/]{score}"
        )
        why = history.reason(trial.number).splitlines() or [""]
        console.print(f"      [dim]{escape(why[0])}[/dim]")
    steps = " -> ".join(str(n) for n in history.lineage(champion.number)) if champion else "none yet"
    console.print(f"\n[dim]from the seed to the champion (*): {steps}[/dim]")
    if graphml is not None:
        console.print(f"[dim]written: {escape(str(graphml))}[/dim]")
