"""A person's own ideas in the coder's hands: what was given is applied as it was given.

The team's coder has what is left: words without an edit, and the mending of what was given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from memory.edits import apply_edits, parse_edits
from team.offline.coder import PlaybookCoder

if TYPE_CHECKING:
    from graph.roles import Coder, Team
    from memory.knowledge import Knowledge
    from memory.records import Idea


@dataclass(frozen=True)
class OwnIdeaCoder:
    """Applies a person's file, edit, techniques or knobs; hands everything else to the team's coder."""

    coder: Coder

    def edit(self, idea: Idea, knowledge: Knowledge, feedback: str) -> str:
        """Return the whole new train.py.

        Raises:
            RoleError: The idea cannot be turned into an edit.
            EditError: The person's edit does not fit the parent's file as it is now.
        """
        own = knowledge.own_idea(idea.number)
        if own is None or feedback or idea.parent is None:
            return self.coder.edit(idea, knowledge, feedback)
        if own.train_py:
            return own.train_py
        if own.edits:
            return apply_edits(knowledge.source(idea.parent), parse_edits(own.edits))
        if own.techniques or own.knobs:
            return PlaybookCoder().edit(idea, knowledge, "")
        return self.coder.edit(idea, knowledge, "")


def with_own_ideas(team: Team) -> Team:
    """Return the team with a coder who takes a person's own ideas as they were given."""
    return replace(team, coder=OwnIdeaCoder(team.coder))
