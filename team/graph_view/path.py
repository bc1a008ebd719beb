"""`team graph path`: the way from the seed to the champion, or to any trial, as a story with each step's gain.

A gain has the interval that the judge gave where he compared a trial with its own parent. Where it was compared with
another champion, the two trials' predictions are compared again: by the locked scorer, under the same rule.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.text import Text

from graph.errors import RunError
from graph.judging import measure_gain
from graph.run_folder import read_history
from memory.idea_graph import story
from memory.records import AXES
from team.display import COLOURS
from team.graph_view.one_trial import find_trial, print_pairs
from team.plain import shown
from team.summary import open_console

if TYPE_CHECKING:
    from graph.run_folder import RunFolder
    from memory.history import History


@dataclass(frozen=True)
class Gain:
    """How much better one trial is than another, with its 95 % interval; seed noise is in it.

    Attributes:
        gain, low, high: In the unit of the metric; positive is better.
        z: In standard errors.
        over: The trial that it is measured against.
    """

    gain: float
    low: float
    high: float
    z: float
    over: int


def print_path(folder: RunFolder, number: int | None, *, as_json: bool) -> None:
    """Print the way from the seed to a trial, to the champion where none is named.

    Raises:
        RunError, JournalError: There is no such trial, nothing was kept yet, or the journal is damaged.
    """
    history = read_history(folder)
    if number is not None:
        find_trial(folder, history, number)
    steps = story(history, number)
    if not steps:
        raise RunError(f"run {folder.name} has kept nothing yet: name a trial, or let it run first")
    task = folder.read_config().task
    unit = f" {task.unit}" if task.score_metric.has_unit else ""
    first, last = steps[0].number, steps[-1].number
    gains = [None, *(gain_over(folder, history, b.number, a.number) for b, a in pairwise(steps))]
    total = gain_over(folder, history, first, last) if len(steps) > 2 else None
    if as_json:
        told = [
            asdict(step)
            | {"measured": None if gain is None else asdict(gain), "outcome": history.outcome(step.number)}
            | {"why": history.trials[step.number].idea.why, "reason": history.reason(step.number)}
            for step, gain in zip(steps, gains, strict=True)
        ]
        print(json.dumps({"steps": told, "total": None if total is None else asdict(total)}, indent=1))
        return
    console = open_console()
    champion = history.champion
    goal = "the champion" if champion is not None and champion.number == last else f"trial {last}"
    count = f"{len(steps) - 1} step{'s' * (len(steps) != 2)}"
    console.print(f"from the seed to {goal} in {count}" if len(steps) > 1 else "the seed is still the champion")
    for step, gain in zip(steps, gains, strict=True):
        idea, outcome = history.trials[step.number].idea, history.outcome(step.number)
        axis = f" {idea.axis} {AXES[idea.axis]}" if idea.axis in AXES else ""
        head = Text(f"\n{step.number:4d}  ", style="bold").append_text(shown(idea.title, "default"))
        console.print(head.append(f"  {idea.mode}{axis}  ", style="dim").append(outcome, style=COLOURS[outcome]))
        trainings = len(history.replicates_of(step.number))
        mean = f", mean of {trainings} trainings" if trainings > 1 else ""
        pairs = [("score", "no score" if step.score is None else f"{step.score:.4f}{unit}{mean}")]
        if gain is not None:
            pairs.append(("gain", told_gain(gain, unit)))
        if step.number != first:
            pairs += [("because", idea.why), ("judge", " ".join(history.reason(step.number).splitlines()[:1]))]
        print_pairs(console, [(f"    {label}", shown(text)) for label, text in pairs if text])
    if total is not None:
        console.print()
        console.print(shown(f"in all {told_gain(total, unit)}", "bold"))


def gain_over(folder: RunFolder, history: History, before: int, after: int) -> Gain | None:
    """Return the measured gain of one trial over another, None where either did not finish.

    Raises:
        KeyError: A trial is not recorded.
        RunError: Stored predictions are not what was scored.
    """
    record = history.trials[after]
    judged = history.decisions.get(after, record)
    if record.champion == before and judged.gain is not None:
        assert judged.gain_low is not None and judged.gain_high is not None and judged.z is not None
        return Gain(judged.gain, judged.gain_low, judged.gain_high, judged.z, before)
    decision = measure_gain(folder, history, after, before)
    return None if decision is None else Gain(decision.gain, decision.low, decision.high, decision.z, before)


def told_gain(gain: Gain, unit: str) -> str:
    """Return a gain in words."""
    beyond = "beyond noise" if gain.low > 0 else "worse beyond noise" if gain.high < 0 else "not beyond noise"
    return (
        f"{gain.gain:+.4f}{unit} [{gain.low:+.4f}, {gain.high:+.4f}] over trial {gain.over}, "
        f"{gain.z:+.1f} standard errors, {beyond}"
    )
