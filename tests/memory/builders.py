"""Records with sensible fields, so that a test writes only what it is about."""

from __future__ import annotations

from typing import Any

from evaluation_locked.scorer import Score
from memory.records import DecisionRecord, Idea, Outcome, TrialRecord

_IDEA_FIELDS = set(Idea.model_fields)


def score(value: float, metric: str = "mae") -> Score:
    return Score(metric=metric, value=value, low=value - 0.01, high=value + 0.01, n=500, metrics={}, seal="seal")


def trial(number: int, value: float | None = None, outcome: Outcome = "discarded", **fields: Any) -> TrialRecord:
    """Return a trial; `value` is its score, None where it did not finish; fields of the idea are taken as well."""
    idea: dict[str, Any] = {"mode": "explore", "axis": "A4", "title": f"idea {number}"}
    if number == 0:
        idea |= {"mode": "baseline", "axis": "-"}
    idea |= {name: fields.pop(name) for name in _IDEA_FIELDS & set(fields)}
    recorded: dict[str, Any] = {"reason": "as built", "code_sha": f"code-{number}"} | fields
    return TrialRecord(
        number=number,
        idea=Idea(number=number, **idea),
        outcome=outcome,
        score=None if value is None else score(value),
        **recorded,
    )


def decision(number: int, outcome: Outcome, gain: float = 0.01) -> DecisionRecord:
    return DecisionRecord(
        trial=number,
        outcome=outcome,
        reason="decided later",
        gain=gain,
        gain_low=gain - 0.005,
        gain_high=gain + 0.005,
        z=2.0,
        n_challenger=2,
        n_champion=2,
    )
