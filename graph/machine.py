"""The LangGraph state machine of a research team, and the calls that start and resume a run of it."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from evaluation_locked.trial import TrialCancelled
from graph import nodes, person, routing
from graph.context import Context
from graph.state import STATE_TYPES, State
from memory.person import Question

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

    from memory.person import Answer

THREAD = "run"
INTERRUPTED = "__interrupt__"  # the name under which LangGraph streams a question
KEPT_CHECKPOINTS = 24  # about two rounds: enough to resume from, and the database stops growing


def build(checkpointer: BaseCheckpointSaver[str] | None = None) -> CompiledStateGraph[State, Context, State, State]:
    """Return the compiled state machine: strategise to remember, and round again."""
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
        graph.add_node(node.__name__, node)
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
    graph.add_edge("remember", "strategise")
    return graph.compile(checkpointer=checkpointer, name="crystal research team")


def studio() -> CompiledStateGraph[State, Context, State, State]:
    """Return the state machine for LangGraph's studio, which `langgraph.json` names; it opens it without a run."""
    return build()


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
    saver = SqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=allowed))
    saver.setup()
    # A power cut may take the last steps of a round, which are then made again; the journal has what must not be lost.
    connection.execute("PRAGMA synchronous=NORMAL")
    try:
        yield saver
    finally:
        connection.close()


def advance(context: Context) -> str:
    """Run rounds until the budget is spent, and return why the run stopped; empty where a question stays open.

    A run that was interrupted goes on at the node that was cut short, unless the journal says that its trial is over:
    where checkpoint and journal disagree, the journal is right.

    Raises:
        TrialCancelled: `context.cancel` was set; the run can be resumed.
    """
    with open_checkpoints(context) as saver:
        machine = build(saver)
        config: RunnableConfig = {"configurable": {"thread_id": THREAD}, "recursion_limit": 1_000_000}
        start: State | Command[str] | None = {"number": context.knowledge.history.next_number}
        state = machine.get_state(config)
        if state.next:
            number = state.values.get("number", -1)
            over = number in context.knowledge.history.trials
            if state.next == ("remember",) or (not over and state.next != ("strategise",)):
                start = None
        if start is not None:
            saver.delete_thread(THREAD)
        # Of the process before: their ids sort by its clock, which may have been ahead of this one's.
        old = [held.config["configurable"]["checkpoint_id"] for held in saver.list(config)]
        stop, question = "", None
        while True:
            steps = machine.stream(start, config, context=context, stream_mode="updates", durability="sync")
            for update in steps:
                for name, change in update.items():
                    if name == INTERRUPTED:
                        question = Question.model_validate(change[0].value)
                        continue
                    if change and change.get("stop"):
                        stop = change["stop"]
                    if name == "remember":
                        _prune(saver, old)
                        if context.cancel.is_set():
                            raise TrialCancelled
            if question is None:
                return stop
            answer = _hear(question, context)
            if answer is None:
                return ""
            start, question = Command(resume=answer.model_dump(mode="json", include={"word", "why"})), None


def _hear(question: Question, context: Context) -> Answer | None:
    """Return the answer to a question, None where it stays open; both are on the disk before anything follows.

    Raises:
        TrialCancelled: The person stopped the run instead.
    """
    context.person.ask(question)
    answer = context.person.find_answer(question) or context.ask(question)
    if answer is None and context.cancel.is_set():
        raise TrialCancelled
    return answer


def _prune(saver: SqliteSaver, old: list[str]) -> None:
    """Drop checkpoints that no resume will read; ids of one process sort by time, those of the one before are `old`."""
    keep = "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_id DESC LIMIT ?"
    with saver.cursor() as cursor:
        for table in ("writes", "checkpoints") if old else ():
            cursor.executemany(f"DELETE FROM {table} WHERE checkpoint_id = ?", [(one,) for one in old])
        old.clear()
        for table in ("writes", "checkpoints"):
            cursor.execute(
                f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id NOT IN ({keep})",
                (THREAD, THREAD, KEPT_CHECKPOINTS),
            )
