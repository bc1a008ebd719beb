"""All rounds of a run: how many are in flight, when another begins, and how those that were cut short go on.

Each round is a LangGraph thread of its own (`graph.machine`), played in a Python thread of its own, so that a round
that waits for its trial holds up no other; its checkpoints go when it is recorded. A fan-out inside one LangGraph
thread would end all its branches before any goes on (docs/decisions/0020-a-thread-a-round.md).

It chooses nothing and judges nothing: that is the nodes' business.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from langgraph.types import Command

from evaluation_locked.trial import TrialCancelled
from graph.context import Event
from graph.machine import build, open_checkpoints
from memory.person import Question

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.sqlite import SqliteSaver

    from graph.context import Context
    from graph.state import State
    from memory.person import Answer

INTERRUPTED = "__interrupt__"  # the name under which LangGraph streams a question
_THREAD = re.compile(r"round-(\d+)")


def advance(context: Context) -> str:
    """Run rounds until the budget is spent, and return why the run stopped; empty where a question stays open.

    A round that was interrupted goes on at the node that was cut short, unless the journal says that its trial is over:
    where checkpoint and journal disagree, the journal is right.

    Raises:
        TrialCancelled: `context.cancel` was set; the run can be resumed.
    """
    with open_checkpoints(context.folder.checkpoint) as saver:
        return Campaign(context, saver).run()


class Campaign:
    """The rounds of one process at work on a run.

    Args:
        context: Given to every node.
        saver: The run's checkpoints.
    """

    def __init__(self, context: Context, saver: SqliteSaver) -> None:
        self._context = context
        self._flight = context.flight
        self._history = context.knowledge.history
        self._saver = saver
        self._machine = build(saver)
        self._threads: dict[int, threading.Thread] = {}
        self._unfinished: list[int] = []  # rounds of the process before that wait for a slot
        self._error: BaseException | None = None
        self._asking = threading.Lock()  # one question at a time
        self._question_open = False
        self._known: dict[int, int] = {}  # round -> entries of the history as it began
        self._nothing_left: tuple[int, str] | None = None  # why no plan came of a round, and of how many entries

    def run(self) -> str:
        """See rounds through until none is to begin and none is in flight; see `advance`."""
        stop = ""
        try:
            self._take_up()
            with self._flight.floor():
                while self._error is None and not self._context.cancel.is_set():
                    stop = self._stop()
                    if self._unfinished and self._may_go_on(self._unfinished[0]):
                        self._begin(self._unfinished.pop(0))
                    elif not stop and not self._unfinished and self._may_begin():
                        self._begin(self._history.next_number)
                    elif self._threads:
                        self._flight.wait()
                    else:
                        break
        except BaseException:
            self._context.cancel.set()
            raise
        finally:
            for thread in [*self._threads.values()]:
                thread.join()
        if self._error is not None:
            raise self._error
        if self._context.cancel.is_set():
            raise TrialCancelled
        return "" if self._question_open else stop

    def _stop(self) -> str:
        """Return why no further round begins, whatever those in flight bring; empty while one may."""
        context, history = self._context, self._history
        if self._question_open:
            return "a question is open"
        if context.folder.pause.exists():
            return "it was asked to pause"
        if self._nothing_left is not None and self._nothing_left[0] == history.n_entries:
            return self._nothing_left[1]
        trained = history.n_trained
        return context.budget.spent(trained, len(history.trials) - trained) or context.team.spent()

    def _may_go_on(self, number: int) -> bool:
        """Say whether a round that was cut short can go on; two do not plan at once."""
        return self._has_slot() and not (self._history.in_flight[number] is None and self._is_planning())

    def _is_planning(self) -> bool:
        return any(self._history.in_flight.get(number, number) is None for number in self._threads)

    def _may_begin(self) -> bool:
        """Say whether there is a slot for another round, budget for its trial, and all known that is about to be."""
        history = self._history
        if not self._has_slot() or history.n_trained + len(history.in_flight) >= self._context.budget.trials:
            return False
        if history.in_flight and (history.champion is None or self._is_planning()):
            return False  # nothing can be planned before the baseline, nor beside a plan that is not made yet
        return not self._flight.is_arriving()

    def _has_slot(self) -> bool:
        workers, parked = self._context.workers, self._flight.n_parked
        return len(self._threads) - parked < workers and parked <= workers

    def _begin(self, number: int) -> None:
        self._history.in_flight.setdefault(number, None)
        thread = threading.Thread(target=self._play, args=(number,), name=f"round-{number}", daemon=True)
        self._threads[number] = thread
        self._known[number] = self._history.n_entries
        thread.start()

    def _play(self, number: int) -> None:
        """See one round through; the first error of any round ends them all."""
        stop = ""
        try:
            stop = self._see_through(number)
        except TrialCancelled:
            self._context.cancel.set()
        except BaseException as error:  # handed to the thread that waits for all rounds
            with self._flight.floor():
                self._error = self._error or error
                self._context.cancel.set()
        finally:
            with self._flight.floor():
                del self._threads[number]
                if stop:
                    self._context.knowledge.abandon(number)
                    self._nothing_left = self._known[number], stop
                    self._context.listen(Event("over", number, text=stop))
                del self._known[number]
                self._flight.land(number)

    def _see_through(self, number: int) -> str:
        """Play a round to its end or to a question that stays open; return why it came to no trial, if it did not."""
        config: RunnableConfig = {"configurable": {"thread_id": f"round-{number}"}, "recursion_limit": 1_000}
        begun = bool(self._machine.get_state(config).next)
        start: State | Command[str] | None = None if begun else {"number": number}
        while True:
            stop, question = "", None
            for update in self._machine.stream(
                start, config, context=self._context, stream_mode="updates", durability="sync"
            ):
                for name, change in update.items():
                    if name == INTERRUPTED:
                        question = Question.model_validate(change[0].value)
                    elif change and change.get("stop"):
                        stop = change["stop"]
            if question is None:
                self._saver.delete_thread(f"round-{number}")
                return stop
            answer = self._hear(question)
            if answer is None:
                return ""
            start = Command(resume=answer.model_dump(mode="json", include={"word", "why"}))

    def _hear(self, question: Question) -> Answer | None:
        """Return the answer to a question, None where it stays open; both are on the disk before anything follows.

        Raises:
            TrialCancelled: The person stopped the run instead.
        """
        context = self._context
        if (answer := context.person.find_answer(question)) is not None:
            return answer
        with self._asking:
            if self._question_open or context.cancel.is_set():
                return None  # it is asked when the run goes on
            context.person.ask(question)
            answer = context.ask(question)
            if answer is None:
                if context.cancel.is_set():
                    raise TrialCancelled
                self._question_open = True
        return answer

    def _take_up(self) -> None:
        """Look at the rounds that were cut short: finish what only the last words are missing of, line up the others.

        A trial that is recorded and whose round stood at its last node may lack a decision that follows from it; that
        is made before anything else is recorded.
        """
        waiting: list[int] = []
        for thread in sorted({str(held.config["configurable"]["thread_id"]) for held in self._saver.list(None)}):
            match = _THREAD.fullmatch(thread)
            state = self._machine.get_state({"configurable": {"thread_id": thread}}) if match else None
            number = int(match[1]) if match else -1
            if state is None or not state.next or (number in self._history.trials and state.next != ("remember",)):
                self._saver.delete_thread(thread)
            elif number in self._history.trials:
                self._see_through(number)
            else:
                waiting.append(number)
                self._history.in_flight[number] = None
                if (idea := state.values.get("idea")) is not None:
                    self._context.knowledge.begin(idea)
                if state.next in (("train",), ("judge",)):
                    self._flight.line_up(number)
        self._unfinished = sorted(waiting)
