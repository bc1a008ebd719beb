"""What travels between nodes: small, typed, and written to the checkpoint after every step.

Files hold what is large (train.py, logs, predictions), the journal holds what is past; neither is repeated here, so a
checkpoint stays a few kilobytes however long the run.
"""

from __future__ import annotations

from typing_extensions import TypedDict  # before Python 3.12, schemas for the studio cannot be made of typing's own

from evaluation_locked.keep_rule import Decision
from evaluation_locked.scorer import Score
from evaluation_locked.trial import TrialOutcome
from memory.person import Answer
from memory.records import Axis, Crowding, Idea, Mode, Record, Verdict


class Plan(Record):
    """The strategist's choice for one round.

    Attributes:
        number: The trial that it is for.
        mode: What kind of step.
        parent: Trial to start from; None for the baseline.
        axis: Where to change something; `-` where the mode settles it.
        also_from: Trials whose changes are to be joined (combine).
        changes: What the strategist has in mind, see `memory.history.changes_of`; empty leaves it to the scout.
        why: The reason, for people.
        forced: Whether a plateau forced another mode or axis.
        wishes: A person's wishes that it takes up; each is put before the strategist until a plan names it here.
        own_idea: A person's own idea that it takes from the queue, so that the scout is not asked.
    """

    number: int
    mode: Mode
    parent: int | None
    axis: Axis
    also_from: tuple[int, ...] = ()
    changes: tuple[str, ...] = ()
    why: str = ""
    forced: bool = False
    wishes: tuple[int, ...] = ()
    own_idea: int | None = None


class State(TypedDict, total=False):
    """The state of one round; `number` starts it, and `plan` clears what the last round left."""

    number: int
    started_at: float
    paid_seconds: float
    plan: Plan | None
    proposals: tuple[Idea, ...]
    idea: Idea | None
    crowding: Crowding
    feedback: str
    repairs: int
    stand_ins: tuple[str, ...]
    verdict: Verdict | None
    failure: tuple[str, str] | None
    smoke: TrialOutcome | None
    answer: Answer | None
    turn: int
    outcome: TrialOutcome | None
    score: Score | None
    decision: Decision | None
    stop: str


# Types that a checkpoint may be turned back into; anything else in the database stays plain data.
STATE_TYPES = (Plan, Idea, Crowding, Verdict, TrialOutcome, Answer, Score, Decision)
