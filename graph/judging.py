"""From a score to a decision and a record: what is compared with what, and when a near miss is settled."""

from __future__ import annotations

import functools
import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evaluation_locked.keep_rule import NEAR_MISS_Z, Decision, decide
from evaluation_locked.noise import shrunk_seed_noise
from evaluation_locked.scorer import Comparison, Score, compare, score
from graph.errors import RunError
from graph.run_folder import RunFolder
from memory.crowding import code_fingerprint
from memory.edits import EditError, normalised
from memory.records import DecisionRecord, Idea, Outcome, TrialRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from graph.context import Context
    from graph.state import State
    from memory.history import History

    Compare = Callable[[Sequence[int], Sequence[int]], Comparison]


OUTCOMES: dict[str, Outcome] = {"keep": "kept", "discard": "discarded", "near-miss": "near-miss"}


class Trainings(NamedTuple):
    """How many trainings of either side were averaged."""

    challenger: int
    champion: int

    def __str__(self) -> str:
        return f"(mean of {self.challenger} trainings against {self.champion})"


def judge_trial(context: Context, idea: Idea, folder: Path, layers: Sequence[str]) -> tuple[Score, Decision | None]:
    """Score a trial that `layers` held, and compare it with the champion.

    There is no decision where none is to be taken (baseline, replicate).

    Raises:
        ScoringError: The trial's predictions cannot be scored.
    """
    history = context.knowledge.history
    champion = history.champion if idea.mode != "replicate" else None
    theirs = history.replicates_of(champion.number) if champion is not None else []
    result, comparison = score(
        context.folder.locked,
        folder / "predictions.npy",
        folder / "residuals.npy",
        _predictions(context.folder, history, theirs),
        layers=layers,
    )
    if champion is None or comparison is None:
        return result, None
    lines = code_lines((folder / "train.py").read_text(encoding="utf-8"))
    return result, decide_on(history, comparison, simpler=lines < champion.code_lines)


def trial_record(context: Context, state: State, idea: Idea, *, code_sha: str, text: str, diff: str) -> TrialRecord:
    """Gather what became of a round into the journal's record."""
    outcome, result, decision, failure = state["outcome"], state["score"], state["decision"], state["failure"]
    champion = context.knowledge.history.champion
    kind, reason = _outcome(context, idea, result, decision, failure)
    crowding = state["crowding"]
    if result is not None:
        crowding = context.knowledge.behaviour_after(crowding, idea.number, code_sha)
    paid = state["paid_seconds"]
    smoke = state["smoke"]
    return TrialRecord(
        number=idea.number,
        idea=idea,
        outcome=kind,
        reason=reason,
        status=outcome.status if outcome is not None else "not run",
        code_sha=code_sha,
        meaning_sha=code_fingerprint(text) if text else "",
        code_lines=code_lines(text) if text else 0,
        diff=diff,
        seed=context.config.seed * 1_000_003 + idea.number,
        verdict=state["verdict"],
        score=result,
        champion=champion.number if decision is not None and champion is not None else None,
        gain=decision.gain if decision else None,
        gain_low=decision.low if decision else None,
        gain_high=decision.high if decision else None,
        z=decision.z if decision else None,
        crowding=crowding,
        featurise_seconds=outcome.featurise_seconds if outcome else 0.0,
        train_seconds=outcome.train_seconds if outcome else 0.0,
        predict_seconds=outcome.predict_seconds if outcome else 0.0,
        smoke_seconds=smoke.seconds if smoke else 0.0,
        overhead_seconds=round(max(0.0, time.time() - state["started_at"] - paid), 3),
        peak_memory_gib=outcome.peak_memory_gib if outcome else 0.0,
        stand_ins=tuple(state.get("stand_ins", ())),
        started_at=datetime.fromtimestamp(state["started_at"], UTC).isoformat(timespec="seconds"),
    )


def settle(context: Context, idea: Idea) -> Iterator[DecisionRecord]:
    """Decide again on the trials whose outcome hangs on the one that `idea` has just replicated; see `decide_again`."""
    folder, history = context.folder, context.knowledge.history

    def compare_trials(ours: Sequence[int], theirs: Sequence[int]) -> Comparison:
        return compare(folder.locked, _predictions(folder, history, ours), _predictions(folder, history, theirs))

    return decide_again(history, idea, compare_trials)


def decide_again(history: History, idea: Idea, compare_trials: Compare) -> Iterator[DecisionRecord]:
    """Yield what is decided after a replicate, all trainings of both sides averaged.

    A near miss is measured against the champion. A kept champion is measured against the one that it replaced: the gain
    that made it champion was the best of several draws, and what another training shows is not. Where it loses its
    place, the best of those that were discarded against it is measured against the champion that is one again.

    The caller adds each decision to the history before it asks for the next: so a run that was interrupted between two
    asks again, and gets what is missing.
    """
    if idea.mode != "replicate" or idea.parent is None or history.trials[idea.number].score is None:
        return
    first = _decide_replicated(history, history.trials[idea.parent], compare_trials)
    if first is not None and history.decisions.get(first.trial) != first:
        yield first
    if history.just_reversed == idea.parent:
        second = _decide_beaten(history, history.trials[idea.parent], compare_trials)
        if second is not None:
            yield second


def _decide_replicated(history: History, trial: TrialRecord, compare_trials: Compare) -> DecisionRecord | None:
    champion = history.champion
    assert champion is not None, "a replicate has something to replicate"
    outcome = history.outcome(trial.number)
    if outcome == "near-miss":
        against = champion
    elif trial.number == champion.number and trial.champion is not None:
        against = history.trials[trial.champion]
    else:
        return None
    decision, trainings = _measure(history, trial.number, against.number, compare_trials)
    if outcome != "kept":
        return _record(trial.number, OUTCOMES[decision.kind], f"{decision.reason} {trainings}", decision, trainings)
    held = decision.kind == "keep" or decision.z >= NEAR_MISS_Z
    word = "it holds" if held else f"its gain was luck, and trial {against.number} is champion again"
    reason = f"trained again: {decision.reason.split(';')[0]} {trainings}; {word}"
    return _record(trial.number, "kept" if held else "discarded", reason, decision, trainings)


def _decide_beaten(history: History, lucky: TrialRecord, compare_trials: Compare) -> DecisionRecord | None:
    """Decide on the best of those that were discarded against a champion that was one by luck."""
    against = history.champion
    if against is None or against.score is None:
        return None
    beaten = [
        (score, t.number)
        for t in history.trials.values()
        if t.champion == lucky.number
        and history.outcome(t.number) == "discarded"
        and (score := history.mean_score(t.number)) is not None
    ]
    if not beaten:
        return None
    best = (min if against.score.better == "lower" else max)(beaten)[1]
    decision, trainings = _measure(history, best, against.number, compare_trials)
    if decision.kind == "discard":
        return None
    reason = f"it lost to trial {lucky.number}, whose gain was luck; now {decision.reason} {trainings}"
    return _record(best, OUTCOMES[decision.kind], reason, decision, trainings)


def seed_noise(history: History) -> float:
    """Return the standard deviation of a score between seeds, as far as this run's replicates tell."""
    champion = history.champion
    if champion is None or champion.score is None:
        return shrunk_seed_noise(*history.seed_spread, 0.0)
    typical = history.mean_score(champion.number) or 0.0
    return shrunk_seed_noise(*history.seed_spread, champion.score.perfect - typical)


def champion_against_seed(folder: RunFolder, history: History) -> Decision | None:
    """Return the champion's gain over the baseline, all replicates of both averaged, with seed noise in its interval.

    None where there is no champion yet, or the baseline still is.
    """
    keeps = history.keeps
    return measure_gain(folder, history, keeps[-1], keeps[0]) if len(keeps) > 1 else None


def measure_gain(folder: RunFolder, history: History, challenger: int, champion: int) -> Decision | None:
    """Return the gain of one trial over another, all replicates of both averaged, with seed noise in its interval.

    None where either did not finish.

    Raises:
        KeyError: A trial is not recorded.
        RunError: Stored predictions are not what was scored.
    """
    ours, theirs = history.replicates_of(challenger), history.replicates_of(champion)
    if not ours or not theirs:
        return None
    predictions = (tuple(_predictions(folder, history, side)) for side in (ours, theirs))
    return decide_on(history, _compared(folder.locked, *predictions))


@functools.lru_cache(maxsize=32)
def _compared(locked: Path, challenger: tuple[Path, ...], champion: tuple[Path, ...]) -> Comparison:
    """Return what `compare` says; whoever looks at a run again and again does not start a scorer each time."""
    return compare(locked, challenger, champion)


def code_lines(source: str) -> int:
    """Return the lines of a file without comments, docstrings and layout: the measure of a simpler file."""
    try:
        return len(normalised(source).splitlines())
    except EditError:
        return len(source.splitlines())


def decide_on(history: History, comparison: Comparison, *, simpler: bool = False) -> Decision:
    """Apply the keep rule with the seed noise that the history shows."""
    return decide(
        comparison.gain,
        comparison.sampling_error,
        seed_noise(history),
        comparison.n_challenger,
        comparison.n_champion,
        simpler=simpler,
    )


def _outcome(
    context: Context, idea: Idea, result: Score | None, decision: Decision | None, failure: tuple[str, str] | None
) -> tuple[Outcome, str]:
    if failure is not None:
        return ("crashed" if failure[0] == "crashed" else "rejected"), failure[1]
    assert result is not None
    metric = context.config.task.score_metric
    bar = context.config.task.set_aside_below
    if result.warnings:
        return "set-aside", "; ".join(result.warnings)
    if bar is not None and metric.gain(bar, result.value) > 0:
        return (
            "set-aside",
            f"{result.value:.4f} is better than {bar}: too good to keep before a person has read the file",
        )
    if idea.mode == "replicate":
        return "replicate", f"trial {idea.parent} again with another seed: {result.value:.4f}"
    if decision is None:
        return "kept", f"the baseline: {metric.name} {result.value:.4f} [{result.low:.4f}, {result.high:.4f}]"
    return OUTCOMES[decision.kind], decision.reason


def _measure(
    history: History,
    number: int,
    against: int,
    compare_trials: Callable[[Sequence[int], Sequence[int]], Comparison],
) -> tuple[Decision, Trainings]:
    ours, theirs = history.replicates_of(number), history.replicates_of(against)
    simpler = history.trials[number].code_lines < history.trials[against].code_lines
    decision = decide_on(history, compare_trials(ours, theirs), simpler=simpler)
    return decision, Trainings(len(ours), len(theirs))


def _record(number: int, outcome: Outcome, reason: str, decision: Decision, trainings: Trainings) -> DecisionRecord:
    return DecisionRecord(
        trial=number,
        outcome=outcome,
        reason=reason,
        gain=decision.gain,
        gain_low=decision.low,
        gain_high=decision.high,
        z=decision.z,
        n_challenger=trainings.challenger,
        n_champion=trainings.champion,
    )


def _predictions(folder: RunFolder, history: History, numbers: Sequence[int]) -> list[Path]:
    """Return the stored predictions of scored trials.

    Raises:
        RunError: A file is not the one that was scored; no other trial is to be blamed for that.
    """
    paths = []
    for number in numbers:
        path = folder.trial(number) / "predictions.npy"
        recorded = history.trials[number].score
        try:
            found = hashlib.sha256(np.load(path, allow_pickle=False).tobytes()).hexdigest()
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"{path} cannot be read ({error}): restore it; nothing was recorded since") from error
        if recorded is not None and found != recorded.predictions_sha:
            raise RunError(
                f"{path} is not what was scored: restore it (`team verify {folder.name}` names what differs)"
            )
        paths.append(path)
    return paths
