"""The four roles as the state machine sees them. `team/` has the people who play them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@dataclass(frozen=True)
class Team:
    """Who plays the roles, and what they call themselves."""

    name: str
    strategist: Strategist
    scout: Scout
    coder: Coder
    reviewer: Reviewer
