"""The state machine's shape, its routes, and what its checkpoint may be turned back into."""

from __future__ import annotations

import itertools

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from evaluation_locked.trial import TrialOutcome
from graph import routing
from graph.machine import build
from graph.state import STATE_TYPES, Plan, State
from memory.person import Answer
from memory.records import Crowding, Idea, Verdict

REVISE = Answer(trial=3, code_sha="abc", word="revise", why="smaller")
IDEA = Idea(number=3, mode="explore", axis="A3", title="space groups", knobs={"WIDTH": 96})


def test_all_nodes_of_the_design_are_there_and_a_round_ends_with_its_record() -> None:
    drawn = build().get_graph()
    edges = {(edge.source, edge.target) for edge in drawn.edges}
    chain = "strategise scout choose code review smoke approve train judge remember __end__".split()
    assert set(itertools.pairwise(chain)) <= edges
    assert ("strategise", "__end__") in edges
    for early in ("choose", "code", "review", "smoke", "approve"):
        assert (early, "remember") in edges, "an idea that ends early is remembered too"
    assert [start for start, end in edges if end == "train"] == ["approve"], "a person can stop every training"
    assert [start for start, end in edges if end == "approve"] == ["smoke"], "nobody is asked about a file that crashes"


@pytest.mark.parametrize(
    ("router", "state", "to"),
    [
        (routing.after_strategise, {"stop": "all trials are done"}, "__end__"),
        (routing.after_strategise, {"stop": ""}, "scout"),
        (routing.after_review, {"failure": None, "verdict": Verdict(kind="approve")}, "smoke"),
        (routing.after_review, {"failure": None, "verdict": Verdict(kind="revise")}, "code"),
        (routing.after_review, {"failure": ("rejected", "x"), "verdict": Verdict(kind="reject")}, "remember"),
        (routing.after_smoke, {"failure": None, "smoke": None}, "approve"),
        (routing.after_approve, {"failure": None, "answer": None}, "train"),
        (routing.after_approve, {"failure": None, "answer": REVISE}, "code"),
        (routing.after_approve, {"failure": None, "answer": REVISE.model_copy(update={"word": "approve"})}, "train"),
        (routing.after_approve, {"failure": ("rejected", "x"), "answer": REVISE}, "remember"),
        (routing.after_smoke, {"failure": None, "smoke": TrialOutcome(status="crashed", message="")}, "code"),
        (routing.after_smoke, {"failure": ("crashed", "x"), "smoke": None}, "remember"),
    ],
)
def test_routes(router: object, state: State, to: str) -> None:
    assert router(state) == to  # type: ignore[operator]


def test_a_checkpoint_gives_back_what_was_put_in() -> None:
    allowed = [(kind.__module__, kind.__name__) for kind in STATE_TYPES]
    serde = JsonPlusSerializer(allowed_msgpack_modules=allowed)
    plan = Plan(number=3, mode="explore", parent=0, axis="A3")
    state = {"plan": plan, "proposals": (IDEA,), "crowding": Crowding(text=0.5, nearest=(1, 2)), "answer": REVISE}
    back = serde.loads_typed(serde.dumps_typed(state))
    assert back["plan"] == plan
    assert list(back["proposals"]) == [IDEA]
    assert back["crowding"] == state["crowding"]
    assert back["answer"] == REVISE
