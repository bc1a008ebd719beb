"""Ensembles: what is taken, what crowding costs, and what an honest gain is honest about."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation_locked.ensemble import Order, combine, gain_on, measure, select
from evaluation_locked.metrics import METRICS

MAE = METRICS["mae"]
N = 600


def order(n_candidates: int, **changes: object) -> Order:
    ones = tuple((at, "") for at in range(n_candidates))
    flat = tuple(tuple(float(i == j) for j in range(n_candidates)) for i in range(n_candidates))
    settled = Order(locked="", predictions=ones, champion=0, crowding=flat, rule="mean")
    return settled.model_copy(update=changes)


def test_a_weight_counts_as_often_as_it_says() -> None:
    three = [np.array([0.0, 1.0]), np.array([3.0, 5.0]), np.array([9.0, 9.0])]
    assert combine(three, "mean", [2, 1, 1]).tolist() == [3.0, 4.0]
    assert combine(three, "median", [3, 1, 1]).tolist() == [0.0, 1.0]
    assert combine(three, "median").tolist() == [3.0, 5.0]


def test_what_errs_otherwise_is_taken_and_what_is_crowded_is_not() -> None:
    rng = np.random.default_rng(0)
    labels, noise = rng.normal(size=N), rng.normal(size=(3, N))
    table = labels + np.stack([noise[0], noise[0] + 0.01 * noise[2], 1.05 * noise[1]])
    asked = order(3)
    assert select(MAE, labels, table, np.array(asked.crowding), asked) == [0, 2]
    crowded = np.ones((3, 3))
    costly = order(3, penalty=0.5)
    assert select(MAE, labels, table, crowded, costly) == [0]
    again = order(3, repeats=True, size=3)
    assert select(MAE, labels, table, np.zeros((3, 3)), again)[:2] == [0, 2]


def test_a_third_member_may_pay_for_the_second() -> None:
    """The median of two is their mean, which one that is far off spoils; the median of three holds."""
    labels = np.zeros(N)
    third = np.arange(N) % 3
    table = np.stack([np.where(third == k, 10.0, 0.1) for k in range(3)])
    asked = order(3, rule="median", size=2)
    assert len(select(MAE, labels, table, np.array(asked.crowding), asked)) == 1
    assert len(select(MAE, labels, table, np.zeros((3, 3)), order(3, rule="median", size=3))) == 3


def test_an_interval_that_draws_formulas_is_as_wide_as_its_groups_make_it() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 10)
    shift = np.repeat(rng.normal(size=60), 10)
    labels = np.zeros(N)
    pairs = [(np.zeros(N), 1.0 + shift)]
    apart = gain_on(MAE, labels, pairs, np.arange(N))
    together = gain_on(MAE, labels, pairs, groups)
    assert together.value == apart.value == pytest.approx(np.abs(1.0 + shift).mean())
    assert together.high - together.low > 2.0 * (apart.high - apart.low)


def test_the_honest_gain_of_choosing_among_noise_is_nothing() -> None:
    """Forty candidates that err alike but for chance: choosing one flatters, and halving says so."""
    rng = np.random.default_rng(2)
    labels = rng.normal(size=N)
    champion = labels + rng.normal(size=N)
    flattery, honest = [], []
    for _ in range(10):
        table = np.stack([champion, *(labels + rng.normal(size=(40, N)))])
        found = measure(MAE, labels, np.arange(N), table, [], order(41, size=1))
        assert found.fair.value == 0.0  # of one member there is nothing to gain over the best alone
        flattery.append(found.gain.value - found.honest.value)
        honest.append(found.honest.value)
        assert found.honest.low < found.honest.value < found.honest.high
    fair = np.abs(champion - labels).mean() - np.sqrt(2 / np.pi)  # against a candidate taken at random
    assert np.mean(honest) == pytest.approx(fair, abs=0.02)
    assert np.mean(flattery) == pytest.approx(2.16 * np.sqrt((1 - 2 / np.pi) / N), rel=0.5)  # best of 40 of a normal


def test_the_honest_gain_of_members_that_err_apart_is_real() -> None:
    rng = np.random.default_rng(3)
    labels = rng.normal(size=N)
    table = labels + rng.normal(size=(5, N))
    found = measure(MAE, labels, np.arange(N), table, [("twice the first", table[0])], order(5))
    expected = np.sqrt(2 / np.pi) * (1 - 1 / np.sqrt(5))  # of the mean of five against one, independent errors
    assert found.honest.value == pytest.approx(expected, abs=0.06)
    assert found.honest.low > 0.2 and found.fair.value == pytest.approx(expected, abs=0.06)
    assert np.abs(np.array(found.correlations) - np.eye(5)).max() < 0.15
    name, value, gain, _ = found.rivals[0]
    assert (name, value) == ("twice the first", pytest.approx(found.champion_score))
    assert gain.value == pytest.approx(found.gain.value)


def test_a_metric_that_ranks_has_its_gains_too() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 200).astype(float)
    table = labels + rng.normal(size=(3, 200))
    found = measure(METRICS["roc_auc"], labels, np.arange(200), table, [], order(3))
    assert found.score > found.champion_score and found.gain.low < found.gain.value < found.gain.high
