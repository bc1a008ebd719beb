"""Metrics against scikit-learn, intervals against theory, and the keep rule against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from evaluation_locked import metrics
from evaluation_locked.keep_rule import FALSE_KEEP_RATE, KEEP_Z, decide
from evaluation_locked.metrics import METRICS
from evaluation_locked.noise import bootstrap_differences, interval, pooled_seed_noise

RNG = np.random.default_rng(0)


def test_metrics_agree_with_scikit_learn() -> None:
    labels, predictions = RNG.normal(size=500), RNG.normal(size=500)
    assert metrics.mae(labels, predictions) == pytest.approx(sk.mean_absolute_error(labels, predictions))
    assert metrics.rmse(labels, predictions) == pytest.approx(sk.root_mean_squared_error(labels, predictions))
    assert metrics.max_error(labels, predictions) == pytest.approx(sk.max_error(labels, predictions))
    classes, said = (labels > 0.3).astype(float), np.round(1 / (1 + np.exp(-predictions)), 1)  # with ties
    assert metrics.roc_auc(classes, said) == pytest.approx(sk.roc_auc_score(classes, said))
    assert metrics.f1(classes, said) == pytest.approx(sk.f1_score(classes, said > 0.5))


def test_better_has_a_direction() -> None:
    assert METRICS["mae"].gain(0.5, 0.4) == pytest.approx(0.1)
    assert METRICS["roc_auc"].gain(0.5, 0.4) == pytest.approx(-0.1)


@pytest.mark.parametrize(("n", "repeats"), [(257, 1), (12_000, 1), (600, 3)])
def test_resamples_drawn_many_at_a_time_are_those_drawn_one_by_one(n: int, repeats: int) -> None:
    labels, predictions = np.random.default_rng(1).normal(size=(2, n))
    errors, rng = np.abs(labels - predictions).reshape(repeats, -1), np.random.default_rng(0)
    singly = [errors[:, rng.integers(0, n // repeats, n // repeats, np.int32)].reshape(-1).mean() for _ in range(1000)]
    assert bootstrap_differences(METRICS["mae"], labels, [predictions], repeats=repeats).tolist() == singly


def test_the_bootstrap_error_of_an_mae_is_the_textbooks() -> None:
    labels = np.zeros(2000)
    predictions = RNG.exponential(size=2000)
    spread = interval(metrics.mae(labels, predictions), bootstrap_differences(METRICS["mae"], labels, [predictions]))
    assert spread.standard_error == pytest.approx(predictions.std() / np.sqrt(2000), rel=0.1)
    assert spread.low < spread.value < spread.high


@pytest.mark.parametrize("name", ["mae", "rmse"])
def test_a_paired_comparison_is_surer_than_two_scores(name: str) -> None:
    metric = METRICS[name]
    labels = np.zeros(1000)
    champion = RNG.exponential(size=1000)
    challenger = champion - 0.05
    alone = bootstrap_differences(metric, labels, [challenger]).std()
    paired = bootstrap_differences(metric, labels, [challenger], [champion])
    assert paired.std() < alone / 3
    assert paired.mean() == pytest.approx(
        metric.function(labels, champion) - metric.function(labels, challenger), abs=0.01
    )


def test_seed_noise_starts_at_the_prior_and_ends_at_what_was_measured() -> None:
    assert pooled_seed_noise([], 0.5) == pytest.approx(0.01)
    measured = [RNG.normal(0.5, 0.05, size=200).tolist()]
    assert pooled_seed_noise(measured, 0.5) == pytest.approx(0.05, rel=0.15)


@pytest.mark.parametrize(("sampling", "seed"), [(0.004, 0.006), (0.006, 0.002), (0.0, 0.01)])
def test_changes_that_do_nothing_are_kept_as_rarely_as_is_said(sampling: float, seed: float) -> None:
    kept, n = 0, 6000
    for _ in range(n):
        shared, champion = RNG.normal(0, sampling), RNG.normal(0, seed, size=2)
        challenger: list[float] = []
        kind = "near-miss"
        while kind == "near-miss":
            challenger.append(RNG.normal(0, seed))
            gain = shared + float(np.mean(challenger)) - champion.mean()
            kind = decide(gain, sampling, seed, len(challenger), 2).kind
        kept += kind == "keep"
    assert FALSE_KEEP_RATE - 0.015 < kept / n < FALSE_KEEP_RATE + 0.01


def test_decisions() -> None:
    assert decide(0.03, 0.004, 0.006, 1, 1).kind == "keep"
    assert decide(0.012, 0.004, 0.006, 1, 1).kind == "near-miss"
    assert decide(0.013, 0.004, 0.006, 3, 3).kind == "keep", "replicates shrink the noise"
    assert decide(0.006, 0.004, 0.006, 3, 1).kind == "discard", "replicates are used up"
    assert decide(-0.02, 0.004, 0.006, 1, 1).kind == "discard"
    assert decide(0.001, 0.004, 0.006, 1, 1, simpler=True).kind == "near-miss", "once more before it is believed"
    assert decide(0.001, 0.004, 0.006, 2, 1, simpler=True).kind == "keep", "at no difference the simpler file wins"
    assert decide(0.02, 0.004, 0.006, 1, 1, simpler=True).kind == "keep", "a simpler file that is better, all the more"
    assert decide(-0.001, 0.004, 0.006, 1, 1, simpler=True).kind == "discard"
    sure = decide(0.1, 0.0, 0.0, 1, 1)
    assert sure.kind == "keep" and np.isfinite(sure.z) and sure.z > KEEP_Z
