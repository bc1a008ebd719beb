"""What nodes work with that is not state: the run's folder, the team, the executor, the budget, and who listens."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from graph.executors.local import LocalExecutor
from graph.flight import Flight

if TYPE_CHECKING:
    from collections.abc import Callable

    from evaluation_locked.trial import Phase
    from graph.executors import Executor
    from graph.publishing import Publisher
    from graph.roles import Team
    from graph.run_folder import RunConfig, RunFolder
    from memory.knowledge import Knowledge
    from memory.person import Answer, PersonLog, Question
    from memory.records import Entry, Idea

NodeName = Literal["strategise", "scout", "choose", "code", "review", "smoke", "approve", "train", "judge", "remember"]


@dataclass(frozen=True)
class Event:
    """Something to show: a node begins, a trial enters a phase, an idea is chosen, or a record is made.

    Events of several trials come mixed; `number` says whose each is. A trial leaves with its record, or, where its
    round ends without one, with `over`.
    """

    kind: Literal["node", "phase", "idea", "record", "over", "note"]
    number: int
    node: NodeName | None = None
    phase: Phase | None = None
    idea: Idea | None = None
    entry: Entry | None = None
    text: str = ""


@dataclass
class Budget:
    """What a run may spend; a round begins only where something of each is left.

    Attributes:
        trials: Trainings, replicates and crashes among them.
        hours: Wall time, None for no limit.
        rejected: Rounds that may end before training, so that a team that only proposes nonsense ends too.
    """

    trials: int
    hours: float | None = None
    rejected: int = 0
    started: float = field(default_factory=time.monotonic)

    def spent(self, n_trained: int, n_rejected: int) -> str:
        """Return what is used up, as a sentence; empty while all is left."""
        if n_trained > self.trials:
            return f"{n_trained} trials are done, which is more than {self.trials}"
        if n_trained == self.trials:
            return f"all {self.trials} trials are done"
        if n_rejected >= self.rejected:
            return f"{n_rejected} proposals were rejected before training"
        if self.hours is not None and time.monotonic() - self.started >= self.hours * 3600:
            return f"{self.hours:g} hours have passed"
        return ""


@dataclass
class Context:
    """Given to every node at run time; nothing of it is in a checkpoint.

    Attributes:
        flight: Who has the floor, and whose result comes next.
        workers: Trials at once.
        ask: Puts a question to the person at the terminal and notes the answer in `person`; None where nobody sits
            there or the question stays open.
    """

    folder: RunFolder
    config: RunConfig
    knowledge: Knowledge
    team: Team
    budget: Budget
    person: PersonLog
    publisher: Publisher
    flight: Flight = field(default_factory=Flight)
    workers: int = 1
    executor: Executor = field(default_factory=LocalExecutor)
    listen: Callable[[Event], None] = lambda event: None
    ask: Callable[[Question], Answer | None] = lambda question: None
    cancel: threading.Event = field(default_factory=threading.Event)
