"""How the trials at work are shown: one as before there were several, several in a line each, many in a line of counts.

It draws what `team.now` knows, and no more lines than it is given. It reads no file and keeps nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from team.plain import plain, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from evaluation_locked.task import TaskSpec
    from team.now import AtWork

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
SHORT_ROLES = {
    "strategise": "strategist",
    "scout": "scout",
    "choose": "strategist",
    "code": "coder",
    "review": "reviewer",
    "smoke": "smoke trial",
    "approve": "a person",
    "train": "starting",  # until the trial enters a phase
    "judge": "judge",
    "remember": "memory",
}
NARROW, VERY_NARROW = 72, 50  # columns, below which less is shown


def draw(at_work: Sequence[AtWork], task: TaskSpec, *, width: int, n_lines: int) -> RenderableType:
    """Return a drawing of the trials at work, of `n_lines` at most where there are several."""
    if len(at_work) == 1:
        return _one(at_work[0], task, narrow=width < NARROW)
    return _several(at_work, task, narrow=width < NARROW, n_lines=n_lines)


def doing(trial: AtWork, at_work: Sequence[AtWork]) -> str:
    """Return in a word or two what a trial does: its phase, or whose turn it is."""
    training = [other.number for other in at_work if other.number < trial.number and other.node == "train"]
    if trial.node == "judge" and training:  # results are taken in in the order of numbers
        return f"waits for {training[-1]}"
    return trial.phase or SHORT_ROLES.get(trial.node, "starting")


def counted(trials: Sequence[AtWork], at_work: Sequence[AtWork], n_words: int = 4) -> str:
    """Return how many of `trials`, some of those at work, do what, such as `12 training, 2 coder, 1 other`."""
    words = Counter(doing(trial, at_work).partition(" for ")[0] for trial in trials).most_common()
    told = [f"{n} {word}" for word, n in words[:n_words]]
    if other := sum(n for _, n in words[n_words:]):
        told.append(f"{other} other")
    return ", ".join(told)


def _one(trial: AtWork, task: TaskSpec, *, narrow: bool) -> RenderableType:
    cap, spent = _cap(trial.phase, task), _spent(trial)
    what = Text.assemble((f"trial {trial.number}", "bold"), f"  {ROLES.get(trial.node, 'starting')}")
    if trial.player:
        what.append(f" ({plain(trial.player)})", style="dim")
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(no_wrap=True, overflow="ellipsis")
    title = _title(trial)
    cells: list[RenderableType] = [what]
    if not narrow:
        line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        cells.append(title)
    if cap is None:
        line.add_row(*cells)
        return Group(line, title) if narrow and trial.title else line
    bar_width = 10 if narrow else 24
    bar = ProgressBar(total=cap, completed=min(spent, cap), width=bar_width)
    clock = f"{trial.phase} {spent:.0f}/{cap:g} s"
    if not narrow:
        line.add_column(width=bar_width)
        line.add_column(no_wrap=True)
        line.add_row(*cells, bar, clock)
        return line
    line.add_row(*cells)
    below = Table.grid(padding=(0, 1))
    below.add_row(bar, clock)
    return Group(line, title, below)


def _several(at_work: Sequence[AtWork], task: TaskSpec, *, narrow: bool, n_lines: int) -> RenderableType:
    n_shown = len(at_work) if len(at_work) <= n_lines else max(1, n_lines - 1)
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(justify="right", no_wrap=True, style="bold")
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    if not narrow:
        table.add_column(width=10)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for trial in at_work[:n_shown]:
        cap, spent = _cap(trial.phase, task), _spent(trial)
        if trial.node == "judge":
            cap = None
        clock = f"{spent:.0f}/{cap:g} s" if cap is not None else told_clock(spent)
        cells: list[RenderableType] = [str(trial.number), doing(trial, at_work), clock]
        if not narrow:
            cells.append("" if cap is None else ProgressBar(total=cap, completed=min(spent, cap), width=10))
        table.add_row(*cells, _title(trial))
    rest = at_work[n_shown:]
    if not rest:
        return table
    told = counted(rest, at_work, n_words=2 if narrow else 4)
    return Group(table, Text(f"and {len(rest)} more: {told}", no_wrap=True, overflow="ellipsis"))


def told_clock(seconds: float) -> str:
    """Return how long something lasts, in few characters: `40 s`, `12 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _title(trial: AtWork) -> Text:
    title = shown(trial.title, "italic")
    title.no_wrap, title.overflow = True, "ellipsis"
    return title


def _cap(phase: str, task: TaskSpec) -> float | None:
    """Return how many seconds a phase may take, None outside one."""
    return {
        "featurising": task.caps.featurise_seconds,
        "training": task.caps.train_seconds / task.split.n_trainings,
        "predicting": task.caps.predict_seconds,
    }.get(phase)


def _spent(trial: AtWork) -> float:
    return max(0.0, time.time() - trial.since)  # a clock may be set back
