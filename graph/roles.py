"""The four roles as the state machine sees them. `team/` has the people who play them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from graph.state import Plan
    from memory.knowledge import Knowledge
    from memory.records import Crowding, Idea, Verdict


class RoleError(RuntimeError):
    """A role could not do its part; the message says why. The round is recorded as rejected and the run goes on."""


class Strategist(Protocol):
    """Reads the memory and decides where to go next."""

    def plan(self, number: int, knowledge: Knowledge) -> Plan:
        """Return the plan of trial `number`.

        Raises:
            RoleError: There is nothing left that is worth a trial; the run ends with these words.
        """

    def choose(self, plan: Plan, proposals: Sequence[tuple[Idea, Crowding]], knowledge: Knowledge) -> int:
        """Return the position of the proposal to pay for; crowding tells how near each is to what was tried."""


class Scout(Protocol):
    """Knows the literature."""

    def propose(self, plan: Plan, knowledge: Knowledge) -> Sequence[Idea]:
        """Return ideas that carry out the plan, best first; empty where the literature has none left for it."""


class Coder(Protocol):
    """Turns one idea into an edit of train.py."""

    def edit(self, idea: Idea, knowledge: Knowledge, feedback: str) -> str:
        """Return the whole new train.py.

        Args:
            idea: What to do; `idea.parent` says to which file.
            knowledge: Where parents' files and techniques are found.
            feedback: What was wrong with the last attempt; empty on the first.

        Raises:
            RoleError: The idea cannot be turned into an edit, or the coder has no other way than the one that failed.
        """


class Reviewer(Protocol):
    """Reads a change before it is paid for: leakage, no-ops, repeats."""

    def review(self, idea: Idea, before: str | None, after: str, knowledge: Knowledge) -> Verdict:
        """Return the verdict on the change from `before` (None for the baseline) to `after`."""


class StandIns:
    """Sentences on turns that somebody else took than was meant to, kept until the state machine records them.

    Rounds run in threads of their own, and each gets what was said in its own.
    """

    def __init__(self) -> None:
        self._sentences: dict[int, list[str]] = {}

    def add(self, sentence: str) -> None:
        """Say who took whose turn, and why."""
        self._sentences.setdefault(threading.get_ident(), []).append(sentence)

    def take(self) -> tuple[str, ...]:
        """Return what was said since the last time, and forget it."""
        return tuple(self._sentences.pop(threading.get_ident(), ()))


@dataclass(frozen=True)
class Team:
    """Who plays the roles, and what they call themselves.

    Attributes:
        repairs: How often a change may be handed back to the coder.
        players: Who plays a role, by the role's name, where that is worth showing.
        stand_ins: Where a role says that another took its turn.
        spent: Why the team can go no further, such as a limit on what its models cost; empty while it can.
    """

    name: str
    strategist: Strategist
    scout: Scout
    coder: Coder
    reviewer: Reviewer
    repairs: int = 2
    players: Mapping[str, str] = field(default_factory=dict)
    stand_ins: StandIns = field(default_factory=StandIns)
    spent: Callable[[], str] = lambda: ""
