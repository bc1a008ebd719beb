"""An ensemble of a run's trials: what it may be chosen from, and what else the same budget would have bought.

What lies below `ensemble/` of a run: a folder for each training of the champion that an equal budget is compared with,
trained and judged on the rows of the search like any trial, and not again once it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.ensemble import Chosen, Order, Rule, choose
from evaluation_locked.predictions import predictions_sha
from evaluation_locked.trial import TrialOrder, run_trial
from graph.errors import RunError
from graph.recipe import SEED_STEP, Member, Recipe, write_ensemble
from graph.run_folder import code_sha, last_words, write_atomically
from memory.behaviour_index import BehaviourIndex
from memory.crowding import behaviour_crowding

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from evaluation_locked.trial import Phase
    from graph.run_folder import RunConfig, RunFolder
    from memory.history import History

MAX_CANDIDATES = 50  # the best by score; choosing takes time with their number


@dataclass(frozen=True)
class Choice:
    """An ensemble of a run.

    Attributes:
        recipe: What was chosen.
        chosen: What it is worth.
        candidates: Trainings it was chosen from.
        train_seconds: Of each member; the ensemble costs this times its members.
        champion: Trial that it is measured against.
    """

    recipe: Recipe
    chosen: Chosen
    candidates: int
    train_seconds: float
    champion: int


def choose_ensemble(
    folder: RunFolder,
    config: RunConfig,
    history: History,
    *,
    size: int = 5,
    rule: Rule | None = None,
    repeats: bool = False,
    penalty: float | None = None,
    equal_budget: bool = False,
    on_phase: Callable[[str, Phase], None] = lambda what, phase: None,
    cancel: threading.Event | None = None,
) -> Choice:
    """Choose an ensemble on the search-validation rows, keep it as that of the run, and measure it.

    Args:
        folder: The run.
        config: Its configuration.
        history: Its history.
        size: Most members.
        rule: How predictions are combined; the median for an absolute error and the mean for others where None.
        repeats: Whether a training may be taken again, which gives it more weight.
        penalty: See `evaluation_locked.ensemble.Order`.
        equal_budget: Train what the same budget buys of the champion: as many seeds, and one training as long.
        on_phase: Called with what is trained and the phase that it enters.
        cancel: When set, a training is ended.

    Raises:
        RunError: There is nothing to choose from, or a training for comparison did not finish.
        ScoringError: Stored predictions cannot be read.
        TrialCancelled: `cancel` was set.
    """
    champion = history.champion
    numbers = _candidates(folder, history)
    if champion is None or champion.number not in numbers or len(numbers) < 2:
        raise RunError(
            f"run {folder.name} has {len(numbers)} trainings with a score; an ensemble wants two or more, the "
            "champion's among them"
        )
    order = Order(
        locked=str(folder.locked),
        predictions=tuple((n, str(_predictions(folder, history, n))) for n in numbers),
        champion=champion.number,
        crowding=_crowding(folder, numbers),
        size=size,
        rule=rule or ("median" if config.task.metric == "mae" else "mean"),
        repeats=repeats,
        rivals=_replicates(folder, history, champion.number),
    )
    if penalty is not None:
        order = order.model_copy(update={"penalty": penalty})
    chosen = choose(order)
    counted = {n: chosen.members.count(n) for n in dict.fromkeys(chosen.members)}
    members = tuple(Member(trial=n, code_sha=code_sha(folder.trial(n)), weight=w) for n, w in counted.items())
    recipe = Recipe(members=members, rule=order.rule)
    if equal_budget and len(members) > 1:
        rivals = _train_rivals(folder, config, champion.number, len(members), on_phase, cancel)
        chosen = choose(order.model_copy(update={"rivals": (*order.rivals, *rivals)}))
    write_ensemble(folder, recipe)
    return Choice(recipe, chosen, len(numbers), config.task.caps.train_seconds, champion.number)


def _candidates(folder: RunFolder, history: History) -> list[int]:
    """Return the trainings that finished and that nobody has reason to doubt, the champion's first, then by score."""
    scored = [
        (trial.score.value, number)
        for number, trial in history.trials.items()
        if trial.score is not None
        and not trial.score.warnings
        and history.outcome(number) != "set-aside"
        and (folder.trial(number) / "residuals.npy").exists()
    ]
    if not scored or history.champion is None or history.champion.score is None:
        return []
    lower = history.champion.score.better == "lower"
    best = [number for _, number in sorted(scored, key=lambda one: one[0] if lower else -one[0])]
    first = [n for n in best if n == history.champion.number]
    return [*first, *(n for n in best if n not in first)][:MAX_CANDIDATES]


def _predictions(folder: RunFolder, history: History, number: int) -> Path:
    path, score = folder.trial(number) / "predictions.npy", history.trials[number].score
    if score is not None and predictions_sha(path) != score.predictions_sha:
        raise RunError(f"{path} is not what was scored: restore it (`team verify {folder.name}` names what differs)")
    return path


def _crowding(folder: RunFolder, numbers: list[int]) -> tuple[tuple[float, ...], ...]:
    residuals = {n: np.load(folder.trial(n) / "residuals.npy", allow_pickle=False) for n in numbers}
    floor = BehaviourIndex(residuals.items()).floor
    value = np.eye(len(numbers))
    for i, one in enumerate(numbers):
        for j, other in enumerate(numbers[:i]):
            value[i, j] = value[j, i] = behaviour_crowding(residuals[one], {other: residuals[other]}, floor).value
    return tuple(tuple(float(v) for v in row) for row in value)


def _replicates(folder: RunFolder, history: History, champion: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    numbers = history.replicates_of(champion)
    if len(numbers) < 2:
        return ()
    paths = tuple(str(_predictions(folder, history, n)) for n in numbers)
    return ((f"the champion's {len(numbers)} trainings of this run, combined alike", paths),)


def _train_rivals(
    folder: RunFolder,
    config: RunConfig,
    champion: int,
    n_members: int,
    on_phase: Callable[[str, Phase], None],
    cancel: threading.Event | None,
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Train the champion as often as the ensemble has members, and once for as long as all of them together."""
    seconds = config.task.caps.train_seconds
    own = str(folder.trial(champion) / "predictions.npy")
    again = tuple(
        str(_train(folder, config, champion, seconds, SEED_STEP * at, on_phase, cancel)) for at in range(1, n_members)
    )
    long = str(_train(folder, config, champion, n_members * seconds, SEED_STEP, on_phase, cancel))
    return (
        (f"the champion trained {n_members} times, combined alike", (own, *again)),
        (f"the champion trained once for {n_members * seconds:g} s", (long,)),
    )


def _train(
    folder: RunFolder,
    config: RunConfig,
    number: int,
    train_seconds: float,
    seed: int,
    on_phase: Callable[[str, Phase], None],
    cancel: threading.Event | None,
) -> Path:
    source = folder.trial(number) / "train.py"
    name = f"{number:04d}-{code_sha(source.parent)[:8]}-{train_seconds:g}s-seed-{seed}"
    place = folder.path / "ensemble" / name
    if (place / "outcome.json").exists():
        return place / "predictions.npy"
    order = TrialOrder(
        train_py=source,
        locked=folder.locked,
        folder=place,
        caps=config.task.caps.model_copy(update={"train_seconds": train_seconds}),
        seed=seed,
        n_threads=config.n_threads,
        sandboxed=config.sandboxed,
        check_batches=config.task.check_batches,
    )
    outcome = run_trial(order, lambda phase: on_phase(name, phase), cancel)
    if outcome.status != "finished":
        said = last_words(place, 1)
        raise RunError(
            f"the champion did not finish {train_seconds:g} s of training for the comparison: {outcome.message}"
            f"{f'; it said {said[0]!r}' if said else ''} ({place / 'train.log'})"
        )
    write_atomically(place / "outcome.json", outcome.model_dump_json(indent=1) + "\n")
    return place / "predictions.npy"
