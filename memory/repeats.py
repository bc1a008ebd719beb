"""Repeats, seen before they are paid for: an idea that an earlier trial has already answered.

A repeat is one of three, defined exactly in docs/repeats.md: the *same* change as an earlier one (in other words, or on
a later base), a knob's value that is *bracketed* by two that lost on this base, or a change that is a *no-op*. A change
whose only earlier trial was lost to a crash or to noise gets a second chance. What repeats is refused, or run as a
replicate and called one; which of the two is for the strategist to say. What a trial in flight is trying is a repeat
until it is recorded, and then what its answer makes it. Nothing here reads a file or the idea's result.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from evaluation_locked.keep_rule import KEEP_Z, NEAR_MISS_Z
from memory.attempts import Attempt, AttemptIndex, are_exact, names_of
from memory.changes import Change, read_changes
from memory.crowding import diff_fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from memory.attempts import Names
    from memory.history import History
    from memory.records import Idea

Answer = Literal["kept", "lost", "clearly lost", "open", "failed"]
LOST = ("lost", "clearly lost")
MAX_FAILED = 2  # crashes or rejections of one change before it is given up
_CONSTANT = re.compile(r"^([-+])([A-Z][A-Z0-9_]*)\s*(?::[^=]+)?=\s*([^#\n]+?)\s*(?:#.*)?$")


@dataclass(frozen=True)
class Repeat:
    """What an idea repeats.

    Attributes:
        of: The earlier trial; the parent where the change does nothing.
        kind: `same`, `bracketed` or `no-op`.
        reason: One sentence.
    """

    of: int
    kind: Literal["same", "bracketed", "no-op"]
    reason: str


def answer_of(z: float | None, *, kept: bool = False) -> Answer:
    """Return what a trial said of its change.

    The keep rule, mirrored: what is worse by more than a near miss must be better has lost, by more than a keep must be
    better has clearly lost; what is neither that nor kept is open.

    Args:
        z: Its gain over the champion of its time in standard errors, positive is better; None where it has no score.
        kept: Whether it became champion.
    """
    if kept:
        return "kept"
    if z is None:
        return "failed"
    if z < -KEEP_Z:
        return "clearly lost"
    return "lost" if z < -NEAR_MISS_Z else "open"


class Attempts:
    """All changes that were tried, and the rule by which another is a repeat of them.

    Args:
        answer: What trial `number` said of its change, as it is known now.
    """

    def __init__(self, answer: Callable[[int], Answer]) -> None:
        self._answer = answer
        self._index = AttemptIndex()
        self._again: set[int] = set()  # those that were not the first of the same change
        self._again_by_names: dict[Names, list[Attempt]] = defaultdict(list)  # of them those that are exact

    def add(self, attempt: Attempt) -> None:
        """Take in a change that was tried; in the order of the trials."""
        if any(a.is_exact == attempt.is_exact for a in self._index.same(attempt.changes)):
            self._again.add(attempt.number)
            if attempt.is_exact:
                self._again_by_names[names_of(attempt.changes)].append(attempt)
        self._index.add(attempt)

    def find(
        self, changes: Sequence[Change], base: int | None, held: Sequence[Change] = (), same_code: Collection[int] = ()
    ) -> Repeat | None:
        """Return what these changes repeat, None where a trial of them would be news.

        Args:
            changes: What is proposed.
            base: What it would be tried on.
            held: What the base holds; a clause that names no more is no part of the change.
            same_code: Trials that changed the same lines in the same way.
        """
        fresh = new_to(changes, held)
        if changes and not fresh and all(change.exact for change in changes):
            return Repeat(base or 0, "no-op", f"trial {base} already holds it")
        fresh = fresh or tuple(changes)
        coded = (self._index[n] for n in sorted(same_code, reverse=True) if n in self._index)
        same = heapq.merge(self._index.same(fresh), coded, key=lambda attempt: -attempt.number)
        first = next(same, None)
        if first is not None:
            return self._judge_same(itertools.chain((first,), same), fresh, base)
        return self._judge_bracket(fresh[0], base) if len(fresh) == 1 else None

    def _judge_same(self, same: Iterable[Attempt], fresh: Sequence[Change], base: int | None) -> Repeat | None:
        """Return the repeat that earlier trials of the same change make it, the latest of them first."""
        answers: dict[int, Answer] = {}
        here: list[int] = []
        for attempt in same:
            answers[attempt.number] = answer = self._answer(attempt.number)
            if answer in LOST:
                return Repeat(attempt.number, "same", f"trial {attempt.number} made the same change and lost")
            if answer == "open" and attempt.base == base:
                here.append(attempt.number)
        if "kept" in answers.values():
            return None  # a gain once; on a base without it, it may be one again
        last = max(answers)
        if all(answer == "failed" for answer in answers.values()):
            failed = f"the same change failed {len(answers)} times, last in trial {last}"
            return Repeat(last, "same", failed) if len(answers) >= MAX_FAILED else None
        if here:
            return Repeat(here[0], "same", f"trial {here[0]} made the same change to this base, too close to call")
        n_measured = sum(answer != "failed" for answer in answers.values())
        if n_measured > 1 or self._had_second_chance(fresh):
            return Repeat(last, "same", f"trial {last} made the same change, and it had its second chance")
        return None

    def _had_second_chance(self, fresh: Sequence[Change]) -> bool:
        """Return whether a change of the same things was already tried again on another base."""
        return any(
            self._answer(attempt.number) != "failed"
            and self._was_measured_before(attempt)
            and len(reading := attempt.read_like(fresh)) == len(fresh)
            and all(any(change.is_same_thing(other) for other in reading) for change in fresh)
            for attempt in self._tried_again(fresh)
        )

    def _tried_again(self, fresh: Sequence[Change]) -> Sequence[Attempt]:
        if are_exact(fresh):
            return self._again_by_names.get(names_of(fresh), ())
        return [attempt for attempt in self._index.near(fresh) if attempt.number in self._again]

    def _was_measured_before(self, attempt: Attempt) -> bool:
        """Return whether a trial of the same change, before this one, did run."""
        earlier = (a for a in self._index.same(attempt.changes) if a.number < attempt.number)
        return any(a.is_exact == attempt.is_exact and self._answer(a.number) != "failed" for a in earlier)

    def _judge_bracket(self, change: Change, base: int | None) -> Repeat | None:
        """Return the bracket that a value lies in; both ends clearly lost, since what lies between is inferred."""
        if not change.is_knob or not isinstance(change.value, float):
            return None
        losers: list[tuple[float, int]] = []
        maker = [self._index[base]] if base is not None and base in self._index else []
        for attempt in (*maker, *self._index.turned(change, base)):
            reading = attempt.read_like((change,))
            if len(reading) != 1 or not reading[0].is_knob or not change.is_same_thing(reading[0]):
                continue
            if attempt.number == base:  # this keep made the base: the value that it replaced is the worse one
                losers += [(reading[0].start, attempt.number)] if isinstance(reading[0].start, float) else []
            elif attempt.base == base and isinstance(reading[0].value, float):
                losers += [(reading[0].value, attempt.number)] if self._answer(attempt.number) == "clearly lost" else []
        below = max((loser for loser in losers if loser[0] < change.value), default=None)
        above = min((loser for loser in losers if loser[0] > change.value), default=None)
        if below is None or above is None:
            return None
        return Repeat(
            max(below[1], above[1]),
            "bracketed",
            f"{change.value:g} lies between {below[0]:g} (trial {below[1]}) and {above[0]:g} (trial {above[1]}), "
            "which both clearly lost on this base",
        )


class Repeats:
    """The repeats of a run: its history and the trials in flight, and what an idea would repeat of them.

    Args:
        history: The run's history; entries added to it later are seen, and so is what is in flight.
        knobs: Ids of the playbook's techniques that are a knob: the value says what they are.
        marks_in_flight: Fingerprints of the diffs of the trials in flight that are written, see `diff_fingerprint`.
    """

    def __init__(
        self, history: History, knobs: Collection[str] = (), marks_in_flight: Mapping[int, str] | None = None
    ) -> None:
        self._history = history
        self._knobs = frozenset(knobs)
        self._attempts = Attempts(self._answer)
        self._in_flight = AttemptIndex()
        self._ideas_in_flight: dict[int, Idea | None] = {}
        self._marks_in_flight = {} if marks_in_flight is None else marks_in_flight
        self._held_by: dict[int, tuple[Change, ...]] = {}
        self._by_diff: dict[str, list[int]] = defaultdict(list)
        self._n_seen = 0

    def find(self, idea: Idea, diff: str = "") -> Repeat | None:
        """Return which trial an idea repeats, None where it is news or says itself that it repeats.

        Args:
            idea: A baseline and a replicate are never repeats.
            diff: Unified diff from the parent's train.py, where it is already written.
        """
        self._catch_up()
        if idea.mode in ("baseline", "replicate") or idea.parent is None:
            return None
        same_code = self._by_diff.get(diff_fingerprint(diff), ()) if diff else ()
        changes = self._changes(idea, diff)
        held = self._held(idea.parent)
        repeat = self._attempts.find(changes, idea.parent, held, same_code)
        return repeat or self._find_in_flight(idea, new_to(changes, held) or changes, diff)

    def _find_in_flight(self, idea: Idea, fresh: Sequence[Change], diff: str) -> Repeat | None:
        """Return the trial in flight that tries the same; of two that are written, the later repeats the earlier."""
        flying = [a.number for a in self._in_flight.same(fresh)]
        if diff and (mark := diff_fingerprint(diff)):
            flying += [n for n, other in self._marks_in_flight.items() if other == mark]
        flying = [n for n in flying if n < idea.number or not (diff or n == idea.number)]
        if not flying:
            return None
        return Repeat(min(flying), "same", f"trial {min(flying)} is trying it now")

    def _catch_up(self) -> None:
        n_new = len(self._history.trials) - self._n_seen
        newest = list(islice(reversed(self._history.trials.values()), n_new))
        self._n_seen += n_new
        for trial in reversed(newest):
            if trial.idea.mode not in ("baseline", "replicate") and trial.outcome not in ("set-aside", "replicate"):
                self._attempts.add(self._attempt(trial.idea, trial.diff))
                if mark := diff_fingerprint(trial.diff):
                    self._by_diff[mark].append(trial.number)
        if [*self._history.in_flight.values()] != [*self._ideas_in_flight.values()]:
            self._follow(dict(self._history.in_flight))

    def _follow(self, flying: dict[int, Idea | None]) -> None:
        """Hold just these ideas as in flight."""
        before = self._ideas_in_flight
        changed = [number for number, idea in flying.items() if before.get(number) is not idea]
        for number in (*changed, *(before.keys() - flying.keys())):
            if number in self._in_flight:
                self._in_flight.remove(number)
        for number in changed:
            if (idea := flying[number]) is not None and idea.mode not in ("baseline", "replicate"):
                self._in_flight.add(self._attempt(idea, ""))
        self._ideas_in_flight = flying

    def _attempt(self, idea: Idea, diff: str) -> Attempt:
        held = self._held(idea.parent) if idea.parent is not None else ()
        changes, words = self._changes(idea, diff), read_changes(idea.title)
        return Attempt(idea.number, new_to(changes, held) or changes, idea.parent, new_to(words, held) or words)

    def _changes(self, idea: Idea, diff: str) -> tuple[Change, ...]:
        """Return what an idea changes: by its ids and knobs, by a diff of constants alone, or by its title."""
        constants = constants_set(diff)
        said = idea.knobs or idea.techniques or idea.removed
        knobs = idea.knobs if said else {name: after for name, (_, after) in constants.items()}
        before = {name: start for name, (start, _) in constants.items()}
        return (
            *(_exact(f"technique {name}") for name in idea.techniques if name not in self._knobs or not knobs),
            *(_exact(f"technique {name}", removed=True) for name in idea.removed),
            *(_exact(f"knob {name}", value, before.get(name)) for name, value in knobs.items()),
        ) or read_changes(idea.title)

    def _held(self, number: int) -> tuple[Change, ...]:
        """Return what a trial's code holds; it follows from the trial's lineage, which never changes."""
        if number not in self._held_by:
            self._held_by[number] = self._read_held(number)
        return self._held_by[number]

    def _read_held(self, number: int) -> tuple[Change, ...]:
        history = self._history
        exact = (
            *(_exact(f"technique {name}") for name in history.techniques_in(number) if name not in self._knobs),
            *(_exact(f"knob {name}", value) for name, value in history.knobs_in(number).items()),
        )
        words: tuple[Change, ...] = ()
        for ancestor in history.lineage(number):
            idea = history.trials[ancestor].idea
            if idea.mode not in ("baseline", "replicate", "ablate"):
                words = holding(words, read_changes(idea.title))
        return (*exact, *words)

    def _answer(self, number: int) -> Answer:
        trial, decision = self._history.trials[number], self._history.decisions.get(number)
        kept = self._history.outcome(number) == "kept"
        return answer_of(trial.z if decision is None else decision.z, kept=kept)


def new_to(changes: Iterable[Change], held: Sequence[Change]) -> tuple[Change, ...]:
    """Return the changes that do more than name what a base holds."""
    return tuple(change for change in changes if not any(other.is_named_by(change) for other in held))


def holding(held: Iterable[Change], kept: Sequence[Change]) -> tuple[Change, ...]:
    """Return what a base holds after a keep: a knob's last value stands, and what was removed is gone."""
    rest = [change for change in held if not any(other.is_same_thing(change) for other in kept)]
    return (*rest, *(change for change in kept if not change.removed))


def constants_set(diff: str) -> dict[str, tuple[Any, Any]]:
    """Return name -> (before, after) of the top-level constants that a diff sets; empty where it changes other code."""
    values: dict[str, dict[str, str]] = {"-": {}, "+": {}}
    for line in diff.splitlines():
        if line[:1] not in values or line.startswith(("--- ", "+++ ")) or not line[1:].split("#")[0].strip():
            continue
        match = _CONSTANT.match(line)
        if match is None:
            return {}
        values[match[1]][match[2]] = match[3]
    if values["-"].keys() != values["+"].keys():
        return {}
    return {name: (_literal(values["-"][name]), _literal(after)) for name, after in values["+"].items()}


@lru_cache(maxsize=65_536)
def _exact(name: str, value: Any = None, start: Any = None, *, removed: bool = False) -> Change:
    is_knob = value is not None
    return Change(frozenset({name}), frozenset(), _plain(value), _plain(start), is_knob, removed, exact=True)


def _literal(text: str) -> float | str:
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return text


def _plain(value: Any) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
