"""`team graph list`: every trial in two lines, what it changed and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from graph.run_folder import read_history
from memory.idea_graph import idea_graph, to_json
from memory.records import AXES
from team.display import COLOURS
from team.graph_view.filters import Filter
from team.plain import shown
from team.summary import open_console

if TYPE_CHECKING:
    from graph.run_folder import RunFolder
    from memory.history import History
    from memory.records import Outcome, TrialRecord


def print_graph(folder: RunFolder, wanted: Filter, *, as_json: bool) -> None:
    """Print what was tried in a run, as far as `wanted` asks for it.

    Raises:
        RunError, JournalError: There is no such run, or its journal is damaged.
    """
    history = read_history(folder)
    trials = wanted.choose(history)
    if as_json:
        print(to_json(idea_graph(history).subgraph([trial.number for trial in trials])))
        return
    console = open_console()
    task = folder.read_config().task
    unit = f" {task.unit}" if task.score_metric.has_unit else ""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for trial in trials:
        reason = history.reason(trial.number).splitlines() or [""]
        head, why = headline(history, trial, unit), shown(reason[0], "dim")
        if console.is_terminal:
            table.add_row(Text(str(trial.number), style="bold"), head)
            table.add_row("", why)
        else:
            console.print(Text(f"{trial.number:4d}  ").append_text(head))
            console.print(Text("      ").append_text(why))
    if trials and console.is_terminal:
        console.print(table)
    if not trials:
        console.print(shown("nothing was tried yet" if not history.trials else "no trial is like that", "dim"))
    if len(trials) < len(history.trials):
        console.print(shown(f"\n{len(trials)} of {len(history.trials)} trials", "dim"))
    champion = history.champion
    steps = " -> ".join(str(n) for n in history.lineage(champion.number)) if champion else "none yet"
    console.print()
    console.print(shown(f"from the seed to the champion (*): {steps}", "dim"))


def headline(history: History, trial: TrialRecord, unit: str, then: Outcome | None = None) -> Text:
    """Return one line on a trial: its title, what it changed of which trial, and what became of it.

    Args:
        history: Of the run.
        trial: One of its trials.
        unit: Of the score, with a space before it; empty where it has none.
        then: The outcome to tell, as it was at some time; that of the latest decision where it is None.
    """
    idea, outcome, champion = trial.idea, then or history.outcome(trial.number), history.champion
    mark = " *" if then is None and champion is not None and champion.number == trial.number else ""
    origin = "" if idea.parent is None else f" of {idea.parent}"
    axis = f" {idea.axis} {AXES[idea.axis]}" if idea.axis in AXES else ""
    score = f" {trial.score.value:.4f}{unit}" if trial.score else ""
    head = shown(idea.title).append(f"  {idea.mode}{origin}{axis}", style="dim")
    return head.append("  ").append(f"{outcome}{mark}", style=COLOURS[outcome]).append(score)
