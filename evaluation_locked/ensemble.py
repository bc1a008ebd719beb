"""An ensemble of trials: how it is chosen on the search-validation rows, and what choosing it there is worth.

It owns the rule by which predictions are combined, the forward selection, and the honest gain: what an ensemble gains
on rows that did not choose it. The labels are opened by a process of its own (`main`), which never sees a trial.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evaluation_locked.own_metric import judge_metric
from evaluation_locked.own_process import answer, ask
from evaluation_locked.prepare import load_facts
from evaluation_locked.scorer import ScoringError
from evaluation_locked.seed_folder import METRIC_FILE, SeedError
from evaluation_locked.task import Strict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation_locked.metrics import Metric

Rule = Literal["mean", "median"]
_REFUSALS = (ScoringError, SeedError)
N_HALVINGS = 20
N_RESAMPLES = 1000
N_RESAMPLES_OF_RANKS = 200  # a metric that is no mean over rows is measured anew for each


class Gain(Strict):
    """How much better one prediction of rows is than another; positive is better.

    Attributes:
        value: In the unit of the metric.
        low: Lower end of the 95 % interval, by a bootstrap that draws formulas.
        high: Upper end.
    """

    value: float
    low: float
    high: float


class Order(Strict):
    """What is chosen from, and how.

    Attributes:
        locked: The locked folder of the run.
        predictions: Trial and file of every training that may become a member, the champion's own among them.
        champion: The trial that stands in the champion's place.
        crowding: [m, m] how alike the errors of two trainings are, 0 to 1, see `memory.crowding`.
        size: Most members, a repeated one counted as often as it is taken.
        rule: How predictions are combined.
        repeats: Whether a training may be taken again, which gives it more weight.
        penalty: What full crowding costs, as a share of the best single score's distance from perfect.
        rivals: What else the same budget buys: names, and the files whose predictions are combined by `rule`.
    """

    locked: str
    predictions: tuple[tuple[int, str], ...]
    champion: int
    crowding: tuple[tuple[float, ...], ...]
    size: int = 5
    rule: Rule = "mean"
    repeats: bool = False
    penalty: float = 0.02
    rivals: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Chosen(Strict):
    """An ensemble, and what it is worth.

    Attributes:
        members: Trials, in the order taken; one that was taken twice stands twice.
        score: Of the ensemble on all search-validation rows.
        champion_score: Of the champion's one training.
        path: Score after each member was taken.
        gain: Over the champion on the rows that chose the ensemble, flattered by that choice.
        honest: Over the champion on rows that did not: members are chosen on one half of the formulas and judged on
            the other, both ways, in `N_HALVINGS` halvings. The champion had been chosen on all rows, which favours it.
        fair: Over the best single training, which is chosen on the same half as the members: neither is favoured.
        rivals: What each rival scores, and the ensemble's gain over it on all rows and honestly.
        correlations: [k, k] Pearson correlation of the members' absolute errors.
        same_members: Mean share of the members that a choice on half of the rows has in common with the final one.
    """

    members: tuple[int, ...]
    score: float
    champion_score: float
    path: tuple[float, ...]
    gain: Gain
    honest: Gain
    fair: Gain
    rivals: tuple[tuple[str, float, Gain, Gain], ...]
    correlations: tuple[tuple[float, ...], ...]
    same_members: float


def combine(
    predictions: Sequence[np.ndarray] | np.ndarray, rule: Rule, weights: Sequence[int] | None = None
) -> np.ndarray:
    """Return the weighted mean or median of k predictions, each [n]; a weight is how often one counts."""
    table = np.repeat(np.asarray(predictions), 1 if weights is None else np.asarray(weights), axis=0)
    return np.asarray(np.median(table, axis=0) if rule == "median" else table.mean(axis=0))


def choose(order: Order) -> Chosen:
    """Choose an ensemble and measure it, in a process of its own.

    Raises:
        ScoringError: Predictions cannot be read, or do not fit the rows.
    """
    return Chosen.model_validate(ask("evaluation_locked.ensemble", order.model_dump(mode="json"), _REFUSALS))


def select(
    metric: Metric,
    labels: np.ndarray,
    table: np.ndarray,
    crowding: np.ndarray,
    order: Order,
) -> list[int]:
    """Return the rows of `table` that make the best ensemble, by forward selection (Caruana et al. 2004).

    The first is the best alone. Each further one is that which makes the combination best, a cost for crowding taken
    off: the mean crowding with the members so far, times `order.penalty`, times the distance of the best single score
    from perfect. Of the ensembles of every size up to `order.size`, that with the best score less all costs is
    returned: the second member may not pay for itself, and the third for both.

    Args:
        metric: What decides.
        labels: [n] labels.
        table: [m, n] predictions of each candidate.
        crowding: [m, m] how alike their errors are, 0 to 1.
        order: Size, rule, repeats and penalty.
    """
    perfect = 0.0 if metric.better == "lower" else 1.0
    alone = [metric.function(labels, row) for row in table]
    taken = [int(np.argmin(alone) if metric.better == "lower" else np.argmax(alone))]
    first = alone[taken[0]]
    cost, paid = order.penalty * abs(first - perfect), 0.0
    worth = [0.0]  # of each size: the gain over the best alone, less what was paid for crowding
    while len(taken) < order.size:
        options = [at for at in range(len(table)) if order.repeats or at not in taken]
        if not options:
            break
        values = [metric.function(labels, combine([*table[taken], table[at]], order.rule)) for at in options]
        costs = [cost * float(crowding[at, taken].mean()) for at in options]
        pick = int(np.argmax([metric.gain(first, v) - c for v, c in zip(values, costs, strict=True)]))
        taken.append(options[pick])
        paid += costs[pick]
        worth.append(metric.gain(first, values[pick]) - paid)
    return taken[: 1 + int(np.argmax(worth))]


def halve(groups: np.ndarray, seed: int) -> np.ndarray:
    """Return [n] bool, a random half of the groups; `groups` are [n] integers from 0, equal for one formula."""
    rng = np.random.RandomState(seed)
    n_groups = int(groups.max()) + 1
    first = np.zeros(n_groups, dtype=bool)
    first[rng.permutation(n_groups)[: n_groups // 2]] = True
    return first[groups]


def gain_on(
    metric: Metric, labels: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]], groups: np.ndarray
) -> Gain:
    """Return the mean gain of each pair's first prediction over its second, with an interval that draws formulas.

    Args:
        metric: What is measured.
        labels: [n] labels.
        pairs: For each halving what is judged and what it is measured against, both [n].
        groups: [n] integers from 0, equal for one formula.
    """
    rng = np.random.default_rng(0)
    n_groups = int(groups.max()) + 1
    if metric.errors is not None:
        sign = 1.0 if metric.better == "lower" else -1.0
        per_row = sign * np.mean(
            [metric.errors(labels, old) - metric.errors(labels, new) for new, old in pairs], axis=0
        )
        total, count = np.bincount(groups, per_row), np.bincount(groups)
        drawn = []
        for _ in range(N_RESAMPLES):
            times = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)
            drawn.append(float((times * total).sum() / (times * count).sum()))
        low, high = np.percentile(drawn, [2.5, 97.5])
        return Gain(value=float(per_row.mean()), low=float(low), high=float(high))

    def measured(rows: np.ndarray) -> float:
        return float(
            np.mean(
                [
                    metric.gain(metric.function(labels[rows], old[rows]), metric.function(labels[rows], new[rows]))
                    for new, old in pairs
                ]
            )
        )

    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(n_groups + 1))
    drawn = []
    for _ in range(N_RESAMPLES_OF_RANKS):
        picked = rng.integers(0, n_groups, n_groups)
        drawn.append(measured(np.concatenate([order[starts[g] : starts[g + 1]] for g in picked])))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Gain(value=measured(np.arange(len(labels))), low=float(low), high=float(high))


def measure(
    metric: Metric,
    labels: np.ndarray,
    groups: np.ndarray,
    table: np.ndarray,
    rivals: Sequence[tuple[str, np.ndarray]],
    order: Order,
) -> Chosen:
    """Choose an ensemble on all rows and say what it is worth; see `Chosen`.

    Args:
        metric: What decides.
        labels: [n] labels.
        groups: [n] integers from 0, equal for one formula.
        table: [m, n] predictions, in the order of `order.predictions`.
        rivals: Names and [n] predictions of what else the same budget buys.
        order: See `Order`.
    """
    crowding = np.array(order.crowding)
    trials = [trial for trial, _ in order.predictions]
    champion = table[trials.index(order.champion)]
    taken = select(metric, labels, table, crowding, order)
    ensemble = combine(table[taken], order.rule)
    halved, alone, alike = [], [], []
    for seed in range(N_HALVINGS):
        here, said, single = halve(groups, seed), np.empty(len(labels)), np.empty(len(labels))
        for chose in (here, ~here):
            some = select(metric, labels[chose], table[:, chose], crowding, order)
            said[~chose] = combine(table[some][:, ~chose], order.rule)
            single[~chose] = table[some[0], ~chose]
            alike.append(len({*some} & {*taken}) / len({*some} | {*taken}))
        halved.append(said)
        alone.append(single)

    def over(other: np.ndarray) -> tuple[Gain, Gain]:
        return (
            gain_on(metric, labels, [(ensemble, other)], groups),
            gain_on(metric, labels, [(said, other) for said in halved], groups),
        )

    errors = np.abs(table[list(dict.fromkeys(taken))] - labels)
    gain, honest = over(champion)
    return Chosen(
        members=tuple(trials[at] for at in taken),
        score=metric.function(labels, ensemble),
        champion_score=metric.function(labels, champion),
        path=tuple(metric.function(labels, combine(table[taken[:k]], order.rule)) for k in range(1, len(taken) + 1)),
        gain=gain,
        honest=honest,
        fair=gain_on(metric, labels, list(zip(halved, alone, strict=True)), groups),
        rivals=tuple((name, metric.function(labels, said), *over(said)) for name, said in rivals),
        correlations=tuple(tuple(float(v) for v in row) for row in np.atleast_2d(np.corrcoef(errors))),
        same_members=float(np.mean(alike)),
    )


def _step(asked: dict[str, Any]) -> dict[str, Any]:
    from evaluation_locked.crystals import Crystals

    order = Order.model_validate(asked)
    locked = Path(order.locked)
    facts = load_facts(locked)
    metric = judge_metric(facts.metric, facts.kind, facts.own_metric, locked / METRIC_FILE)
    labels = np.load(locked / "validation_labels.npy", allow_pickle=False)
    with np.load(locked / "validation.npz", allow_pickle=False) as file:
        groups = np.unique(Crystals.from_arrays(file).formula_keys(), return_inverse=True)[1]
    table = np.stack([_read(path, len(labels)) for _, path in order.predictions])
    rivals = [(name, combine([_read(path, len(labels)) for path in paths], order.rule)) for name, paths in order.rivals]
    return measure(metric, labels, groups, table, rivals, order).model_dump(mode="json")


def _read(path: str, n: int) -> np.ndarray:
    try:
        predictions = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ScoringError(f"{path} cannot be read: {error}") from error
    if predictions.shape != (n,) or not np.isfinite(predictions).all():
        raise ScoringError(f"{path} holds {predictions.shape}; {n} finite numbers are due")
    return np.asarray(predictions, dtype=np.float64)


def main() -> None:
    """Choose the ensemble that standard input orders."""
    answer(_step, _REFUSALS)


if __name__ == "__main__":
    main()
