"""`team graph show`, `why` and `diff`: one trial whole, the reasons behind it, and two trials' files side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from graph.errors import RunError
from graph.run_folder import read_history
from memory.edits import unified_diff
from memory.records import AXES
from team.display import COLOURS
from team.frames import trial_fields
from team.plain import plain, shown
from team.summary import open_console

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from graph.run_folder import RunConfig, RunFolder
    from memory.history import History
    from memory.records import TrialRecord

TAB = "    "


def print_trial(folder: RunFolder, number: int, *, as_json: bool) -> None:
    """Print one trial whole: what it was, what was said of it, its figures, its diff.

    Raises:
        RunError, JournalError: There is no such trial, or the journal is damaged.
    """
    history = read_history(folder)
    trial = find_trial(folder, history, number)
    children = [other.number for other in history.trials.values() if other.idea.parent == number]
    if as_json:
        told = trial_fields(history, trial) | {
            "hypothesis": trial.idea.hypothesis,
            "why": trial.idea.why,
            "review": None if trial.verdict is None else trial.verdict.model_dump(mode="json"),
            "children": children,
            "diff": trial.diff,
            "path": str(folder.trial(number)),
        }
        print(json.dumps(told, indent=1))
        return
    console, config = open_console(), folder.read_config()
    outcome, champion = history.outcome(number), history.champion
    head = Text(f"trial {number}  ", style="bold").append_text(shown(trial.idea.title))
    mark = ", the champion" if champion is not None and champion.number == number else ""
    console.print(head.append("  ").append(f"{outcome}{mark}", style=COLOURS[outcome]))
    print_pairs(console, _facts(folder, config, history, trial, children))
    if trial.diff:
        console.print()
        print_diff(console, trial.diff)


def print_why(folder: RunFolder, number: int, *, as_json: bool) -> None:
    """Print why a trial was tried and what was said of it: strategist, scout, reviewer, judge, in that order.

    Raises:
        RunError, JournalError: There is no such trial, or the journal is damaged.
    """
    history = read_history(folder)
    trial = find_trial(folder, history, number)
    reasons = _reasons(history, trial)
    if as_json:
        told = [{"role": role, "says": says} for role, says in reasons]
        print(json.dumps({"number": number, "title": trial.idea.title, "reasons": told}, indent=1))
        return
    console = open_console()
    console.print(Text(f"trial {number}  ", style="bold").append_text(shown(trial.idea.title)))
    print_pairs(console, [(role, shown(says)) for role, says in reasons])


def print_difference(folder: RunFolder, one: int, other: int, *, as_json: bool) -> None:
    """Print what turns the train.py of one trial into that of another.

    Raises:
        RunError, JournalError: There is no such trial, one left no file, or the journal is damaged.
    """
    history = read_history(folder)
    sources = []
    for number in (one, other):
        find_trial(folder, history, number)
        try:
            sources.append(folder.source(number))
        except FileNotFoundError:
            raise RunError(f"trial {number} of run {folder.name} left no train.py: its edit did not apply") from None
    diff = unified_diff(sources[0], sources[1])
    if as_json:
        print(json.dumps({"from": one, "to": other, "diff": diff}, indent=1))
        return
    console = open_console()
    if not diff:
        console.print(f"trials {one} and {other} trained the same file")
        return
    for number, style in ((one, "red"), (other, "green")):
        title = history.trials[number].idea.title
        console.print(Text(f"trial {number}  ", style=style).append_text(shown(title)))
    print_diff(console, diff)


def find_trial(folder: RunFolder, history: History, number: int) -> TrialRecord:
    """Return a recorded trial.

    Raises:
        RunError: It is not recorded.
    """
    if number not in history.trials:
        last = max(history.trials, default=None)
        known = "none is recorded yet" if last is None else f"they go from 0 to {last}"
        raise RunError(f"run {folder.name} has no trial {number}: {known}, and `team graph {folder.name}` lists them")
    return history.trials[number]


def print_pairs(console: Console, pairs: list[tuple[str, Text]]) -> None:
    """Print labels and texts, broken at words below their own column in a terminal, a line each in a pipe."""
    if console.is_terminal:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in pairs:
            table.add_row(f"  {label}", text)
        console.print(table)
        return
    for label, text in pairs:
        console.print(Text(f"  {label:<12}", style="dim").append_text(text))


def print_diff(console: Console, diff: str) -> None:
    """Print a unified diff, coloured; the lines themselves are a trial's and are shown letter by letter."""
    for line in diff.splitlines():
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "default")
        if line.startswith(("+++", "---")):
            style = "dim"
        for part in _folded(plain(line.replace("\t", TAB)), console.width if console.is_terminal else 0):
            console.print(Text(part, style=style, no_wrap=True, overflow="ignore"))


def _folded(line: str, width: int) -> list[str]:
    """Return a line of code in parts of at most `width` characters; what goes on says so, and keeps the line's sign."""
    if not width or len(line) <= width:
        return [line]
    go_on = f"{line[:1]}{TAB}… "
    step = max(1, width - len(go_on))
    return [line[:width], *(go_on + line[at : at + step] for at in range(width, len(line), step))]


def _facts(
    folder: RunFolder, config: RunConfig, history: History, trial: TrialRecord, children: list[int]
) -> list[tuple[str, Text]]:
    """Return what `show` says of a trial, as labels and texts; what is not known is left out."""
    idea, score, crowding = trial.idea, trial.score, trial.crowding
    judged = history.decisions.get(trial.number, trial)
    unit = f" {config.task.unit}" if config.task.score_metric.has_unit else ""
    said = dict(_reasons(history, trial))
    origin = "" if idea.parent is None else f" of trial {idea.parent}"
    axis = f" on {idea.axis} {AXES[idea.axis]}" if idea.axis in AXES else ""
    joined = [n for n in idea.also_from if n != idea.parent]
    joins = f", joining trial{'s' * (len(joined) > 1)} {_numbers(joined)}" if joined else ""
    by = f", proposed by the {idea.proposed_by}" if idea.proposed_by else ""
    changes = [*idea.techniques, *(f"{name} = {value}" for name, value in idea.knobs.items())]
    changes += [f"without {name}" for name in idea.removed]
    views = {"text": crowding.text, "code": crowding.code, "behaviour": crowding.behaviour}
    crowded = ", ".join(f"{name} {value:.2f}" for name, value in views.items() if value is not None)
    nearest = f"; nearest: {_numbers(crowding.nearest)}" if crowding.nearest else ""
    trainings = len(history.replicates_of(trial.number))
    mean = f"; mean of {trainings} trainings {history.mean_score(trial.number):.4f}" if trainings > 1 else ""
    seconds = (
        f"featurise {trial.featurise_seconds:.1f} s, train {trial.train_seconds:.1f} s, "
        f"predict {trial.predict_seconds:.1f} s; smoke trial {trial.smoke_seconds:.1f} s; "
        f"team and judge {trial.overhead_seconds:.1f} s"
    )
    facts = {
        "idea": f"{idea.mode}{origin}{axis}{joins}{by}",
        "changes": ", ".join(changes),
        "source": idea.source,
        "hypothesis": idea.hypothesis,
        "strategist": said["strategist"],
        "reviewer": said["reviewer"],
        "score": ""
        if score is None
        else f"{score.metric} {score.value:.4f}{unit} [{score.low:.4f}, {score.high:.4f}] on {score.n:,} "
        f"search-validation crystals{mean}",
        "gain": ""
        if judged.gain is None
        else f"{judged.gain:+.4f}{unit} [{judged.gain_low:+.4f}, {judged.gain_high:+.4f}], "
        f"{judged.z:+.1f} standard errors" + (f", over trial {trial.champion}" if trial.champion is not None else ""),
        "judge": said["judge"],
        "later": said.get("judge later", ""),
        "crowding": f"{crowded}{nearest}",
        "time": seconds if trial.status != "not run" else "",
        "memory": f"{trial.peak_memory_gib:.2f} GiB" if trial.peak_memory_gib else "",
        "begun": trial.started_at,
        "children": _numbers(children),
        "files": str(folder.trial(trial.number)),
    }
    return [(label, shown(text)) for label, text in facts.items() if text]


def _reasons(history: History, trial: TrialRecord) -> list[tuple[str, str]]:
    """Return who said what of a trial; the strategist, the scout, the reviewer and the judge always say something."""
    idea, verdict = trial.idea, trial.verdict
    review = "was not asked"
    if verdict is not None:
        repeats = f" (repeats trial {verdict.repeat_of})" if verdict.repeat_of is not None else ""
        review = f"{verdict.kind}{repeats}" + (f": {'; '.join(verdict.reasons)}" if verdict.reasons else "")
    source = f" ({idea.source})" if idea.source else ""
    said = [
        ("strategist", idea.why or "gave no reason"),
        ("scout", f"{idea.hypothesis or idea.title}{source}"),
        ("reviewer", review),
        ("judge", f"{trial.outcome}: {' '.join(trial.reason.splitlines()[:1])}"),
    ]
    if decision := history.decisions.get(trial.number):
        said.append(("judge later", f"{decision.outcome}: {decision.reason}"))
    return said


def _numbers(numbers: Iterable[int | str]) -> str:
    return ", ".join(map(str, numbers))
