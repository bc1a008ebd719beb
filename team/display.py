"""What a person sees while a run goes on: who is at work on what, the trial's clock, the best score, what is left.

In a terminal it is drawn in place; in a pipe, or where a terminal cannot, it is a line for each thing that happened.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from memory.records import AXES, DecisionRecord, TrialRecord
from team.summary import count_trials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from evaluation_locked.prepare import TaskFacts
    from graph.context import Event
    from graph.run_folder import RunConfig
    from memory.history import History

ROLES = {
    "strategise": "strategist reads the memory",
    "scout": "literature scout looks for techniques",
    "choose": "strategist weighs crowding",
    "code": "coder edits train.py",
    "review": "reviewer reads the change",
    "smoke": "smoke trial",
    "approve": "a person reads the change",
    "train": "trial",
    "judge": "judge scores",
    "remember": "memory takes it in",
}
COLOURS = {
    "kept": "green",
    "discarded": "default",
    "near-miss": "yellow",
    "replicate": "cyan",
    "crashed": "red",
    "rejected": "magenta",
    "set-aside": "bold red",
}
SHOWN_TRIALS = 14
REFRESH_PER_SECOND = 4


class Display:
    """Says what happens, a line each; the terminal's display builds on it."""

    def __init__(self, config: RunConfig, console: Console):
        self.config = config
        self.console = console
        self.history: History | None = None
        self.facts: TaskFacts | None = None
        self.started = time.monotonic()

    def begin(self, history: History, facts: TaskFacts) -> None:
        """Know the run that is shown; earlier trials of a resumed run are in its history."""
        self.history, self.facts = history, facts
        if history.trials:
            self.say(f"going on after {len(history.trials)} trials")

    def say(self, text: str) -> None:
        """Print one remark."""
        self.console.print(f"[dim]{escape(text)}[/dim]")

    def pause(self) -> contextlib.AbstractContextManager[object]:
        """Leave the screen to somebody else while the block lasts."""
        return contextlib.nullcontext()

    def listen(self, event: Event) -> None:
        """Take in one event of the state machine."""
        if event.kind == "note":
            self.say(event.text)
        elif event.kind == "idea" and event.idea is not None:
            idea = event.idea
            where = f" of trial {idea.parent}" if idea.parent is not None else ""
            axis = f" {idea.axis}" if idea.axis != "-" else ""
            self.console.print(f"{idea.number:4d}  {idea.mode}{axis}{where}: {escape(idea.title)}")
        elif isinstance(event.entry, TrialRecord):
            trial = event.entry
            score = f"{trial.score.value:.4f} " if trial.score else ""
            self.console.print(
                f"      [{COLOURS[trial.outcome]}]{score}{trial.outcome}[/]: {escape(trial.reason.splitlines()[0])}"
            )
        elif isinstance(event.entry, DecisionRecord):
            word = event.entry
            self.console.print(
                f"      trial {word.trial} [{COLOURS[word.outcome]}]{word.outcome}[/]: {escape(word.reason)}"
            )


class LiveDisplay(Display):
    """Draws the run in place."""

    def __init__(self, config: RunConfig, console: Console):
        super().__init__(config, console)
        self.node = ""
        self.number = 0
        self.title = ""
        self.phase = ""
        self.phase_started = 0.0
        self.remark = ""
        self._live = self._drawing()

    @contextlib.contextmanager
    def draw(self) -> Iterator[None]:
        """Draw while the block lasts."""
        self._live.start(refresh=True)
        try:
            yield
        finally:
            self._live.stop()

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Stop drawing while the block lasts, and go on below what was printed meanwhile."""
        self._live.stop()
        try:
            yield
        finally:
            self._live = self._drawing()  # the old one would draw over the lines since
            self._live.start(refresh=True)

    def _drawing(self) -> Live:
        return Live(self, console=self.console, refresh_per_second=REFRESH_PER_SECOND, redirect_stderr=False)

    def say(self, text: str) -> None:
        """Show a remark below the table."""
        self.remark = text

    def listen(self, event: Event) -> None:
        """Take in one event; the drawing follows by itself."""
        if event.kind == "note":
            self.say(event.text)
            return
        self.number = event.number
        if event.kind == "node" and event.node is not None:
            self.node, self.phase = event.node, ""
            if event.node == "strategise":
                self.title = ""
        elif event.kind == "phase" and event.phase is not None:
            self.phase, self.phase_started = event.phase, time.monotonic()
        elif event.kind == "idea" and event.idea is not None:
            self.title = event.idea.title
        elif event.kind == "note":
            self.say(event.text)
        elif isinstance(event.entry, DecisionRecord):
            self.remark = f"trial {event.entry.trial} {event.entry.outcome}: {event.entry.reason}"

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [self._table()] if self.history and self.history.trials else []
        parts += [self._now(), self._budget()]
        if self.remark:
            parts.append(Text(self.remark, style="dim", overflow="ellipsis", no_wrap=True))
        facts = self.facts
        about = f"{facts.n_train:,} crystals to train on, {facts.n_validation:,} to judge by" if facts else "preparing"
        title = f"[bold]{escape(self.config.name)}[/bold]  {escape(self.config.task.title)}"
        return Panel(Group(*parts), title=title, subtitle=f"[dim]{escape(self.config.task.source)}: {about}[/dim]")

    def _table(self) -> Table:
        assert self.history is not None
        table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
        table.add_column("", justify="right")
        table.add_column("mode", no_wrap=True)
        table.add_column("axis", no_wrap=True)
        table.add_column("from", justify="right")
        table.add_column("idea", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(f"{self.config.task.metric} {self.config.task.unit}".strip(), justify="right", no_wrap=True)
        table.add_column("gain", justify="right", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
        champion = self.history.champion
        for trial in list(self.history.trials.values())[-SHOWN_TRIALS:]:
            outcome = self.history.outcome(trial.number)
            mark = " *" if champion is not None and champion.number == trial.number else ""
            table.add_row(
                str(trial.number),
                trial.idea.mode,
                trial.idea.axis,
                "" if trial.idea.parent is None else str(trial.idea.parent),
                trial.idea.title,
                f"{trial.score.value:.4f}" if trial.score else "",
                f"{trial.gain:+.4f}" if trial.gain is not None else "",
                f"[{COLOURS[outcome]}]{outcome}{mark}[/]",
            )
        return table

    def _now(self) -> RenderableType:
        caps = self.config.task.caps
        cap = {
            "featurising": caps.featurise_seconds,
            "training": caps.train_seconds,
            "predicting": caps.predict_seconds,
        }.get(self.phase)
        what = ROLES.get(self.node, "starting")
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        cells: list[RenderableType] = [f"[bold]trial {self.number}[/bold]  {what}", Text(self.title, style="italic")]
        if cap is not None:
            spent = time.monotonic() - self.phase_started
            line.add_column(width=24)
            line.add_column(no_wrap=True)
            cells += [
                ProgressBar(total=cap, completed=min(spent, cap), width=24),
                f"{self.phase} {spent:.0f}/{cap:g} s",
            ]
        line.add_row(*cells)
        return line

    def _budget(self) -> Text:
        trained = 0
        best = ""
        if self.history is not None:
            trained = sum(trial.status != "not run" for trial in self.history.trials.values())
            champion, keeps = self.history.champion, self.history.keeps
            if champion is not None and champion.score is not None:
                mean, seed = self.history.mean_score(champion.number), self.history.mean_score(keeps[0])
                axis = f", {AXES[champion.idea.axis]}" if champion.idea.axis in AXES else ""
                best = f"best {mean:.4f} (trial {champion.number}{axis}); seed {seed:.4f}; "
        elapsed = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - self.started))
        return Text(f"{best}trials {count_trials(trained, self.config.trials)}, {elapsed}", style="bold")


@contextlib.contextmanager
def open_display(config: RunConfig, *, quiet: bool) -> Iterator[Display]:
    """Open the display that fits where the output goes; with `quiet`, lines go to standard error."""
    if quiet:
        yield Display(config, Console(stderr=True, highlight=False, soft_wrap=True))
        return
    console = Console(highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Display(config, Console(file=sys.stdout, highlight=False, soft_wrap=True))
        return
    display = LiveDisplay(config, console)
    with display.draw():
        yield display
