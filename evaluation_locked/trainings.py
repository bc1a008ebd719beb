"""The trainings of one trial: one, or under cross-validation one for each part of each cut, one after the other.

Each is a process of its own, given the rows of the other parts, and asked for those of its own part: no process ever
holds a label that judges it, and none leaves anything to the next. They share the trial's caps: the training budget in
equal parts, the time to featurise and to predict as one sum. Their predictions together are the trial's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.prepare import load_facts, load_trial_input
from evaluation_locked.trial import TrialOutcome
from evaluation_locked.whole_file import save_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evaluation_locked.prepare import TrialInput
    from evaluation_locked.trial import TrialOrder

LEAST_SECONDS = 0.1


def run_trainings(
    order: TrialOrder, train: Callable[[TrialOrder, TrialInput], tuple[TrialOutcome, np.ndarray | None]]
) -> TrialOutcome:
    """Run every training of a trial, store their predictions where all finished, and return what became of them.

    Args:
        order: The trial's; a smoke trial is one training.
        train: Runs one training, given its share of the caps and its rows.

    Raises:
        OSError: Disk or machine failed; the trial is not to blame.
    """
    if order.smoke or (n_trainings := load_facts(order.locked).n_trainings) == 1:
        outcome, answered = train(order, load_trial_input(order.locked, smoke=order.smoke))
        if answered is not None:
            save_array(order.folder / "predictions.npy", answered)
        return outcome
    outcomes: list[TrialOutcome] = []
    predictions = np.zeros(0)
    for number in range(n_trainings):
        given = load_trial_input(order.locked, smoke=False, training=number)
        if not number:
            predictions = np.full(given.n_judged, np.nan)
        outcome, answered = train(_share(order, number, n_trainings, outcomes), given)
        outcomes.append(outcome)
        if answered is None:
            message = f"training {number + 1} of {n_trainings}: {outcome.message}"
            return _together(outcomes).model_copy(update={"message": message})
        predictions[given.judged] = answered
    save_array(order.folder / "predictions.npy", predictions)
    return _together(outcomes)


def _share(order: TrialOrder, number: int, n_trainings: int, before: Sequence[TrialOutcome]) -> TrialOrder:
    """Return the order of one training: its share of the budget, what is left of the other caps, a seed of its own."""
    caps = order.caps
    left = {
        "train_seconds": caps.train_seconds / n_trainings,
        "featurise_seconds": caps.featurise_seconds - sum(one.featurise_seconds for one in before),
        "predict_seconds": caps.predict_seconds - sum(one.predict_seconds for one in before),
    }
    caps = caps.model_copy(update={name: max(LEAST_SECONDS, seconds) for name, seconds in left.items()})
    seed = int(np.random.SeedSequence([order.seed, number]).generate_state(1)[0]) if number else order.seed
    return order.model_copy(update={"caps": caps, "seed": seed})


def _together(outcomes: Sequence[TrialOutcome]) -> TrialOutcome:
    """Return the outcome of all: the last one's words, seconds added up, the layers that held every one."""
    last = outcomes[-1]
    return TrialOutcome(
        status=last.status,
        message=last.message,
        featurise_seconds=round(sum(one.featurise_seconds for one in outcomes), 3),
        train_seconds=round(sum(one.train_seconds for one in outcomes), 3),
        predict_seconds=round(sum(one.predict_seconds for one in outcomes), 3),
        peak_memory_gib=max(one.peak_memory_gib for one in outcomes),
        layers=tuple(layer for layer in last.layers if all(layer in one.layers for one in outcomes)),
    )
