"""The LangGraph state machine of a research team, and the calls that start and resume a run of it."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from evaluation_locked.trial import TrialCancelled
from graph import nodes, routing
from graph.context import Context
from graph.state import STATE_TYPES, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

THREAD = "run"
KEPT_CHECKPOINTS = 24  # about two rounds: enough to resume from, and the database stops growing


def build(checkpointer: BaseCheckpointSaver[str] | None = None) -> CompiledStateGraph[State, Context, State, State]:
    """Return the compiled state machine: strategise, scout, choose, code, review, smoke, train, judge, remember."""
    graph = StateGraph(State, context_schema=Context)
    for node in (
        nodes.strategise,
        nodes.scout,
        nodes.choose,
        nodes.code,
        nodes.review,
        nodes.smoke,
        nodes.train,
        nodes.judge,
        nodes.remember,
    ):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "strategise")
    graph.add_conditional_edges("strategise", routing.after_strategise, ["scout", END])
    graph.add_edge("scout", "choose")
    graph.add_conditional_edges("choose", routing.after_choose, ["code", "remember"])
    graph.add_conditional_edges("code", routing.after_code, ["review", "remember"])
    graph.add_conditional_edges("review", routing.after_review, ["smoke", "code", "remember"])
    graph.add_conditional_edges("smoke", routing.after_smoke, ["train", "code", "remember"])
    graph.add_edge("train", "judge")
    graph.add_edge("judge", "remember")
    graph.add_edge("remember", "strategise")
    return graph.compile(checkpointer=checkpointer, name="crystal research team")


@contextlib.contextmanager
def open_checkpoints(context: Context) -> Iterator[SqliteSaver]:
    """Open the run's checkpoint database; only the types of our own state are ever rebuilt from it."""
    allowed = [(kind.__module__, kind.__name__) for kind in STATE_TYPES]
    connection = sqlite3.connect(context.folder.checkpoint, check_same_thread=False)
    try:
        damaged = connection.execute("PRAGMA quick_check").fetchone() != ("ok",)
    except sqlite3.DatabaseError:
        damaged = True
    if damaged:  # it holds one unfinished round at most; the journal holds everything else
        connection.close()
        context.folder.checkpoint.unlink()
        connection = sqlite3.connect(context.folder.checkpoint, check_same_thread=False)
    try:
        yield SqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=allowed))
    finally:
        connection.close()


def advance(context: Context) -> str:
    """Run rounds until the budget is spent, and return why the run stopped.

    A run that was interrupted goes on at the node that was cut short, unless the journal says that its trial is over:
    where checkpoint and journal disagree, the journal is right.

    Raises:
        TrialCancelled: `context.cancel` was set; the run can be resumed.
    """
    with open_checkpoints(context) as saver:
        machine = build(saver)
        config: RunnableConfig = {"configurable": {"thread_id": THREAD}, "recursion_limit": 1_000_000}
        start: State | None = {"number": context.knowledge.history.next_number}
        state = machine.get_state(config)
        if state.next:
            number = state.values.get("number", -1)
            over = number in context.knowledge.history.trials
            if state.next == ("remember",) or (not over and state.next != ("strategise",)):
                start = None
        if start is not None:
            saver.delete_thread(THREAD)
        stop = ""
        steps = machine.stream(start, config, context=context, stream_mode="updates", durability="sync")
        for update in steps:
            for name, change in update.items():
                if change and change.get("stop"):
                    stop = change["stop"]
                if name == "remember":
                    _prune(saver)
                    if context.cancel.is_set():
                        raise TrialCancelled
        return stop


def _prune(saver: SqliteSaver) -> None:
    """Drop checkpoints that no resume will read; ids sort by time."""
    keep = "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_id DESC LIMIT ?"
    with saver.cursor() as cursor:
        for table in ("writes", "checkpoints"):
            cursor.execute(
                f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id NOT IN ({keep})",
                (THREAD, THREAD, KEPT_CHECKPOINTS),
            )
