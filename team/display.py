"""What a person sees while a run goes on: who is at work on what, the trial's clock, the best score, what is left.

In a terminal it is drawn in place; in a pipe, or where a terminal cannot, it is a line for each thing that happened.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from memory.records import AXES, DecisionRecord, TrialRecord
from team.at_work import NARROW, VERY_NARROW, draw
from team.now import follow
from team.plain import plain, shown
from team.summary import count_trials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from evaluation_locked.prepare import TaskFacts
    from graph.context import Event
    from graph.run_folder import RunConfig
    from memory.history import History
    from team.now import AtWork

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
OTHER_LINES = 6  # of a drawing, beside its trials
ONE_AT_WORK = 3  # lines at most of a single trial at work
REFRESH_PER_SECOND = 4


class Display:
    """Says what happens, a line each; the terminal's display builds on it. Events may come from any thread."""

    def __init__(self, config: RunConfig, console: Console):
        self.config = config
        self.console = console
        self.history: History | None = None
        self.facts: TaskFacts | None = None
        self.started = time.monotonic()
        self.at_work: tuple[AtWork, ...] = ()
        self._threads = threading.Lock()
        self._told: int | None = None  # the trial that the last line was about

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
        with self._threads:
            self._take_in(event)
            self.at_work = follow(self.at_work, event)

    def _take_in(self, event: Event) -> None:
        if event.kind == "note":
            self.say(self._note(event))
            self._told = event.number if self._is_one_of_several(event.number) else self._told
        elif event.kind == "idea" and event.idea is not None:
            idea = event.idea
            where = f" of trial {idea.parent}" if idea.parent is not None else ""
            axis = f" {idea.axis}" if idea.axis != "-" else ""
            by = f" [dim]({escape(idea.proposed_by)})[/dim]" if self.config.models and idea.proposed_by else ""
            self.console.print(f"{idea.number:4d}  {idea.mode}{axis}{where}: {escape(plain(idea.title))}{by}")
            self._told = idea.number
        elif isinstance(event.entry, TrialRecord):
            trial = event.entry
            score = f"{trial.score.value:.4f} " if trial.score else ""
            why = escape(plain(trial.reason.splitlines()[0]))
            alone = self._told is None and len(self.at_work) <= 1  # of a resumed run
            known = alone or self._told == trial.number  # else the line above is another trial's
            number = "    " if known else f"{trial.number:4d}"
            self.console.print(f"{number}  [{COLOURS[trial.outcome]}]{score}{trial.outcome}[/]: {why}")
            self._told = trial.number
        elif isinstance(event.entry, DecisionRecord):
            word = event.entry
            self._told = word.trial
            self.console.print(
                f"      trial {word.trial} [{COLOURS[word.outcome]}]{word.outcome}[/]: {escape(plain(word.reason))}"
            )

    def _note(self, event: Event) -> str:
        """Return a remark, with the trial that it is about where several are at work."""
        return f"trial {event.number}: {event.text}" if self._is_one_of_several(event.number) else event.text

    def _is_one_of_several(self, number: int) -> bool:
        return len(self.at_work) > 1 and any(trial.number == number for trial in self.at_work)


class LiveDisplay(Display):
    """Draws the run in place."""

    def __init__(self, config: RunConfig, console: Console):
        super().__init__(config, console)
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

    def _take_in(self, event: Event) -> None:
        if event.kind == "note":
            self.say(self._note(event))
        elif isinstance(event.entry, DecisionRecord):
            self.remark = f"trial {event.entry.trial} {event.entry.outcome}: {event.entry.reason}"

    def __rich__(self) -> RenderableType:
        at_work, below = self.at_work, self._below()
        n_recorded = len(self.history.trials) if self.history is not None else 0
        n_shown, n_lines = self._shares(len(at_work), n_recorded, len(below))
        parts: list[RenderableType] = [self._table(n_shown)] if n_recorded else []
        parts += [self._now(at_work, n_lines), self._budget(), *below]
        if self.remark:
            parts.append(Text(plain(self.remark), style="dim", overflow="ellipsis", no_wrap=True))
        facts = self.facts
        about = facts.rows_in_words() if facts else "preparing"
        title = f"[bold]{escape(self.config.name)}[/bold]  {escape(self.config.task.title)}"
        return Panel(Group(*parts), title=title, subtitle=f"[dim]{escape(self.config.task.source)}: {about}[/dim]")

    def _below(self) -> list[RenderableType]:
        """Return what is shown beside the run itself."""
        return []

    def _shares(self, n_at_work: int, n_recorded: int, n_below: int) -> tuple[int, int]:
        """Return how many recorded trials, and how many lines of trials at work, fit on the screen."""
        room = self.console.height - OTHER_LINES - n_below
        if n_at_work <= 1:
            return max(MIN_SHOWN_TRIALS, min(SHOWN_TRIALS, room - ONE_AT_WORK)), ONE_AT_WORK
        n_lines = min(n_at_work, max(MIN_SHOWN_TRIALS, room // 2, room - n_recorded))
        return max(MIN_SHOWN_TRIALS, min(SHOWN_TRIALS, room - n_lines)), n_lines

    def _now(self, at_work: tuple[AtWork, ...], n_lines: int) -> RenderableType:
        """Return the trials at work, or that there is none."""
        if at_work:
            return draw(at_work, self.config.task, width=self.console.width, n_lines=n_lines)
        return Text("no trial at work" if self.history and self.history.trials else "starting", style="bold")

    def _table(self, n_shown: int) -> Table:
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
        for trial in list(self.history.trials.values())[-n_shown:]:
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
