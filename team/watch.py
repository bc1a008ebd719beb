"""`team watch`: a run seen from another shell, while it goes on or after it ended.

It reads the journal, `now.json` and logs, takes no lock and writes nothing. In a terminal it draws what `team run`
draws and more; in a pipe it prints a line for each record. It leaves when the run ends. A run that is killed or
interrupted while somebody watches is waited for, because `team resume` goes on with it.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from evaluation_locked.dataset import DataError
from evaluation_locked.prepare import load_facts
from graph.errors import RunError
from graph.run_folder import last_words
from memory.history import History
from memory.journal import Journal
from memory.records import TrialRecord
from team.at_work import NARROW, counted
from team.display import COLOURS, REFRESH_PER_SECOND, LiveDisplay
from team.frames import trial_fields
from team.graph_view.listing import headline
from team.now import Now, read_now
from team.plain import shown
from team.summary import open_console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from graph.run_folder import RunFolder
    from memory.records import Entry
    from team.now import AtWork, Standing

LOOK_SECONDS = 0.5
STARTING_SECONDS = 60.0  # a new run may take so long to say what it does: imports on a busy machine
RECENT_ROUNDS = 10
LOG_LINES, LOG_LINES_NARROW = 4, 2
LOW_SCREEN = 20


@dataclass
class Follower:
    """What is known of a run from its files; each `look` takes in what is new."""

    folder: RunFolder

    def __post_init__(self) -> None:
        self.config = self.folder.read_config()
        self.history = History()
        self.now: Now | None = None
        self._reader = Journal(self.folder.journal).reader()

    def look(self) -> list[Entry]:
        """Return what was recorded since the last look, each once, and know what is at work.

        Raises:
            RunError: The run's folder is gone.
            JournalError: The journal is damaged.
        """
        self.now = read_now(self.folder)  # before the journal: what is over by then is recorded by then
        if not self.folder.config_file.exists():
            raise RunError(f"{self.folder.path} is gone: nothing was recorded there, or somebody removed it")
        if self.folder.journal.exists() and self.folder.journal.stat().st_size < self._reader.offset:
            self._reader, self.history = Journal(self.folder.journal).reader(), History()
        new = self._reader.read_new()
        self.config = self.folder.read_config()  # a resumed run may have another budget
        return [entry for entry in new if self.history.add(entry)]

    @property
    def standing(self) -> Standing:
        """Whether somebody is at work on the run, see `team.now.Now.standing`."""
        if self.now is not None:
            return self.now.standing
        young = time.time() - self.folder.config_file.stat().st_mtime < STARTING_SECONDS
        return "working" if young and not self.history.trials else "unknown"

    @property
    def told_standing(self) -> str:
        """The standing in words."""
        name = self.folder.name
        since = time.strftime("%H:%M:%S", time.localtime(self.now.since)) if self.now is not None else ""
        return {
            "working": self._told_work,
            "ended": f"ended at {since}: {self.now.stopped if self.now is not None else ''}",
            "waiting": f"waits for your answer since {since}: `team approve {name} --show`",
            "interrupted": f"interrupted at {since}; `team resume {name}` goes on",
            "killed": f"killed after {since}; `team resume {name}` goes on",
            "unknown": "nobody says that it is at work"
            if self.now is None
            else f"at work on {self.now.host} at {since}, which cannot be seen from here",
        }[self.standing]

    @property
    def _told_work(self) -> str:
        at_work = self.now.at_work if self.now is not None else ()
        return f"at work on {len(at_work)} trials ({counted(at_work, at_work)})" if len(at_work) > 1 else "at work"

    @property
    def seconds_left(self) -> float | None:
        """About how long the rest of the run takes, by the median of its last rounds; None where nothing tells."""
        trained = [trial for trial in self.history.trials.values() if trial.status != "not run"]
        rounds = sorted(round_seconds(trial) for trial in trained[-RECENT_ROUNDS:])
        if not rounds or self.now is None or self.standing != "working":
            return None
        to_train = max(0, self.config.trials - len(trained))
        left = rounds[len(rounds) // 2] * to_train / max(1, min(self.config.workers, to_train))
        if self.config.hours is not None:
            left = min(left, self.now.begun_at + 3600 * self.config.hours - time.time())
        return max(0.0, left)


class WatchDisplay(LiveDisplay):
    """Draws a run from what a follower knows."""

    def __init__(self, follower: Follower, console: Console):
        super().__init__(follower.config, console)
        self.follower = follower
        with contextlib.suppress(DataError):  # crystals are still being read
            self.facts = load_facts(follower.folder.locked)
        self.take_in()

    def take_in(self) -> None:
        """Know what the follower knows now."""
        follower, now = self.follower, self.follower.now
        self.config, self.history = follower.config, follower.history
        if self.facts is None:
            with contextlib.suppress(DataError):
                self.facts = load_facts(follower.folder.locked)
        if now is None:
            return
        at_work = follower.standing == "working"
        end = time.time() if at_work else now.since
        self.started = time.monotonic() - (end - now.begun_at)
        self.at_work = now.at_work if at_work else ()

    def _now(self, at_work: tuple[AtWork, ...], n_lines: int) -> RenderableType:
        if self.follower.standing == "working":
            return super()._now(at_work, n_lines)
        return shown(self.follower.told_standing, "bold")

    def _below(self) -> list[RenderableType]:
        """Return the run's progress with the time left, and the last lines of the trial's log."""
        narrow = self.console.width < NARROW
        trained = sum(trial.status != "not run" for trial in self.follower.history.trials.values())
        line = Table.grid(padding=(0, 1))
        left = self.follower.seconds_left
        told = f"about {told_span(left)} left" if left is not None else ""
        bar = ProgressBar(total=self.config.trials, completed=trained, width=10 if narrow else 24)
        line.add_row(bar, f"{min(1.0, trained / self.config.trials):.0%}", Text(told, style="dim"))
        parts: list[RenderableType] = [line]
        if self.follower.standing == "working" and self.console.height > LOW_SCREEN:
            n_lines = LOG_LINES_NARROW if narrow else LOG_LINES
            for words in log_tail(self.follower, n_lines):
                parts.append(Text(words, style="dim", overflow="ellipsis", no_wrap=True))
        return parts


def watch_run(folder: RunFolder, *, once: bool, as_json: bool) -> None:
    """Show a run until it ends, or somebody has seen enough.

    Raises:
        RunError, JournalError: There is no such run, it was removed, or its journal is damaged.
    """
    console = open_console()
    follower = Follower(folder)
    with contextlib.suppress(KeyboardInterrupt):
        if as_json or not console.is_terminal or console.is_dumb_terminal:
            print_lines(follower, console, once=once, as_json=as_json)
        else:
            _draw(follower, console, once=once)


def print_lines(follower: Follower, console: Console, *, once: bool, as_json: bool) -> None:
    """Print a line for each record, as text or as JSON, and a last one that says how the run stands."""
    for new in _looks(follower, once=once):
        for entry, text in _told(follower, new):
            if as_json:
                fields = (
                    trial_fields(follower.history, entry)
                    if isinstance(entry, TrialRecord)
                    else entry.model_dump(mode="json")
                )
                print(json.dumps({"kind": entry.kind} | fields), flush=True)
            else:
                console.print(text)
                console.file.flush()
    champion = follower.history.champion
    score = follower.history.mean_score(champion.number) if champion is not None else None
    if as_json:
        told: dict[str, object] = {"kind": "standing", "standing": follower.standing}
        told["trials"] = len(follower.history.trials)
        if follower.standing == "working" and follower.now is not None:
            told["at_work"] = [trial.model_dump(mode="json") for trial in follower.now.at_work]
        number = champion.number if champion is not None else None
        stopped = follower.now.stopped if follower.now is not None else ""
        print(json.dumps(told | {"champion": number, "score": score, "stopped": stopped}), flush=True)
        return
    task = follower.config.task
    unit = f" {task.unit}" if task.score_metric.has_unit else ""
    best = f"; champion: trial {champion.number}, {task.metric} {score:.4f}{unit}" if champion is not None else ""
    console.print(shown(f"{follower.told_standing}{best}"))


def log_tail(follower: Follower, n_lines: int) -> list[str]:
    """Return the last lines that the trial at work printed, of several trials the last line of each with its number."""
    logs: list[tuple[int, list[str]]] = []
    at_work = follower.now.at_work if follower.now is not None else ()
    for trial in at_work:
        folder = follower.folder.trial_folders.find(trial.number) if trial.node in ("smoke", "train") else None
        if folder is not None and len(logs) < n_lines:
            words = last_words(folder / "smoke" if trial.node == "smoke" else folder, n_lines)
            logs += [(trial.number, words)] if words else []
    if len(at_work) == 1:
        return [f"| {line}" for _, words in logs for line in words]
    return [f"{number} | {words[-1]}" for number, words in logs]


def round_seconds(trial: TrialRecord) -> float:
    """Return the wall time of a trial's round: the trial, its smoke trial, and all beside them."""
    phases = trial.featurise_seconds + trial.train_seconds + trial.predict_seconds
    return phases + trial.smoke_seconds + trial.overhead_seconds


def told_span(seconds: float) -> str:
    """Return a span of time as a person would say it: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _draw(follower: Follower, console: Console, *, once: bool) -> None:
    follower.look()
    display = WatchDisplay(follower, console)
    if once:
        console.print(display)
        return
    with Live(display, console=console, refresh_per_second=REFRESH_PER_SECOND) as live:
        for _ in _looks(follower, once=False):
            display.take_in()
        live.refresh()


def _looks(follower: Follower, *, once: bool) -> Iterator[list[Entry]]:
    """Look at a run again and again: until it ends, or nobody is at work on it at the first look."""
    seen_at_work = False
    while True:
        new = follower.look()
        yield new
        standing = follower.standing
        seen_at_work = seen_at_work or standing == "working"
        if once or standing == "ended" or not seen_at_work:
            return
        time.sleep(LOOK_SECONDS)


def _told(follower: Follower, new: list[Entry]) -> Iterator[tuple[Entry, Text]]:
    """Tell new records in a line each."""
    task = follower.config.task
    unit = f" {task.unit}" if task.score_metric.has_unit else ""
    for entry in new:
        if isinstance(entry, TrialRecord):
            number, text = entry.number, headline(follower.history, entry, unit, entry.outcome)
            reason = entry.reason
        else:
            number, text = entry.trial, Text("decided again: ").append(entry.outcome, style=COLOURS[entry.outcome])
            reason = entry.reason
        line = Text(f"{number:4d}  ").append_text(text).append("; ")
        yield entry, line.append_text(shown(reason.splitlines()[0] if reason else "", "dim"))
