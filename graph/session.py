"""Opening a run: its lock, its journal, and everything derived from the journal, put together for the state machine."""

from __future__ import annotations

import contextlib
import gc
import threading
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from evaluation_locked.prepare import compute_seal, load_facts
from graph.context import Budget, Context, Event
from graph.errors import RunError
from graph.flight import Flight
from graph.orphans import end_orphans
from graph.publishing import Publisher
from graph.run_folder import RunFolder
from graph.run_memory import open_ideas
from memory.history import History
from memory.journal import Journal
from memory.knowledge import Knowledge
from memory.person import PersonLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graph.roles import Team
    from graph.run_folder import RunConfig

REJECTED_PER_TRIAL = 3
YOUNG_OBJECTS = 20_000  # made between two looks of the collector at the youngest; Python's own choice is 700


@contextlib.contextmanager
def open_session(
    folder: RunFolder,
    config: RunConfig,
    journal: Journal,
    team: Team,
    listen: Callable[[Event], None] = lambda event: None,
    cancel: threading.Event | None = None,
    flight: Flight | None = None,
) -> Iterator[Context]:
    """Gather what the state machine of a prepared run works with; the caller holds the journal's lock.

    Raises:
        JournalError: The journal is damaged in its middle.
        DataError: The run was not prepared.
        RunError: The seal does not fit.
        PersonError: The log of what a person said is damaged.
    """
    facts = load_facts(folder.locked)
    if compute_seal(config.task, folder.locked) != facts.seal:
        raise RunError(
            f"the judge's code, the task or the locked rows changed since run {folder.name} was sealed "
            f"({facts.seal[:12]}): scores from before and after are not compared, so start a new run"
        )
    entries = journal.read()
    person = PersonLog(folder.person)
    person.read()  # a damaged log is told before anything is paid for
    playbook = {technique.id: technique for technique in folder.playbook(config)}
    brief = folder.seed / "brief.md"
    history = History(entries)
    if ended := end_orphans(folder, history.trials):
        listen(
            Event("note", history.next_number, text=f"{ended} processes or jobs of a run that was killed were ended")
        )
    folder.remove_partial_files()
    ideas = open_ideas(folder, config, entries)
    knowledge = Knowledge(
        task=config.task,
        brief=brief.read_text(encoding="utf-8") if brief.exists() else "",
        techniques=playbook,
        history=history,
        ideas=ideas,
        journal=journal,
        trial_folder=folder.trial,
        seed_train_py=(folder.seed / "train.py").read_text(encoding="utf-8"),
        n_train=facts.n_train,
        seed=config.seed,
        person=person,
    )
    context = Context(
        folder=folder,
        config=config,
        knowledge=knowledge,
        team=team,
        budget=Budget(config.trials, config.hours, rejected=REJECTED_PER_TRIAL * config.trials + 10),
        person=person,
        publisher=Publisher(folder),
        flight=flight or Flight(),
        workers=config.workers,
        listen=_one_at_a_time(listen),
        cancel=cancel or threading.Event(),
    )
    # The matrices of a round are small: threads of the algebra library would wait for each other for ten times as long.
    with ideas, threadpool_limits(1, user_api="blas"), _seldom_collected():
        # An interruption may have come between the journal and what follows from it.
        context.publisher.publish(knowledge, whole=True)
        yield context
        context.publisher.publish(knowledge, whole=True)


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Spare the collector what is there when a session begins, and have it look at new objects less often.

    A review makes thousands of nodes of a syntax tree that are gone with the round, without a cycle among them.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _one_at_a_time(listen: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a listener that rounds may call from their threads; it hears one event after the other."""
    lock = threading.Lock()

    def alone(event: Event) -> None:
        with lock:
            listen(event)

    return alone
