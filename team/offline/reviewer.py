"""The reviewer without a model: no-ops, repeats, and code that reaches for what a trial must not have.

What is found here is found before a trial is paid for. It is no barrier: the sandbox is, whatever the code does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memory.edits import unified_diff
from memory.records import Idea, Verdict
from team.review import findings

if TYPE_CHECKING:
    from memory.knowledge import Knowledge

IDLE = ("N1", "N2")


class StaticReviewer:
    """Reads the change as a syntax tree."""

    def review(self, idea: Idea, before: str | None, after: str, knowledge: Knowledge) -> Verdict:
        """Return the verdict on the change from `before` to `after`.

        What must not be trained is sent back to the coder; a change that does nothing and a repeat (N3) are rejected;
        notes stand in the reasons of an approval.
        """
        again = idea.mode in ("baseline", "replicate")
        found = findings(after, None if again else before)
        blocking = [finding for finding in found if finding.blocking]
        if wrong := [finding for finding in blocking if finding.code not in IDLE]:
            return Verdict(kind="revise", reasons=tuple(map(str, wrong)))
        if blocking:
            reasons = (f"trial {idea.parent}'s code is left as it is", *map(str, blocking))
            return Verdict(kind="reject", reasons=reasons)
        if not again and (same := knowledge.same_code(after)) is not None:
            reason = f"N3 line 1: trial {same} trained this very code; a replicate would be called one"
            return Verdict(kind="reject", reasons=(reason,), repeat_of=same)
        repeat = None if again or before is None else knowledge.repeat(idea, unified_diff(before, after))
        if repeat is not None:
            reason = f"N3 line 1: a repeat of trial {repeat.of}: {repeat.reason}; a replicate would be called one"
            return Verdict(kind="reject", reasons=(reason,), repeat_of=repeat.of)
        return Verdict(kind="approve", reasons=tuple(map(str, found)))
