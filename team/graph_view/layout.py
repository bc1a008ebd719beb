"""Where the trials of a run lie in a picture: a row each, every trial below the one it edits, indented by its depth.

The order is that of an indented tree, like a folder's: subtrees stay together, no lineage edge crosses another, and
every trial has a line of its own for its words. The way to the champion comes last at each fork.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory.history import History


@dataclass(frozen=True)
class Place:
    """Where one trial lies.

    Attributes:
        number: The trial.
        depth: Edits between the seed and it, 0 for the seed.
        row: From the top, 0 for the first.
    """

    number: int
    depth: int
    row: int


def lay_out(history: History, numbers: Sequence[int] | None = None) -> list[Place]:
    """Return a place for each trial, from the top row down.

    Args:
        history: Of the run.
        numbers: The trials to show; all where it is None. A trial whose parent is left out hangs on the next
            ancestor that is shown, and is a root where there is none.
    """
    wanted = list(history.trials) if numbers is None else [n for n in history.trials if n in set(numbers)]
    held = set(wanted)
    children: dict[int | None, list[int]] = {}
    for number in wanted:
        children.setdefault(shown_parent(history, number, held), []).append(number)
    champion = history.champion
    last = set(history.lineage(champion.number)) if champion is not None else set()
    places: list[Place] = []
    waiting = [(number, 0) for number in _in_order(children.get(None, []), last)][::-1]
    while waiting:
        number, depth = waiting.pop()
        places.append(Place(number, depth, len(places)))
        waiting += [(child, depth + 1) for child in _in_order(children.get(number, []), last)][::-1]
    return places


def shown_parent(history: History, number: int, held: set[int]) -> int | None:
    """Return the nearest ancestor of a trial that is in `held`, None where there is none."""
    parent = history.trials[number].idea.parent
    while parent is not None and parent not in held:
        parent = history.trials[parent].idea.parent
    return parent


def _in_order(numbers: list[int], last: set[int]) -> list[int]:
    return sorted(numbers, key=lambda number: (number in last, number))
