"""The LangGraph state machine of one round of a research team, and where its checkpoints lie."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from typing import TYPE_CHECKING

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime  # LangGraph reads the annotations of a node at run time

from graph import nodes, person, routing
from graph.context import Context
from graph.errors import RunError
from graph.state import STATE_TYPES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph


def build(checkpointer: BaseCheckpointSaver[str] | None = None) -> CompiledStateGraph[State, Context, State, State]:
    """Return the compiled state machine of a round: strategise to remember; `graph.campaign` begins the next."""
    graph = StateGraph(State, context_schema=Context)
    for node in (
        nodes.strategise,
        nodes.scout,
        nodes.choose,
        nodes.code,
        nodes.review,
        nodes.smoke,
        person.approve,
        nodes.train,
        nodes.judge,
        nodes.remember,
    ):
        graph.add_node(node.__name__, _alone(node))
    graph.add_edge(START, "strategise")
    graph.add_conditional_edges("strategise", routing.after_strategise, ["scout", END])
    graph.add_edge("scout", "choose")
    graph.add_conditional_edges("choose", routing.after_choose, ["code", "remember"])
    graph.add_conditional_edges("code", routing.after_code, ["review", "remember"])
    graph.add_conditional_edges("review", routing.after_review, ["smoke", "code", "remember"])
    graph.add_conditional_edges("smoke", routing.after_smoke, ["approve", "code", "remember"])
    graph.add_conditional_edges("approve", routing.after_approve, ["train", "code", "remember"])
    graph.add_edge("train", "judge")
    graph.add_edge("judge", "remember")
    graph.add_edge("remember", END)
    return graph.compile(checkpointer=checkpointer, name="crystal research team")


def _alone(node: Callable[[State, Runtime[Context]], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return a node that has the floor while it works; it gives it up where it waits, see `Flight.aside`."""

    @functools.wraps(node)
    def alone(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        with runtime.context.flight.floor():
            return node(state, runtime)

    return alone


def studio() -> CompiledStateGraph[State, Context, State, State]:
    """Return the state machine for LangGraph's studio, which `langgraph.json` names; it opens it without a run."""
    return build()


class RoundSaver(SqliteSaver):
    """Keeps the state after each step, and of what a step writes only questions, answers and errors.

    A round makes one step at a time, whose results are in the checkpoint that follows at once; LangGraph keeps them
    apart as well, for steps of several branches of which some are done.
    """

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what no checkpoint holds."""
        if any(channel in WRITES_IDX_MAP for channel, _ in writes):
            super().put_writes(config, writes, task_id, task_path)


@contextlib.contextmanager
def open_checkpoints(path: Path) -> Iterator[RoundSaver]:
    """Open a run's checkpoint database; only the types of our own state are ever rebuilt from it.

    Raises:
        RunError: Disk or folder keep it from being opened; a damaged one is made anew.
    """
    allowed = [(kind.__module__, kind.__name__) for kind in STATE_TYPES]
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        damaged = connection.execute("PRAGMA quick_check").fetchone() != ("ok",)
    except sqlite3.DatabaseError as error:
        damaged = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        if not damaged:  # a full disk or a folder that is read-only says nothing of what it holds
            connection.close()
            raise RunError(
                f"{path} cannot be read ({error}): make room, and make the run's folder writable; "
                "what was recorded is safe, and `team resume` goes on"
            ) from error
    if damaged:  # it holds unfinished rounds, which begin anew; the journal holds everything else
        connection.close()
        path.unlink()
        connection = sqlite3.connect(path, check_same_thread=False)
    saver = RoundSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=allowed))
    saver.setup()
    # A power cut may take the last steps of a round, which are then made again; the journal has what must not be lost.
    connection.execute("PRAGMA synchronous=NORMAL")
    try:
        yield saver
    finally:
        connection.close()
