"""The reviewer without a model: no-ops, repeats, and code that reaches for what a trial must not have.

What is found here is found before a trial is paid for. It is no barrier: the sandbox is, whatever the code does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memory.edits import EditError, normalised
from memory.records import Idea, Verdict
from team.static_review import findings

if TYPE_CHECKING:
    from memory.knowledge import Knowledge


class StaticReviewer:
    """Reads the change as a syntax tree."""

    def review(self, idea: Idea, before: str | None, after: str, knowledge: Knowledge) -> Verdict:
        """Return the verdict on the change from `before` to `after`."""
        found = findings(after)
        if found:
            return Verdict(kind="revise", reasons=tuple(str(finding) for finding in found))
        if idea.mode in ("baseline", "replicate"):
            return Verdict(kind="approve")
        try:
            same = before is not None and normalised(before) == normalised(after)
        except EditError as error:
            return Verdict(kind="revise", reasons=(str(error),))
        if same:
            return Verdict(kind="reject", reasons=(f"the change does nothing: the code equals trial {idea.parent}'s",))
        repeat = knowledge.same_code(after)
        if repeat is not None:
            reason = f"trial {repeat} trained this very code; a replicate would be called one"
            return Verdict(kind="reject", reasons=(reason,), repeat_of=repeat)
        return Verdict(kind="approve")
