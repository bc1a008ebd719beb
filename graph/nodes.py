"""The nodes of the state machine: one function a step, each idempotent under its trial number.

A node reads the state and the context, does one thing, and returns what changed. A node that an interruption cut short
is run again from its beginning: it finds the files that were finished and goes on from them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from langgraph.runtime import Runtime  # LangGraph reads the annotations of a node at run time

from evaluation_locked.scorer import ScoringError
from evaluation_locked.task import Caps
from evaluation_locked.trial import TrialOrder, TrialOutcome
from graph import judging, person
from graph.context import Context, Event
from graph.errors import RunError
from graph.roles import RoleError
from graph.run_folder import code_sha, last_words, write_atomically
from graph.state import State
from memory.edits import EditError, unified_diff
from memory.records import Crowding, Idea, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from evaluation_locked.trial import Phase
    from graph.context import NodeName


SMOKE_CAPS = {"featurise_seconds": 120.0, "train_seconds": 2.0, "predict_seconds": 60.0}
MIN_PREDICT_SECONDS, PREDICT_FACTOR = 5.0, 3.0  # what a trial may take to predict, against what the seed took

# What is left of the budget as a trial enters a phase, for who waits for its result.
LEFT_OF_TRAINING: dict[Phase, float] = {"training": 1.0, "predicting": 0.0}

ROLE_OF = {"strategise": "strategist", "scout": "scout", "choose": "strategist", "code": "coder", "review": "reviewer"}

Update = dict[str, Any]


def strategise(state: State, runtime: Runtime[Context]) -> Update:
    """Read the memory, and choose mode, parent and axis of the next trial, or say that there is nothing left."""
    context, number = runtime.context, state["number"]
    context.listen(_turn(context, number, "strategise"))
    fresh: Update = {
        "number": number,
        "started_at": time.time(),
        "paid_seconds": 0.0,
        "plan": None,
        "proposals": (),
        "idea": None,
        "crowding": Crowding(),
        "feedback": "",
        "repairs": 0,
        "stand_ins": (),
        "verdict": None,
        "failure": None,
        "smoke": None,
        "answer": None,
        "turn": 0,
        "outcome": None,
        "score": None,
        "decision": None,
        "stop": "",
    }
    plan = person.take_own_idea(number, context)
    if plan is None:
        try:
            plan = context.team.strategist.plan(number, context.knowledge)
        except RoleError as error:
            return fresh | {"stop": str(error)}
        person.take_wishes(plan, context)
    return fresh | {"plan": plan} | _stand_ins(context, fresh, number)


def scout(state: State, runtime: Runtime[Context]) -> Update:
    """Propose known techniques for the plan; a person's own idea is its own proposal."""
    context, plan = runtime.context, state["plan"]
    assert plan is not None
    own = context.knowledge.own_idea(plan.number) if plan.own_idea is not None else None
    if own is not None:
        return {"proposals": (person.as_idea(plan, own, context.knowledge),)}
    context.listen(_turn(context, plan.number, "scout"))
    try:
        update: Update = {"proposals": tuple(context.team.scout.propose(plan, context.knowledge))}
    except RoleError as error:
        update = {"proposals": (), "failure": ("rejected", str(error))}
    return update | _stand_ins(context, state, plan.number)


def choose(state: State, runtime: Runtime[Context]) -> Update:
    """Leave out what repeats, measure how crowded each proposal is, and let the strategist pay for one."""
    context, plan, proposals = runtime.context, state["plan"], state["proposals"]
    assert plan is not None
    context.listen(_turn(context, plan.number, "choose"))
    if not proposals:
        idea = Idea(
            number=plan.number,
            mode=plan.mode,
            axis=plan.axis,
            title=f"nothing to {plan.mode} on {plan.axis}",
            parent=plan.parent,
            why=plan.why,
        )
        context.knowledge.begin(idea)
        return {"idea": idea, "failure": state["failure"] or ("rejected", "the scout had no proposal for the plan")}
    repeats = [context.knowledge.repeat(idea) for idea in proposals]
    if repeats[0] is not None and all(repeats):
        words = f"a repeat of trial {repeats[0].of}: {repeats[0].reason}; a replicate would be called one"
        verdict = Verdict(kind="reject", reasons=(words,), repeat_of=repeats[0].of)
        context.knowledge.begin(proposals[0])
        return {"idea": proposals[0], "verdict": verdict, "failure": ("rejected", words)}
    news = [idea for idea, repeat in zip(proposals, repeats, strict=True) if repeat is None]
    measured = [(idea, context.knowledge.crowding_before(idea)) for idea in news]
    one = len(measured) == 1
    position = 0 if one else context.team.strategist.choose(plan, measured, context.knowledge)
    idea, crowding = measured[position]
    context.knowledge.begin(idea)
    context.flight.announce()  # another can be planned beside it
    context.listen(Event("idea", plan.number, idea=idea))
    return {"idea": idea, "crowding": crowding} | _stand_ins(context, state, plan.number)


def code(state: State, runtime: Runtime[Context]) -> Update:
    """Turn the idea into a new train.py in the trial's folder."""
    context, idea = runtime.context, _idea(state)
    context.listen(_turn(context, idea.number, "code"))
    folder = context.folder.make_trial(idea)
    # Idea and verdict are for who looks; what is recorded of them is in the journal.
    write_atomically(folder / "idea.json", idea.model_dump_json(indent=1) + "\n", durable=False)
    before = "" if idea.parent is None else context.knowledge.source(idea.parent)
    try:
        after = context.team.coder.edit(idea, context.knowledge, state["feedback"])
    except (RoleError, EditError) as error:
        kind = "crashed" if state["smoke"] is not None else "rejected"
        reason = state["feedback"].splitlines()[0] if state["feedback"] else str(error)
        if state.get("turn"):  # a person asked for more, and learns why there is none
            reason = f"{reason}; {error}"
        return {"failure": (kind, reason)} | _stand_ins(context, state, idea.number)
    write_atomically(folder / "train.py", after)
    diff = unified_diff(before, after) if before else ""
    write_atomically(folder / "change.diff", diff)
    crowding = state["crowding"]
    if diff:
        crowding = context.knowledge.crowding_before(idea, diff)
        context.knowledge.write(idea.number, diff)
    return {"crowding": crowding, "failure": None} | _stand_ins(context, state, idea.number)


def review(state: State, runtime: Runtime[Context]) -> Update:
    """Let the reviewer read the change before anything is paid for it."""
    context, idea = runtime.context, _idea(state)
    context.listen(_turn(context, idea.number, "review"))
    folder = context.folder.make_trial(idea)
    before = None if idea.parent is None else context.knowledge.source(idea.parent)
    after = (folder / "train.py").read_text(encoding="utf-8")
    verdict = context.team.reviewer.review(idea, before, after, context.knowledge)
    write_atomically(folder / "review.json", verdict.model_dump_json(indent=1) + "\n", durable=False)
    update: Update = {"verdict": verdict}
    if verdict.kind != "approve":
        update["feedback"] = "; ".join(verdict.reasons)
        if verdict.kind == "reject" or state["repairs"] >= context.team.repairs:
            update["failure"] = ("rejected", update["feedback"])
        else:
            update["repairs"] = state["repairs"] + 1
    return update | _stand_ins(context, state, idea.number)


def smoke(state: State, runtime: Runtime[Context]) -> Update:
    """Try the file for seconds on a few training crystals, so that what crashes is seen before it is paid for."""
    context, idea = runtime.context, _idea(state)
    context.listen(Event("node", idea.number, node="smoke", idea=idea))
    folder = context.folder.make_trial(idea)
    if context.knowledge.history.find_code(code_sha(folder)) is not None:
        return {}  # these very bytes were trained before
    order = _order(context, idea, folder).model_copy(
        update={
            "smoke": True,
            "folder": folder / "smoke",
            "caps": Caps(**(context.config.task.caps.model_dump() | SMOKE_CAPS)),
        }
    )
    outcome, paid_seconds = _run(context, order, lambda phase: None)
    update: Update = {"smoke": outcome, "paid_seconds": state["paid_seconds"] + paid_seconds}
    if outcome.status != "finished":
        words = last_words(folder / "smoke")
        first = f"smoke trial: {outcome.message}" + (f" ({words[-1]})" if words else "")
        update["feedback"] = "\n".join([first, *words])
        if state["repairs"] >= context.team.repairs:
            update["failure"] = ("crashed", first)
        else:
            update["repairs"] = state["repairs"] + 1
    return update


def train(state: State, runtime: Runtime[Context]) -> Update:
    """Train inside the budget; a trial that finished before an interruption is not paid for twice."""
    context, idea = runtime.context, _idea(state)
    context.listen(Event("node", idea.number, node="train", idea=idea))
    folder = context.folder.make_trial(idea)
    context.flight.line_up(idea.number)
    stored = folder / f"outcome-{code_sha(folder)[:12]}.json"
    if stored.exists():
        return {"outcome": TrialOutcome.model_validate_json(stored.read_text(encoding="utf-8"))}
    order = _order(context, idea, folder)

    def tell(phase: Phase) -> None:
        if phase in LEFT_OF_TRAINING:
            context.flight.train_until(idea.number, order.caps.train_seconds * LEFT_OF_TRAINING[phase])
        context.listen(Event("phase", idea.number, phase=phase))

    outcome, paid_seconds = _run(context, order, tell)
    words = last_words(folder)
    if outcome.status == "crashed" and words:
        outcome = outcome.model_copy(update={"message": f"{outcome.message}: {words[-1]}"})
    write_atomically(stored, outcome.model_dump_json(indent=1) + "\n")
    update: Update = {"outcome": outcome, "paid_seconds": state["paid_seconds"] + paid_seconds}
    if outcome.status != "finished":
        update["failure"] = ("crashed", outcome.message)
    return update


def judge(state: State, runtime: Runtime[Context]) -> Update:
    """Let the locked scorer score the trial, and decide on it against the champion."""
    context, idea = runtime.context, _idea(state)
    context.listen(Event("node", idea.number, node="judge", idea=idea))
    if state["failure"] is not None:
        return {}
    waited_seconds = context.flight.await_turn(idea.number, context.cancel)
    update: Update = {"paid_seconds": state["paid_seconds"] + waited_seconds}
    folder = context.folder.make_trial(idea)
    try:
        layers = state["outcome"].layers if state["outcome"] is not None else ()
        result, decision = judging.judge_trial(context, idea, folder, layers)
    except ScoringError as error:
        return update | {"failure": ("crashed", f"the predictions cannot be scored: {error}")}
    write_atomically(folder / "score.json", result.model_dump_json(indent=1) + "\n")
    return update | {"score": result, "decision": decision}


def remember(state: State, runtime: Runtime[Context]) -> Update:
    """Take the trial into journal, idea memory and idea graph, whatever became of it."""
    context, idea = runtime.context, _idea(state)
    context.listen(Event("node", idea.number, node="remember", idea=idea))
    knowledge = context.knowledge
    if idea.number not in knowledge.history.trials:
        folder = context.folder.make_trial(idea)
        if not (folder / "idea.json").exists():  # refused before it was coded
            write_atomically(folder / "idea.json", idea.model_dump_json(indent=1) + "\n")
        train_py = folder / "train.py"
        text = train_py.read_text(encoding="utf-8") if train_py.exists() else ""
        diff = folder / "change.diff"
        record = judging.trial_record(
            context,
            state,
            idea,
            code_sha=code_sha(folder) if text else "",
            text=text,
            diff=diff.read_text(encoding="utf-8") if diff.exists() else "",
        )
        knowledge.remember(record)
        context.listen(Event("record", idea.number, entry=record))
    for decision in judging.settle(context, idea):
        knowledge.remember(decision)
        context.listen(Event("record", decision.trial, entry=decision))
    context.publisher.publish(context.knowledge)
    return {}


def _turn(context: Context, number: int, node: NodeName) -> Event:
    """Return the event that a role's node begins, with who plays the role."""
    return Event("node", number, node=node, text=context.team.players.get(ROLE_OF[node], ""))


def _stand_ins(context: Context, state: Mapping[str, Any], number: int) -> Update:
    """Return the update that keeps what was said of turns taken over, which is nothing in most rounds."""
    taken = context.team.stand_ins.take()
    for sentence in taken:
        context.listen(Event("note", number, text=sentence))
    return {"stand_ins": (*state.get("stand_ins", ()), *taken)} if taken else {}


def _idea(state: State) -> Idea:
    idea = state["idea"]
    assert idea is not None, "a node after choose has an idea"
    return idea


def _run(context: Context, order: TrialOrder, on_phase: Callable[[Phase], None]) -> tuple[TrialOutcome, float]:
    """Run a trial, and say how many seconds that took.

    One whose warden was lost is run once more, since that says nothing of the idea.

    Raises:
        RunError: The warden was lost twice; the run stops, and can be resumed.
        RunLockedError: Another process took the run over while this one stood still.
    """
    begun = time.monotonic()
    context.knowledge.check_writer()
    for _ in range(2):
        with context.flight.aside():
            outcome = context.executor.run(order, on_phase, context.cancel)
        if outcome.status != "lost":
            return outcome, time.monotonic() - begun
    raise RunError(f"{outcome.message}, twice over; nothing was recorded of it, and `team resume` goes on")


def _order(context: Context, idea: Idea, folder: Path) -> TrialOrder:
    caps = context.config.task.caps
    baseline = context.knowledge.history.trials.get(0)
    if baseline is not None and baseline.predict_seconds:  # time to predict is no time to train on in
        allowed = max(MIN_PREDICT_SECONDS, PREDICT_FACTOR * baseline.predict_seconds)
        caps = caps.model_copy(update={"predict_seconds": min(caps.predict_seconds, allowed)})
    return TrialOrder(
        train_py=folder / "train.py",
        locked=context.folder.locked,
        folder=folder,
        caps=caps,
        seed=context.config.seed * 1_000_003 + idea.number,
        n_threads=context.config.n_threads,
        sandboxed=context.config.sandboxed,
        check_batches=context.config.task.check_batches,
    )
