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
from team.plain import plain, shown
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
MIN_SHOWN_TRIALS = 3
OTHER_LINES = 9  # of a drawing, beside its trials
NARROW, VERY_NARROW = 72, 50  # columns, below which less is shown
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
            by = f" [dim]({escape(idea.proposed_by)})[/dim]" if self.config.models and idea.proposed_by else ""
            self.console.print(f"{idea.number:4d}  {idea.mode}{axis}{where}: {escape(plain(idea.title))}{by}")
        elif isinstance(event.entry, TrialRecord):
            trial = event.entry
            score = f"{trial.score.value:.4f} " if trial.score else ""
            why = escape(plain(trial.reason.splitlines()[0]))
            self.console.print(f"      [{COLOURS[trial.outcome]}]{score}{trial.outcome}[/]: {why}")
        elif isinstance(event.entry, DecisionRecord):
            word = event.entry
            self.console.print(
                f"      trial {word.trial} [{COLOURS[word.outcome]}]{word.outcome}[/]: {escape(plain(word.reason))}"
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
        self.player = ""
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
            self.node, self.phase, self.player = event.node, "", event.text
            if event.node == "strategise":
                self.title = ""
        elif event.kind == "phase" and event.phase is not None:
            self.phase, self.phase_started = event.phase, time.monotonic()
        elif event.kind == "idea" and event.idea is not None:
            self.title = event.idea.title
        elif isinstance(event.entry, DecisionRecord):
            self.remark = f"trial {event.entry.trial} {event.entry.outcome}: {event.entry.reason}"

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [self._table()] if self.history and self.history.trials else []
        parts += [self._now(), self._budget(), *self._below()]
        if self.remark:
            parts.append(Text(plain(self.remark), style="dim", overflow="ellipsis", no_wrap=True))
        facts = self.facts
        about = facts.rows_in_words() if facts else "preparing"
        title = f"[bold]{escape(self.config.name)}[/bold]  {escape(self.config.task.title)}"
        return Panel(Group(*parts), title=title, subtitle=f"[dim]{escape(self.config.task.source)}: {about}[/dim]")

    def _below(self) -> list[RenderableType]:
        """Return what is shown beside the run itself."""
        return []

    def _n_shown(self) -> int:
        """Return how many trials fit on the screen."""
        room = self.console.height - OTHER_LINES - len(self._below())
        return max(MIN_SHOWN_TRIALS, min(SHOWN_TRIALS, room))

    def _table(self) -> Table:
        assert self.history is not None
        width = self.console.width
        table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
        table.add_column("", justify="right", no_wrap=True)
        if width >= NARROW:
            table.add_column("mode", no_wrap=True)
        if width >= VERY_NARROW:
            table.add_column("axis", no_wrap=True)
        if width >= NARROW:
            table.add_column("from", justify="right", no_wrap=True)
        table.add_column("idea", ratio=1, no_wrap=True, overflow="ellipsis")
        unit = self.config.task.unit if width >= VERY_NARROW else ""
        table.add_column(f"{self.config.task.metric} {unit}".strip(), justify="right", no_wrap=True)
        if width >= NARROW:
            table.add_column("gain", justify="right", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
        champion = self.history.champion
        for trial in list(self.history.trials.values())[-self._n_shown() :]:
            outcome = self.history.outcome(trial.number)
            mark = " *" if champion is not None and champion.number == trial.number else ""
            cells = {
                "number": Text(str(trial.number)),
                "mode": Text(trial.idea.mode),
                "axis": Text(trial.idea.axis),
                "from": Text("" if trial.idea.parent is None else str(trial.idea.parent)),
                "idea": shown(trial.idea.title),
                "score": Text(f"{trial.score.value:.4f}" if trial.score else ""),
                "gain": Text(f"{trial.gain:+.4f}" if trial.gain is not None else ""),
                "outcome": Text(f"{outcome}{mark}", style=COLOURS[outcome]),
            }
            left_out = {"mode", "from", "gain"} if width < NARROW else set()
            left_out |= {"axis"} if width < VERY_NARROW else set()
            table.add_row(*(cell for name, cell in cells.items() if name not in left_out))
        return table

    def _now(self) -> RenderableType:
        caps = self.config.task.caps
        cap = {
            "featurising": caps.featurise_seconds,
            "training": caps.train_seconds / self.config.task.split.n_trainings,
            "predicting": caps.predict_seconds,
        }.get(self.phase)
        what = ROLES.get(self.node, "starting") + (f" [dim]({escape(self.player)})[/dim]" if self.player else "")
        narrow = self.console.width < NARROW
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(no_wrap=True, overflow="ellipsis")
        title = shown(self.title, "italic")
        title.no_wrap, title.overflow = True, "ellipsis"
        cells: list[RenderableType] = [f"[bold]trial {self.number}[/bold]  {what}"]
        if not narrow:
            line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
            cells.append(title)
        if cap is None:
            line.add_row(*cells)
            return Group(line, title) if narrow and self.title else line
        spent = time.monotonic() - self.phase_started
        bar_width = 10 if narrow else 24
        bar = ProgressBar(total=cap, completed=min(spent, cap), width=bar_width)
        clock = f"{self.phase} {spent:.0f}/{cap:g} s"
        if not narrow:
            line.add_column(width=bar_width)
            line.add_column(no_wrap=True)
            line.add_row(*cells, bar, clock)
            return line
        line.add_row(*cells)
        below = Table.grid(padding=(0, 1))
        below.add_row(bar, clock)
        return Group(line, title, below)

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
