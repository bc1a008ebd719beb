"""The history of a run, derived from the journal's entries: trials, decisions, the champion and who came from whom.

It is pure: it reads no file, and adding an entry takes about the same time whatever went before.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from evaluation_locked.noise import squares_around_mean
from memory.records import DecisionRecord, TrialRecord
from memory.tried import Tried

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memory.records import Entry, Idea, Outcome


class HistoryError(ValueError):
    """An entry that does not follow from those before it; the message names both."""


def changes_of(idea: Idea) -> tuple[str, ...]:
    """Return the keys of what an idea adds to its parent, see `History.changes_in`."""
    turned = tuple(f"{name}={value!r}" for name, value in idea.knobs.items())
    return (*idea.techniques, *turned) or (() if idea.removed else (f"trial {idea.number}",))


class History:
    """What happened so far.

    A trial counts as *finished* where it has a score.

    Attributes:
        trials: Every recorded trial by number, in the order recorded.
        decisions: The latest later word on a trial, by its number.
        gains: By axis, the gain of each of its trials over the champion of its time by the latest decision, by number.
        n_of_axis: By axis, how many trials were recorded.
        n_entries: Taken in so far: what was derived from a history holds while this stands.
        n_trained: Recorded trials that were paid for, whatever became of them.
        in_flight: Trials that were begun and are not recorded, by number; None until its idea is chosen.
        just_reversed: The trial whose keep the last entry took back, None where it did something else.
        near_misses: Trials whose outcome is a near miss, by number.
        replicated: How often a replicate of each trial was recorded, whatever became of it.
        seed_spread: Of the files that were trained to their end more than once, the sum of the squared distances of
            their scores from their file's mean, and how many scores there are less one for each file.
        tried: What was tried from where, for those who look for moves.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.trials: dict[int, TrialRecord] = {}
        self.decisions: dict[int, DecisionRecord] = {}
        self._keeps: dict[int, int] = {}  # trial -> trials recorded when it was kept, in the order of keeping
        self._first_with_code: dict[str, int] = {}
        self._first_with_meaning: dict[str, int] = {}
        self._finished_with_code: dict[str, list[int]] = {}
        self._scores: list[float] = []
        self._changes: dict[int, tuple[str, ...]] = {}
        self._highest = -1
        self.gains: dict[str, dict[int, float]] = {}
        self.n_of_axis: Counter[str] = Counter()
        self.n_trained = 0
        self.in_flight: dict[int, Idea | None] = {}
        self.n_entries = 0
        self.just_reversed: int | None = None
        self.near_misses: dict[int, None] = {}
        self.replicated: Counter[int] = Counter()
        self.seed_spread: tuple[float, int] = (0.0, 0)
        self.tried = Tried()
        self._trained_again: dict[str, None] = {}  # codes
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> bool:
        """Take in one entry.

        A process that dies between writing a trial and noting that it did may write it again; the first line on a
        trial stands, and only a decision changes it.

        Returns:
            Whether the entry was new; False for a trial that is already recorded.

        Raises:
            HistoryError: Its parent, or the trial that it decides, is not recorded.
        """
        if isinstance(entry, DecisionRecord):
            if entry.trial not in self.trials:
                raise HistoryError(f"a decision on trial {entry.trial}, which is not recorded: record the trial first")
            self.decisions[entry.trial] = entry
            self.n_entries += 1
            self.just_reversed = entry.trial if entry.trial in self._keeps and entry.outcome != "kept" else None
            self._note_gain(entry.trial, entry.gain)
            self._note_outcome(entry.trial, entry.outcome)
            return True
        if entry.number in self.trials:
            return False
        parent = entry.idea.parent
        if parent is not None and parent not in self.trials:
            raise HistoryError(
                f"trial {entry.number} edits trial {parent}, which is not recorded: record trial {parent} first"
            )
        self.trials[entry.number] = entry
        self.n_trained += entry.status != "not run"
        self.in_flight.pop(entry.number, None)
        self.n_entries += 1
        self.just_reversed = None
        self._changes[entry.number] = self.changes_after(entry.idea)
        self._highest = max(self._highest, entry.number)
        if entry.code_sha:
            self._first_with_code.setdefault(entry.code_sha, entry.number)
        if entry.score is not None:
            self._scores.append(entry.score.value)
            if entry.meaning_sha:
                self._first_with_meaning.setdefault(entry.meaning_sha, entry.number)
            if entry.code_sha:
                self._note_training(entry.code_sha, entry.number)
        if entry.idea.mode == "replicate" and parent is not None:
            self.replicated[parent] += 1
        self.n_of_axis[entry.idea.axis] += 1
        self._note_gain(entry.number, entry.gain)
        self.tried.add(entry, changes_of(entry.idea), self._changes[entry.number])
        self._note_outcome(entry.number, entry.outcome)
        return True

    def _note_training(self, code_sha: str, number: int) -> None:
        trained = self._finished_with_code.setdefault(code_sha, [])
        before = self._scores_of(trained)
        trained.append(number)
        if before:
            squares, freedom = self.seed_spread
            added = squares_around_mean(self._scores_of(trained)) - squares_around_mean(before)
            self.seed_spread = (squares + added, freedom + 1)
            self._trained_again[code_sha] = None

    def _scores_of(self, numbers: Iterable[int]) -> list[float]:
        return [score.value for n in numbers if (score := self.trials[n].score) is not None]

    def _note_gain(self, number: int, gain: float | None) -> None:
        gains = self.gains.setdefault(self.trials[number].idea.axis, {})
        if gain is None:
            gains.pop(number, None)
        else:
            gains[number] = gain

    def _note_outcome(self, number: int, outcome: Outcome) -> None:
        if outcome == "near-miss":
            self.near_misses[number] = None
        else:
            self.near_misses.pop(number, None)
        if outcome != "kept":
            self._keeps.pop(number, None)
        elif number not in self._keeps:  # a keep that is confirmed keeps its place
            self._keeps[number] = len(self.trials)

    def outcome(self, number: int) -> Outcome:
        """Return what became of a trial; the latest decision wins.

        Raises:
            KeyError: The trial is not recorded.
        """
        decision = self.decisions.get(number)
        return self.trials[number].outcome if decision is None else decision.outcome

    def reason(self, number: int) -> str:
        """Return the sentence that goes with `outcome`.

        Raises:
            KeyError: The trial is not recorded.
        """
        decision = self.decisions.get(number)
        return self.trials[number].reason if decision is None else decision.reason

    def decided_gain(self, number: int) -> float | None:
        """Return the gain over the champion of its time by the latest decision, positive is better; None undecided.

        Raises:
            KeyError: The trial is not recorded.
        """
        decision = self.decisions.get(number)
        return self.trials[number].gain if decision is None else decision.gain

    @property
    def keeps(self) -> list[int]:
        """Trials that are kept, in the order in which they were kept; one that a decision took back is not there."""
        return list(self._keeps)

    @property
    def champion(self) -> TrialRecord | None:
        """The trial that was kept last, None before the first."""
        return self.trials[next(reversed(self._keeps))] if self._keeps else None

    def last_measured(self, n: int) -> list[TrialRecord]:
        """Return the last trials that were measured against a champion, at most n, in the order recorded."""
        return list(islice((t for t in reversed(self.trials.values()) if t.gain is not None), n))[::-1]

    @property
    def rounds_since_keep(self) -> int:
        """Trials recorded since the champion was kept, whatever became of them; all of them before the first keep."""
        return len(self.trials) - (next(reversed(self._keeps.values())) if self._keeps else 0)

    @property
    def next_number(self) -> int:
        """The number of the next trial: one above the highest recorded or in flight."""
        return max(self._highest, *self.in_flight, -1) + 1

    @property
    def planning(self) -> int:
        """The trial that is being planned: begun, and without an idea yet; the next number where there is none."""
        return next((number for number, idea in self.in_flight.items() if idea is None), self.next_number)

    def beside(self, number: int) -> list[Idea]:
        """Return the ideas of the other trials in flight."""
        return [idea for n, idea in self.in_flight.items() if idea is not None and n != number]

    @property
    def scores(self) -> list[float]:
        """Score of every finished trial in the order recorded, in the unit of the metric."""
        return list(self._scores)

    def replicates_of(self, number: int) -> list[int]:
        """Return the finished trials of the same code, the trial itself among them where it finished.

        Raises:
            KeyError: The trial is not recorded.
        """
        trial = self.trials[number]
        if trial.code_sha:
            return self.finished_with(trial.code_sha)
        return [number] if trial.score is not None else []

    def finished_with(self, code_sha: str) -> list[int]:
        """Return the finished trials of this code, by the sha256 of their train.py."""
        return list(self._finished_with_code.get(code_sha, ()))

    def find_meaning(self, meaning_sha: str) -> int | None:
        """Return the first finished trial whose code means this, None where there is none; see `TrialRecord`."""
        return self._first_with_meaning.get(meaning_sha)

    def seed_noise_groups(self) -> list[list[float]]:
        """Return the scores of each code that was trained to its end more than once."""
        return [self._scores_of(self._finished_with_code[code]) for code in self._trained_again]

    def mean_score(self, number: int) -> float | None:
        """Return the mean score over the replicates of a trial, None where none finished.

        Raises:
            KeyError: The trial is not recorded.
        """
        values = self._scores_of(self.replicates_of(number))
        return sum(values) / len(values) if values else None

    def gain(self, before: int, after: int) -> float | None:
        """Return how much better `after` scores than `before`, by the means of their replicates; positive is better.

        It is descriptive: neither sampling nor seed noise is in it, so that it decides nothing.

        Returns:
            The gain in the unit of the metric; None where either has no score, or their metrics differ.

        Raises:
            KeyError: A trial is not recorded.
        """
        scores = [score for n in (before, after) if (score := self.trials[n].score) is not None]
        earlier, later = self.mean_score(before), self.mean_score(after)
        if earlier is None or later is None or len({score.metric for score in scores}) != 1:
            return None
        return scores[0].gain(earlier, later)

    def lineage(self, number: int) -> list[int]:
        """Return the trials from the root to `number`, each the parent of the next.

        Raises:
            KeyError: The trial is not recorded.
        """
        path = [number]
        while (parent := self.trials[path[-1]].idea.parent) is not None:
            path.append(parent)
        return path[::-1]

    def techniques_in(self, number: int) -> tuple[str, ...]:
        """Return the techniques that the trial's code holds, in the order added along its lineage.

        Raises:
            KeyError: The trial is not recorded.
        """
        held: dict[str, None] = {}
        for ancestor in self.lineage(number):
            idea = self.trials[ancestor].idea
            for technique in idea.removed:
                held.pop(technique, None)
            held.update(dict.fromkeys(idea.techniques))
        return tuple(held)

    def knobs_in(self, number: int) -> dict[str, Any]:
        """Return the top-level constants that the trial's lineage set; a later setting wins.

        Raises:
            KeyError: The trial is not recorded.
        """
        held: dict[str, Any] = {}
        for ancestor in self.lineage(number):
            held.update(self.trials[ancestor].idea.knobs)
        return held

    def changes_in(self, number: int) -> tuple[str, ...]:
        """Return what the trial's code holds beyond the seed's, one key a change, in the order made.

        A technique has its id as key, the value of a knob `NAME=value` beside it, and a change that names neither has
        `trial N`, after the trial that made it.

        Raises:
            KeyError: The trial is not recorded.
        """
        return self._changes[number]

    def changes_after(self, idea: Idea) -> tuple[str, ...]:
        """Return what the code of an idea's trial would hold, see `changes_in`."""
        held: dict[str, None] = dict.fromkeys(self._changes[idea.parent]) if idea.parent is not None else {}
        if idea.mode in ("baseline", "replicate"):
            return tuple(held)
        for key in changes_of(idea):
            if "=" in key:  # a knob has one value
                name = key.partition("=")[0] + "="
                held = {other: None for other in held if not other.startswith(name)}
            held[key] = None
        for technique in idea.removed:
            held.pop(technique, None)
        return tuple(held)

    def find_code(self, code_sha: str) -> int | None:
        """Return the first trial with this code, finished or not, None where the code is new."""
        return self._first_with_code.get(code_sha)
