"""What was tried from which file: kept as trials are recorded, so that who looks for a move reads no trial again.

It owns counts and sets, and knows no rule: which move is worth making is not its business. Ideas that name no technique
and no constant (`trial N`, see `History.changes_in`) are no moves that anyone can make again, and are left out.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from memory.records import Idea, TrialRecord

Signature = tuple[frozenset[str], frozenset[str], tuple[tuple[str, str], ...]]


class Tried:
    """What the recorded trials tried.

    Attributes:
        ran: Techniques and constants that a trial with a score added.
        failed: Those that a trial without one added.
        first_with: By technique or constant, the first trial with a score that added it and is no replicate.
        last_with: By technique, the last trial that named it, whatever became of it.
        began: By technique, the places in the order recorded of the trials that named it.
    """

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.failed: set[str] = set()
        self.first_with: dict[str, int] = {}
        self.last_with: dict[str, int] = {}
        self.began: dict[str, array[int]] = defaultdict(lambda: array("I"))
        self._n_trials = 0
        self._from: dict[int, set[Signature]] = defaultdict(set)
        self._did_not_run: set[Signature] = set()
        self._lost: dict[int, dict[str, dict[int | float, None]]] = {}
        self._files: set[int] = set()

    def add(self, trial: TrialRecord, added: Collection[str], held: Collection[str]) -> None:
        """Take in a trial.

        Args:
            trial: In the order recorded.
            added: Keys of what its idea adds to its parent.
            held: Keys of what its file holds.
        """
        idea, scored = trial.idea, trial.score is not None
        for name in idea.techniques:
            self.began[name].append(self._n_trials)
            self.last_with[name] = trial.number
        self._n_trials += 1
        for key in added:
            if not key.startswith("trial "):
                (self.ran if scored else self.failed).add(key)
                if scored and idea.mode != "replicate":
                    self.first_with.setdefault(key, trial.number)
        if scored:
            self._files.add(_mark(held))
        if is_single(idea):
            if idea.parent is not None:
                self._from[idea.parent].add(signature(idea))
            if trial.outcome in ("crashed", "rejected"):
                self._did_not_run.add(signature(idea))
        # Beside other changes it is not known which of them lost.
        if len(idea.techniques) == 1 and idea.parent is not None and trial.gain is not None and trial.gain <= 0:
            lost = self._lost.setdefault(idea.parent, {}) if idea.knobs else {}
            for name, value in idea.knobs.items():
                if isinstance(value, int | float):
                    lost.setdefault(name, {})[value] = None

    def steps_from(self, lineage: Iterable[int]) -> set[Signature]:
        """Return the single changes that were tried on one of some files, or did not run wherever they were tried."""
        return self._did_not_run.union(*(self._from.get(number, ()) for number in lineage))

    def lost_values(self, name: str, lineage: Iterable[int]) -> list[int | float]:
        """Return the values of a constant that gained nothing on one of some files, with no other change beside it."""
        return [value for number in lineage for value in self._lost.get(number, {}).get(name, ())]

    def is_file(self, held: Collection[str]) -> bool:
        """Say whether a file that holds just these changes was trained."""
        return _mark(held) in self._files


def is_single(idea: Idea) -> bool:
    """Say whether an idea names one technique and no more, which it adds, turns or takes out."""
    return len(idea.techniques) + len(idea.removed) == 1


def signature(idea: Idea) -> Signature:
    """Return what makes two ideas the same step, wherever they start from."""
    turned = tuple(sorted((name, repr(value)) for name, value in idea.knobs.items()))
    return (frozenset(idea.techniques), frozenset(idea.removed), turned)


def _mark(held: Collection[str]) -> int:
    return hash(frozenset(held))
