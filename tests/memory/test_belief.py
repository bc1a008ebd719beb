"""What the belief says of changes: it follows the trials, shares along axes and lineages, and draws what it says."""

from __future__ import annotations

from typing import Any

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


def test_before_any_trial_the_prior_stands() -> None:
    assert believe().gain(["unseen"]) == pytest.approx((0.01, np.hypot(0.02, beliefs.AXIS_SPREAD)))


def in_one_piece(history: History, noise: float) -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the textbook's posterior: first trial, value and covariance by file, then mean and covariance of PRIORS.

    Rasmussen and Williams, equations 2.25 and 2.26, with the covariance of all files written out and inverted.
    """
    files: dict[str, list[int]] = {}
    for record in history.trials.values():
        if record.score is not None:
            files.setdefault(record.code_sha, []).append(record.number)
    groups, row = list(files.values()), {n: i for i, group in enumerate(files.values()) for n in group}
    keys = list(dict.fromkeys((*PRIORS, *(key for group in groups for key in history.changes_in(group[0])))))
    priors = [PRIORS.get(key, Prior(0.0, 0.05, "-")) for key in keys]
    axes = np.array([prior.axis for prior in priors])
    covariance = np.diag([prior.spread**2 for prior in priors])
    covariance = covariance + beliefs.AXIS_SPREAD**2 * ((axes[:, None] == axes) & (axes != "-"))
    mean = np.array([prior.mean for prior in priors])
    design, shared = np.zeros((len(groups), len(keys))), np.zeros((len(groups), len(groups)))
    for i, group in enumerate(groups):
        design[i, [keys.index(key) for key in history.changes_in(group[0])]] = 1
        shared[i, [i, *(row[n] for n in history.lineage(group[0]) if n in row)]] = 1
    y = np.array([np.mean([log_score(history.trials[n]) for n in group]) for group in groups])  # type: ignore[arg-type]
    of_files = design @ covariance @ design.T + beliefs.OWN_SPREAD**2 * shared @ shared.T + beliefs.BASE_SPREAD**2
    inverse = np.linalg.inv(of_files + np.diag([noise**2 / len(group) for group in groups]))
    expected = y[0] + design @ mean
    cross = design @ covariance
    n = len(PRIORS)
    return (
        [group[0] for group in groups],
        expected + of_files @ inverse @ (y - expected),
        of_files - of_files @ inverse @ of_files,
        (mean + cross.T @ inverse @ (y - expected))[:n],
        (covariance - cross.T @ inverse @ cross)[:n, :n],
    )


def random_history(n: int) -> list[TrialRecord]:
    """Return trials of all kinds: replicates, crashes, removals, unknown changes and knobs, on earlier ones."""
    rng = np.random.default_rng(5)
    records = [trial(0, 0.5, "kept")]
    for number in range(1, n):
        parent = int(rng.integers(max(0, number - 12), number))
        kind = rng.integers(8)
        fields: dict[str, Any] = {"parent": parent}
        if kind == 0 and records[parent].score is not None:
            fields |= {"mode": "replicate", "code_sha": records[parent].code_sha}
        elif kind == 1:
            fields |= {"removed": (str(rng.choice(list(PRIORS))),)}
        elif kind == 2:
            fields |= {"knobs": {"DEPTH": int(rng.integers(3))}}
        elif kind > 3:  # else an idea that nothing names
            fields |= {"techniques": tuple(rng.choice(list(PRIORS), rng.integers(1, 3), replace=False).tolist())}
        records.append(trial(number, None if rng.random() < 0.1 else float(rng.uniform(0.3, 0.6)), **fields))
    return records


def history_of_the_model(n: int) -> History:
    """Return trials whose scores are what the model says they are, each made on one of the best six so far."""
    rng, history = np.random.default_rng(3), History([trial(0, 0.5, "kept")])
    gains, own, seen = dict.fromkeys(PRIORS, 0.0), [0.0], [0.0]
    gains |= {"good": 0.05, "bad": -0.05}
    for number in range(1, n):
        parent = int(rng.choice(np.argsort(seen)[-6:]))
        some = {str(name) for name in rng.choice(list(PRIORS), rng.integers(1, 3), replace=False)}
        held = some & {*history.changes_in(parent)}
        fields: dict[str, Any] = {"techniques": tuple(some - held), "removed": tuple(held), "parent": parent}
        own.append(float(rng.normal(0, beliefs.OWN_SPREAD)))
        changes = history.changes_after(trial(number, **fields).idea)
        worth = sum(gains.get(key, 0.0) for key in changes) + sum(own[n] for n in [*history.lineage(parent), number])
        seen.append(worth + float(rng.normal(0, 0.03)))
        history.add(trial(number, float(0.5 * np.exp(-seen[-1])), **fields))
    return history


def test_what_is_summed_up_trial_by_trial_is_the_posterior_in_one_piece() -> None:
    """Trials come one by one, under a noise that changes; files are shared one by one as others build on them."""
    history = History()
    known = Belief(history, list(PRIORS), lambda key: PRIORS.get(key, Prior(0.0, 0.05, "-")), 0.5)
    for record in random_history(120):
        history.add(record)
        noise = 0.01 + 0.02 / (1 + record.number)
        known.update(noise)
    files, value, covariance, mean, of_changes = in_one_piece(history, noise)
    for key, expected, variance in zip(PRIORS, mean, np.diag(of_changes), strict=True):
        assert known.gain([key]) == pytest.approx((expected, np.sqrt(variance)), abs=1e-9)
    rng = np.random.default_rng(1)
    drawn = mean + np.linalg.cholesky(of_changes + 1e-9 * np.eye(len(mean))) @ rng.standard_normal(len(mean))
    assert list(known.draw(np.random.default_rng(1)).values()) == pytest.approx(drawn.tolist(), abs=1e-9)
    other = len(files) // 2
    rivals = {number: (behind, uncertain) for behind, uncertain, number in known.rivals(files[other])}
    assert set(rivals) == {*files} - {files[other]}
    for at, number in enumerate(files):
        variance = covariance[at, at] + covariance[other, other] - 2 * covariance[at, other]
        told = (value[at] - value[other], np.sqrt(max(variance, 0.0)))
        assert known.value(number, files[other]) == pytest.approx(told, abs=1e-7)
        assert rivals.get(number, told) == pytest.approx(told, abs=1e-7)


def test_a_belief_is_the_same_whether_it_reads_a_history_or_grew_with_it() -> None:
    history = History()
    grown = Belief(history, list(PRIORS), lambda key: PRIORS.get(key, Prior(0.0, 0.05, "-")), 0.02)
    for record in random_history(60):
        history.add(record)
        grown.update(0.02)
    read = Belief(history, list(PRIORS), lambda key: PRIORS.get(key, Prior(0.0, 0.05, "-")), 0.02)
    assert read.draw(np.random.default_rng(0)) == grown.draw(np.random.default_rng(0))


def test_of_a_long_history_what_is_old_is_taken_as_certain_and_the_best_files_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beliefs, "MAX_SHARED", 16)
    monkeypatch.setattr(beliefs, "MAX_RIVALS", 40)
    history = history_of_the_model(300)
    known = Belief(history, list(PRIORS), lambda key: PRIORS.get(key, Prior(0.0, 0.05, "-")), 0.03)
    files, value, _, mean, of_changes = in_one_piece(history, 0.03)
    for key, expected, variance in zip(PRIORS, mean, np.diag(of_changes), strict=True):
        told, uncertain = known.gain([key])
        assert told == pytest.approx(expected, abs=np.sqrt(variance))
        assert 0.4 * np.sqrt(variance) < uncertain < 1.01 * np.sqrt(variance)
    rivals = known.rivals(0)
    assert 20 <= len(rivals) <= 40
    best = max(rivals)[2]
    assert value[files.index(best)] >= np.sort(value)[-5]
    behind, uncertain = known.value(files[3], best)
    assert behind == pytest.approx(value[3] - value[files.index(best)], abs=3 * uncertain), "an old file is told of too"


def test_a_trial_without_a_score_has_no_value() -> None:
    known = believe(trial(0, 0.5, "kept"), trial(1, None, "crashed", parent=0))
    with pytest.raises(KeyError, match="trial 1 has no score"):
        known.value(1, 0)
