"""What a role is told of the run: short texts whose length does not grow with the number of trials.

Memory is summarised here, never replayed: counts by axis, the best few, the last few. It reads; it decides nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import chain, islice
from typing import TYPE_CHECKING

from memory.records import AXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memory.history import History
    from memory.knowledge import Knowledge
    from memory.person import Wish
    from memory.records import Idea, TrialRecord

BEST_TRIALS, LAST_TRIALS, TRIALS_OF_AN_AXIS, FLYING_TRIALS = 5, 6, 8, 16
MAX_TITLE, MAX_REASON, MAX_WISH = 80, 110, 600


def history_text(knowledge: Knowledge) -> str:
    """Return the run in about thirty lines: the champion, counts by axis, best trials, last ones, those in flight."""
    history, unit = knowledge.history, knowledge.task.unit
    champion = history.champion
    lines = [f"Score: {knowledge.task.metric} {unit}".strip() + f"; {len(history.trials)} trials so far"]
    if champion is not None:
        seed = history.mean_score(history.keeps[0])
        lines.append(
            f"Champion: trial {champion.number}, {_cut(champion.idea.title, MAX_TITLE)}, score "
            f"{history.mean_score(champion.number) or 0:.4f}, the seed {seed or 0:.4f}; "
            f"no keep for {history.rounds_since_keep} rounds"
        )
    lines.append("Axis: trials, kept, mean gain of those measured, best gain")
    kept: Counter[str] = Counter(history.trials[number].idea.axis for number in history.keeps)
    lines += [f"  {axis} {name}: {_axis_counts(history, axis, kept[axis])}" for axis, name in AXES.items()]
    measured = chain.from_iterable(gains.items() for gains in history.gains.values())
    best = heapq.nsmallest(BEST_TRIALS, measured, key=lambda found: (-found[1], found[0]))
    if best:
        lines += ["Best trials:", *(f"  {trial_line(history, history.trials[number])}" for number, _ in best)]
    last = list(islice(reversed(history.trials.values()), LAST_TRIALS))[::-1]
    lines += ["Last trials:", *(f"  {trial_line(history, trial)}" for trial in last)] if last else []
    flying = [idea for idea in history.in_flight.values() if idea is not None]
    if flying:
        lines.append("In flight, so not to be proposed again:")
        lines += [f"  {_idea_line(idea)}" for idea in flying[-FLYING_TRIALS:]]
    return "\n".join(lines)


def tried_text(knowledge: Knowledge, axis: str, near: Iterable[int | str] = ()) -> str:
    """Return the latest trials of an axis, or those of `near`, a line each; labels of other runs are left out."""
    history = knowledge.history
    chosen = {n for n in near if isinstance(n, int) and n in history.trials}
    of_axis = (t.number for t in reversed(history.trials.values()) if axis in (t.idea.axis, "-"))
    chosen |= set(islice(of_axis, max(0, TRIALS_OF_AN_AXIS - len(chosen))))
    return "\n".join(trial_line(history, history.trials[n]) for n in sorted(chosen)) or "nothing yet"


def trial_line(history: History, trial: TrialRecord) -> str:
    """Return one trial in one line: what, from what, how it ended."""
    gain = history.decided_gain(trial.number)
    figure = f" gain {gain:+.4f}" if gain is not None else ""
    outcome = history.outcome(trial.number)
    reason = f" ({_cut(history.reason(trial.number), MAX_REASON)})" if outcome in ("crashed", "rejected") else ""
    return f"{_idea_line(trial.idea)}: {outcome}{figure}{reason}"


def _idea_line(idea: Idea) -> str:
    origin = "" if idea.parent is None else f" of {idea.parent}"
    return f"{idea.number} {idea.mode} {idea.axis}{origin}: {_cut(idea.title, MAX_TITLE)}"


def wish_text(wishes: Sequence[Wish]) -> str:
    """Return the first of some wishes of the person who runs the team, empty where there is none; the others wait."""
    return f"The person who runs the team wishes: {_cut(wishes[0].text, MAX_WISH)}" if wishes else ""


def gains_text(history: History, axis: str, words: str) -> str:
    """Return how many trials of an axis were measured and their mean and best gain, put into `words`; empty for none.

    Args:
        history: The run's.
        axis: Such as `A2`.
        words: With `{n}`, `{mean}` and `{best}`; gains are in the unit of the metric.
    """
    gains = history.gains.get(axis)
    if not gains:
        return ""
    return words.format(n=len(gains), mean=sum(gains.values()) / len(gains), best=max(gains.values()))


def _axis_counts(history: History, axis: str, kept: int) -> str:
    if not history.n_of_axis[axis]:
        return "untouched"
    figures = gains_text(history, axis, ", {mean:+.4f}, {best:+.4f}") or ", none measured"
    return f"{history.n_of_axis[axis]}, {kept}{figures}"


def _cut(text: str, length: int) -> str:
    """Return the text on one line, with an ellipsis where it was cut."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 3]}..."
