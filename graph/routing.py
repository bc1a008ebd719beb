"""Where a round goes after each node: pure functions of the state."""

from __future__ import annotations

from typing import Literal

from graph.state import State  # LangGraph reads the annotations of a router at run time


def after_strategise(state: State) -> Literal["scout", "__end__"]:
    """Stop where the budget is spent or the strategist sees nothing left."""
    return "__end__" if state["stop"] else "scout"


def after_choose(state: State) -> Literal["code", "remember"]:
    """Remember at once where there was nothing to choose from."""
    return "remember" if state["failure"] else "code"


def after_code(state: State) -> Literal["review", "remember"]:
    """Remember an idea that no edit could be made of."""
    return "remember" if state["failure"] else "review"


def after_review(state: State) -> Literal["smoke", "code", "remember"]:
    """Try an approved change; hand one that may be mended back to the coder."""
    if state["failure"]:
        return "remember"
    assert state["verdict"] is not None
    return "smoke" if state["verdict"].kind == "approve" else "code"


def after_smoke(state: State) -> Literal["approve", "code", "remember"]:
    """Put what ran before a person, who may have asked for that; hand what crashed back to the coder."""
    if state["failure"]:
        return "remember"
    smoke = state["smoke"]
    return "approve" if smoke is None or smoke.status == "finished" else "code"


def after_approve(state: State) -> Literal["train", "code", "remember"]:
    """Pay for what a person lets pass; hand what is to be revised back to the coder."""
    if state["failure"]:
        return "remember"
    answer = state.get("answer")
    return "code" if answer is not None and answer.word == "revise" else "train"
