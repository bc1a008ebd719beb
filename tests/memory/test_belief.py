"""What the belief says of changes: it follows the trials, shares along axes and lineages, and draws what it says."""

from __future__ import annotations

import numpy as np
import pytest

from memory import belief as beliefs
from memory.belief import Belief, Prior, log_score
from memory.history import History
from memory.records import TrialRecord
from tests.memory.builders import trial

PRIORS = {
    "good": Prior(0.0, 0.05, "A3"),
    "bad": Prior(0.0, 0.05, "A6"),
    "like-good": Prior(0.0, 0.05, "A3"),
    "unseen": Prior(0.01, 0.02, "A1"),
}


def believe(*records: TrialRecord, seed_noise: float = 0.01) -> Belief:
    return Belief(History(records), list(PRIORS), lambda key: PRIORS.get(key, Prior(0.0, 0.05, "-")), seed_noise)


def test_the_posterior_of_one_trial_is_the_textbooks() -> None:
    """One change, one trial: a normal mean with a normal prior, worked out by hand."""
    known = believe(trial(0, 0.5, "kept"), trial(1, 0.45, parent=0, techniques=("good",)), seed_noise=0.01)
    gain = np.log(0.5 / 0.45)
    prior = 0.05**2 + beliefs.AXIS_SPREAD**2
    # y1 - y0 = gain of the change + own of the child + two trainings' noise; the common base drops out as it is wide.
    expected = prior / (prior + beliefs.OWN_SPREAD**2 + 2 * 0.01**2) * gain
    assert known.gain(["good"])[0] == pytest.approx(expected, rel=0.01)
    assert known.gain(["unseen"]) == pytest.approx((0.01, np.hypot(0.02, beliefs.AXIS_SPREAD)), rel=1e-6)


def test_trials_that_make_two_changes_are_told_apart_by_a_third() -> None:
    known = believe(
        trial(0, 0.5, "kept"),
        trial(1, 0.45, parent=0, techniques=("good", "bad")),
        trial(2, 0.55, parent=0, techniques=("bad",)),
    )
    assert known.gain(["bad"])[0] < -0.05
    assert known.gain(["good"])[0] > 0.1
    together, spread = known.gain(["good", "bad"])
    assert together == pytest.approx(known.gain(["good"])[0] + known.gain(["bad"])[0])
    assert spread < np.hypot(known.gain(["good"])[1], known.gain(["bad"])[1]), "their sum was measured"


def test_an_axis_shares_what_its_changes_gained() -> None:
    known = believe(trial(0, 0.5, "kept"), trial(1, 0.45, parent=0, techniques=("good",)))
    assert known.gain(["like-good"])[0] > 0 > known.gain(["bad"])[0] - 1e-12


def test_a_file_is_worth_what_replicates_say_and_its_children_inherit_it() -> None:
    records = [
        trial(0, 0.5, "kept"),
        trial(1, 0.40, parent=0),  # an idea without a known technique
        trial(2, 0.40, "replicate", mode="replicate", parent=1, code_sha="code-1"),
        trial(3, 0.41, parent=1, techniques=("bad",)),
    ]
    known = believe(*records)
    better, uncertain = known.value(1, 0)
    assert 0.15 < better < np.log(0.5 / 0.40) and uncertain < 0.02
    assert known.value(2, 0) == known.value(1, 0), "replicates are one file"
    assert abs(known.gain(["bad"])[0]) < 0.02, "the child's score is its parent's merit"


def test_draws_have_the_mean_and_spread_that_are_told() -> None:
    known = believe(trial(0, 0.5, "kept"), trial(1, 0.45, parent=0, techniques=("good",)))
    rng = np.random.default_rng(0)
    draws = [known.draw(rng) for _ in range(4000)]
    for keys in (["good"], ["good", "like-good"], ["unseen"]):
        values = [sum(draw[key] for key in keys) for draw in draws]
        mean, spread = known.gain(keys)
        assert np.mean(values) == pytest.approx(mean, abs=4 * spread / np.sqrt(len(draws)))
        assert np.std(values) == pytest.approx(spread, rel=0.05)


def test_scores_are_read_by_their_distance_from_perfect() -> None:
    auc = trial(1)
    auc = auc.model_copy(update={"score": trial(1, 0.9).score.model_copy(update={"metric": "roc_auc"})})  # type: ignore[union-attr]
    assert log_score(auc) == pytest.approx(-np.log(0.1))
    assert log_score(trial(1, 0.5)) == pytest.approx(-np.log(0.5))
    assert log_score(trial(1)) is None


def test_a_long_history_is_cut_to_what_was_built_on_and_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beliefs, "MAX_FILES", 5)
    records = [trial(0, 0.5, "kept"), trial(1, 0.4, "kept", parent=0, techniques=("good",))]
    records += [trial(n, 0.5, parent=1) for n in range(2, 12)]
    known = believe(*records)
    assert known.value(1, 0)[0] > 0.1
    with pytest.raises(KeyError):
        known.value(2, 0)


def test_before_any_trial_the_prior_stands() -> None:
    assert believe().gain(["unseen"]) == pytest.approx((0.01, np.hypot(0.02, beliefs.AXIS_SPREAD)))


def test_a_champion_that_nobody_built_on_stays_however_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beliefs, "MAX_FILES", 3)
    old = [trial(0, 0.5, "kept"), trial(1, 0.4, "kept", parent=0), trial(2, 0.6, parent=0)]
    known = believe(*old, *(trial(n, 0.5, parent=0) for n in range(3, 9)))
    assert known.files[:2] == [0, 1] and 2 not in known.files
    assert known.value(1, 0)[0] > 0
