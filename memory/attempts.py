"""Changes that were tried, found again by what they change: the index under `memory.repeats`.

Changes read from code or ids are exact, and found by their names; those read from words by the words. So a look-up
takes as long as there are attempts like it, and not as long as there are attempts. It knows no answer and no rule.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memory.changes import Change, are_same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Names = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A change that was tried.

    Attributes:
        number: The trial.
        changes: What was new to its base.
        base: What it was tried on; equal for equal files.
        words: `changes` as the title says them, where `changes` were read from code or ids.
    """

    number: int
    changes: tuple[Change, ...]
    base: int | None
    words: tuple[Change, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether its changes were read from code or ids."""
        return are_exact(self.changes)

    def read_like(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        """Return its changes as others are read: exactly, or by words."""
        return self.words if self.words and self.is_exact and not are_exact(changes) else self.changes


class AttemptIndex:
    """Attempts by number, by name and by word, each list in the order added."""

    def __init__(self) -> None:
        self._by_number: dict[int, Attempt] = {}
        self._by_names: dict[Names, list[Attempt]] = defaultdict(list)
        self._by_knob: dict[tuple[Names, int | None], list[Attempt]] = defaultdict(list)
        self._by_word: dict[str, list[Attempt]] = defaultdict(list)

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def __getitem__(self, number: int) -> Attempt:
        return self._by_number[number]

    def add(self, attempt: Attempt) -> None:
        """Take in an attempt."""
        self._by_number[attempt.number] = attempt
        for held in self._lists_of(attempt):
            held.append(attempt)

    def remove(self, number: int) -> None:
        """Forget an attempt."""
        attempt = self._by_number.pop(number)
        for held in self._lists_of(attempt):
            held.remove(attempt)

    def same(self, changes: Sequence[Change]) -> Iterator[Attempt]:
        """Yield the attempts of the same changes, those added last first."""
        found = self._by_names.get(names_of(changes), ()) if are_exact(changes) else self.near(changes)
        return (a for a in reversed(found) if are_same(changes, a.read_like(changes)))

    def near(self, changes: Sequence[Change]) -> list[Attempt]:
        """Return the attempts that share a word with changes read from words, in the order of their numbers."""
        found = {a.number: a for change in changes for word in change.what for a in self._by_word.get(word, ())}
        return [found[number] for number in sorted(found)]

    def turned(self, change: Change, base: int | None) -> Sequence[Attempt]:
        """Return the attempts that may have turned the same knob on a base, and no other beside it."""
        if not change.exact:
            return [attempt for attempt in self.near((change,)) if attempt.base == base]
        return self._by_knob.get((names_of((change,)), base), ())

    def _lists_of(self, attempt: Attempt) -> list[list[Attempt]]:
        if not attempt.is_exact:
            return [self._by_word[word] for word in _words(attempt.changes)]
        names = names_of(attempt.changes)
        lists = [self._by_names[names], *(self._by_word[word] for word in _words(attempt.words))]
        if len(attempt.changes) == 1 and attempt.changes[0].is_knob:
            lists.append(self._by_knob[names, attempt.base])
        return lists


def are_exact(changes: Sequence[Change]) -> bool:
    """Say whether changes were read from code or ids; they are all read in one way."""
    return bool(changes) and changes[0].exact


def names_of(changes: Sequence[Change]) -> Names:
    """Return what exact changes change, whatever the values and whether it is added or removed."""
    return tuple(sorted(tuple(change.what) for change in changes))


def _words(changes: Sequence[Change]) -> list[str]:
    return sorted({word for change in changes for word in change.what})
