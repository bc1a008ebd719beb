"""The literature scout with a model: techniques of the catalogue by their id, or ideas that are marked as its own.

What is said of a known technique (title, source, edits) is the playbook's, whatever the model writes of it. A reference
that the catalogue does not hold is recorded as unchecked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from graph.roles import RoleError
from memory.edits import knobs
from memory.records import AXES, Axis, Idea
from team.model.access import ModelError, Turn
from team.offline.moves import moves
from team.thinking.briefing import tried_text, wish_text
from team.thinking.catalogue import catalogue_text
from team.thinking.prompts import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graph.roles import Scout
    from graph.state import Plan
    from memory.knowledge import Knowledge
    from team.thinking.desk import Desk

MAX_PROPOSALS = 4
MAX_ANSWERS = 2
MAX_TITLE, MAX_HYPOTHESIS, MAX_SOURCE = 90, 500, 120
SETTLED_BY_CODE = (
    "baseline",
    "replicate",
    "combine",
    "ablate",
)  # the playbook's moves are all that there is to propose


class Proposal(BaseModel):
    """One change, as the scout writes it."""

    model_config = ConfigDict(extra="forbid")

    technique: str | None
    value: bool | int | float | str | None
    axis: Axis
    title: str
    hypothesis: str
    source: str
    expected_effect: str
    cost: str
    conflicts: list[str]


class ScoutAnswer(BaseModel):
    """What the scout proposes, best first."""

    model_config = ConfigDict(extra="forbid")

    proposals: list[Proposal]


class ModelScout:
    """Lets a model propose within the plan."""

    def __init__(self, desk: Desk, offline: Scout, name: str) -> None:
        self._desk = desk
        self._offline = offline
        self._name = f"scout {name}"

    def propose(self, plan: Plan, knowledge: Knowledge) -> Sequence[Idea]:
        """Return ideas that carry out the plan, best first.

        Raises:
            RoleError: Neither the model nor the playbook has one.
        """
        if plan.changes or plan.mode in SETTLED_BY_CODE:
            return self._offline.propose(plan, knowledge)
        assert plan.parent is not None
        known = [
            idea
            for idea in moves(plan.parent, plan.number, knowledge)
            if idea.mode == plan.mode and idea.axis == plan.axis
        ]
        turns = [
            Turn("system", render("scout.system", brief=knowledge.brief.strip())),
            Turn("user", self._question(plan, known, knowledge)),
        ]
        why: object = ""
        for _ in range(MAX_ANSWERS):
            try:
                answer = self._desk.answer("scout", plan.number, turns, ScoutAnswer)
            except ModelError as error:
                why = error
                break
            read = [self._idea(p, plan, known, knowledge) for p in answer.proposals[:MAX_PROPOSALS]]
            if ideas := _distinct([idea for idea in read if isinstance(idea, Idea)]):
                return ideas
            why = "; ".join(fault for fault in read if isinstance(fault, str)) or "no proposal was made"
            turns = [
                *turns[:2],
                Turn("assistant", answer.model_dump_json()),
                Turn("user", f"None of these can be tried: {why}. Propose again."),
            ]
        try:
            ideas = list(self._offline.propose(plan, knowledge))
        except RoleError as error:
            self._desk.say(f"the scout's model proposed nothing that can be tried: {why}")
            raise RoleError(f"{error}; and the scout's model has no proposal: {why}") from error
        self._desk.hand_over("scout", why)
        return ideas

    def _question(self, plan: Plan, known: Sequence[Idea], knowledge: Knowledge) -> str:
        assert plan.parent is not None
        wish = wish_text([wish for wish in knowledge.wishes if wish.k in plan.wishes])
        near = knowledge.ideas.similar(f"{plan.mode} {AXES.get(plan.axis, '')} {plan.why}", 3)
        values = knobs(knowledge.source(plan.parent))
        return render(
            "scout.propose",
            catalogue=catalogue_text(plan, known, wish, knowledge),
            parent=plan.parent,
            held=", ".join(knowledge.history.techniques_in(plan.parent)) or "none",
            knobs=", ".join(f"{name} = {value!r}" for name, value in values.items()) or "none",
            tried=tried_text(knowledge, plan.axis, [hit.label for hit in near]),
            wish=wish,
            number=plan.number,
            plan=f"{plan.mode} on {plan.axis}"
            + (f" ({AXES[plan.axis]})" if plan.axis in AXES else "")
            + f" of trial {plan.parent}",
            why=plan.why,
        )

    def _idea(self, proposal: Proposal, plan: Plan, known: Sequence[Idea], knowledge: Knowledge) -> Idea | str:
        """Return the proposal as an idea, or why it is none."""
        by = {"proposed_by": self._name, "why": plan.why}
        if proposal.technique:
            name = proposal.technique.strip()
            matching = [move for move in known if move.techniques == (name,)]
            if not matching:
                return f"{name} is not open for {plan.mode} on {plan.axis}"
            if plan.mode != "refine":
                return matching[0].model_copy(update=by)
            move = _with_value(matching, proposal.value, knowledge)
            return f"{name} needs another value than {proposal.value!r}" if move is None else move.model_copy(update=by)
        title, hypothesis = _line(proposal.title, MAX_TITLE), _line(proposal.hypothesis, MAX_HYPOTHESIS)
        if not title or not hypothesis:
            return "an idea of one's own needs a title and a hypothesis"
        more = [
            f"Expected: {_line(proposal.expected_effect, MAX_SOURCE)}." if proposal.expected_effect.strip() else "",
            f"Cost: {_line(proposal.cost, MAX_SOURCE)}." if proposal.cost.strip() else "",
            f"Conflicts: {_line(', '.join(proposal.conflicts), MAX_SOURCE)}." if proposal.conflicts else "",
        ]
        return Idea(
            number=plan.number,
            mode=plan.mode,
            axis=plan.axis if plan.axis in AXES else proposal.axis,
            title=title,
            hypothesis=" ".join(part for part in (hypothesis, *more) if part),
            source=_checked_source(proposal.source, knowledge),
            parent=plan.parent,
            **by,
        )


def _with_value(matching: Sequence[Idea], value: object, knowledge: Knowledge) -> Idea | None:
    """Return the move of a knob with this value, which need not be one of the playbook's; None where it is unusable."""
    first = matching[0]
    (name, example), *_ = first.knobs.items()
    for move in matching:
        if move.knobs[name] == value:
            return move
    if isinstance(value, float) and isinstance(example, int) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(example, float):
        value = float(value)
    assert first.parent is not None
    now = knobs(knowledge.source(first.parent)).get(name)
    if type(value) is not type(example) or isinstance(value, bool | str) or value == now:
        return None
    title = f"{knowledge.techniques[first.techniques[0]].title}: {name} {now} to {value}"
    return first.model_copy(update={"knobs": {name: value}, "title": title})


def _checked_source(source: str, knowledge: Knowledge) -> str:
    """Return the source of an idea that is in no catalogue: the model's own, whatever it cites beside."""
    said = _line(source, MAX_SOURCE)
    if not said or said.lower() in ("own", "none", "null"):
        return "own"
    if any(said == technique.source for technique in knowledge.techniques.values()):
        return said
    return f"own; cites {said}, unchecked"


def _distinct(ideas: Sequence[Idea]) -> list[Idea]:
    """Return the ideas without repeats of one title, best first as they came."""
    return list({idea.title.lower(): idea for idea in reversed(ideas)}.values())[::-1]


def _line(text: str, length: int) -> str:
    return " ".join(text.split())[:length].rstrip(" .")
