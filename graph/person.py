"""The person in the loop: ideas and wishes that a round takes up, and the question before a trial is paid for.

The question comes after the smoke trial: nobody is asked about a file that crashes, and the smoke trial costs seconds.
A file that changes nothing is not asked about, such as the seed's or a replicate's. What is asked and answered lies in
`memory.person`'s log before it takes effect, so that a restart at any moment finds both.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from langgraph.runtime import Runtime  # LangGraph reads the annotations of a node at run time
from langgraph.types import interrupt

from graph.context import Context, Event
from graph.run_folder import code_sha
from graph.state import Plan, State
from memory.person import Answer, Question
from memory.records import Idea
from memory.starts import begins_anew

if TYPE_CHECKING:
    from memory.knowledge import Knowledge
    from memory.person import OwnIdea

NAME = "a person"


def approve(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask a person whether to pay for the trial, where that was wished; `advance` finds the answer."""
    context, idea = runtime.context, state["idea"]
    assert idea is not None
    folder = context.folder.make_trial(idea)
    if not (folder / "change.diff").read_text(encoding="utf-8"):
        return {"answer": None}
    turn = state.get("turn", 0)
    question = Question(trial=idea.number, code_sha=code_sha(folder), turn=turn, at=time.time())
    if not context.config.approve and context.person.find_answer(question) is None:
        return {"answer": None}
    context.listen(Event("node", idea.number, node="approve"))
    said = interrupt(question.model_dump(mode="json"))
    answer = Answer.model_validate(question.model_dump(exclude={"kind", "at"}) | said)
    asked = context.person.read().asked.get(question.key, question)
    update: dict[str, Any] = {"answer": answer, "paid_seconds": state["paid_seconds"] + time.time() - asked.at}
    if answer.word == "reject":
        update["failure"] = ("rejected", f"{NAME} rejected it: {answer.why}")
    elif answer.word == "revise":
        # The coder has its attempts anew, and what it makes is tried again.
        update |= {"feedback": f"{NAME} asks: {answer.why}", "turn": turn + 1, "repairs": 0, "smoke": None}
    return update


def take_own_idea(number: int, context: Context) -> Plan | None:
    """Return the plan for the first idea of the person's queue, None where it is empty or there is no champion yet."""
    champion = context.knowledge.history.champion
    said = context.person.read()
    waiting = said.waiting("idea", number)
    if not waiting or champion is None:
        return None
    k = said.taken_by("idea", number) or waiting[0]
    own = said.ideas[k]
    context.person.take("idea", k, number)
    knowledge = context.knowledge
    root = knowledge.history.lineage(champion.number)[0]
    anew = begins_anew(own.techniques, knowledge.techniques)  # a file of its own holds no earlier change
    usual = root if anew else champion.number
    return Plan(
        number=number,
        mode="refine" if own.knobs and not own.techniques else "explore",
        parent=usual if own.parent is None else own.parent,
        axis=own.axis,
        why=f"idea {k} of a person's own, ahead of the strategist's",
        own_idea=k,
    )


def take_wishes(plan: Plan, context: Context) -> None:
    """Note the wishes that a plan takes up, so that no later round does."""
    for k in plan.wishes:
        context.person.take("wish", k, plan.number)
    if plan.wishes:
        context.listen(Event("note", plan.number, text=plan.why))


def as_idea(plan: Plan, own: OwnIdea, knowledge: Knowledge) -> Idea:
    """Return a person's own idea as the idea of the plan's trial."""
    known = [knowledge.techniques[name] for name in own.techniques if name in knowledge.techniques]
    return Idea(
        number=plan.number,
        mode=plan.mode,
        axis=plan.axis,
        title=own.title,
        hypothesis=" ".join(f"{technique.description} {technique.expect}" for technique in known),
        techniques=own.techniques,
        knobs=dict(own.knobs),
        source="; ".join(technique.source for technique in known) or "own",
        parent=plan.parent,
        proposed_by=NAME,
        why=plan.why,
    )
