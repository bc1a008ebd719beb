"""The reviewer with a model: the static reading first, then a reading of the diff for leakage and for honesty.

Where the static reading refuses, no model is asked; no model can approve what it refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from memory.edits import unified_diff
from memory.records import Verdict
from team.model.access import ModelError, Turn
from team.thinking.prompts import render

if TYPE_CHECKING:
    from graph.roles import Reviewer
    from memory.knowledge import Knowledge
    from memory.records import Idea
    from team.thinking.desk import Desk

MAX_REASONS, MAX_REASON, MAX_DIFF = 6, 400, 40_000


class ReviewerAnswer(BaseModel):
    """What the reviewer thinks of a change."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["approve", "revise", "reject"]
    does_what_it_says: bool
    reasons: list[str]


class ModelReviewer:
    """Lets a model read what the static reading has passed."""

    def __init__(self, desk: Desk, offline: Reviewer) -> None:
        self._desk = desk
        self._offline = offline

    def review(self, idea: Idea, before: str | None, after: str, knowledge: Knowledge) -> Verdict:
        """Return the verdict on the change; a baseline and a replicate need no second reading."""
        static = self._offline.review(idea, before, after, knowledge)
        if static.kind != "approve" or before is None or idea.mode in ("baseline", "replicate"):
            return static
        diff = unified_diff(before, after)
        if len(diff) > MAX_DIFF:
            reason = f"the change is {len(diff)} characters long, more than can be read: take a smaller step"
            return Verdict(kind="revise", reasons=(reason,))
        turns = (
            Turn("system", render("reviewer.system", brief=knowledge.brief.strip())),
            Turn(
                "user",
                render(
                    "reviewer.review",
                    number=idea.number,
                    title=idea.title,
                    mode=idea.mode,
                    axis=idea.axis,
                    hypothesis=idea.hypothesis,
                    origin=idea.source,
                    parent=idea.parent,
                    diff=diff,
                    notes="; ".join(static.reasons) or "none",
                ),
            ),
        )
        try:
            opinion = self._desk.answer("reviewer", idea.number, turns, ReviewerAnswer)
        except ModelError as error:
            self._desk.hand_over("reviewer", error)
            return static
        said = tuple(
            line for reason in opinion.reasons[:MAX_REASONS] if (line := " ".join(reason.split())[:MAX_REASON])
        )
        kind = opinion.kind
        if kind == "approve" and not opinion.does_what_it_says:
            kind = "revise"
        if kind != "approve" and not said:
            said = (f"the change does not do what the idea {idea.title!r} says",)
        return Verdict(kind=kind, reasons=(*static.reasons, *said) if kind == "approve" else said)
