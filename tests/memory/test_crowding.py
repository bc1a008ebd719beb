from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from memory.behaviour_index import BehaviourIndex
from memory.crowding import behaviour_crowding, code_crowding, code_fingerprint, text_crowding
from memory.edits import unified_diff

if TYPE_CHECKING:
    from collections.abc import Collection

SEED = '''"""Seed."""
WIDTH = 64
RATE = 1e-3


def loss(a, b):
    """L1."""
    return (a - b).abs().mean()
'''


@dataclass
class Hit:
    label: int
    similarity: float


class Fixed:
    """A memory whose similarities are known."""

    def __init__(self, **similarities: float) -> None:
        self.hits = [Hit(int(name[1:]), value) for name, value in similarities.items()]

    def similar(self, text: str, k: int, exclude: Collection[int] = ()) -> list[Hit]:
        return [hit for hit in self.hits if hit.label not in exclude][:k]


def change(before: str, after: str) -> str:
    assert before in SEED
    return unified_diff(SEED, SEED.replace(before, after))


def test_text_crowding_is_the_mean_over_those_that_exist() -> None:
    assert text_crowding("x", Fixed()).value == 0
    assert text_crowding("x", Fixed(_4=0.9)).value == pytest.approx(0.9)
    crowd = text_crowding("x", Fixed(_4=0.9, _2=0.6, _7=-0.3), k=3)
    assert crowd.value == pytest.approx(0.5)  # the negative one counts as 0, not as less
    assert crowd.nearest == (4, 2, 7)
    assert text_crowding("x", Fixed(_4=0.9, _2=0.6), k=1, exclude=(4,)).nearest == (2,)


def test_the_same_change_in_another_place_and_layout_is_a_duplicate() -> None:
    plain = change("WIDTH = 64", "WIDTH = 96")
    spaced = "--- a/train.py\n+++ b/train.py\n@@ -20,3 +20,3 @@\n other = 3\n-WIDTH=64\n+WIDTH  =  96   # wider\n"
    assert code_crowding(spaced, {3: plain}).value == pytest.approx(1)
    assert code_crowding(spaced, {3: plain}).nearest == (3,)


def test_another_value_of_the_same_knob_is_near_but_no_duplicate() -> None:
    # Per side: 3 trigrams and 1 number; the diffs share both trigram sets and the old number, 7 of 9 features.
    crowd = code_crowding(change("WIDTH = 64", "WIDTH = 96"), {1: change("WIDTH = 64", "WIDTH = 112")})
    assert crowd.value == pytest.approx(7 / 9)


def test_taking_a_change_back_is_not_the_change() -> None:
    forward = change("WIDTH = 64", "WIDTH = 96")
    back = unified_diff(SEED.replace("64", "96"), SEED)
    assert code_crowding(back, {1: forward}).value < 0.8
    assert code_crowding(back, {1: forward, 2: back}).nearest == (2, 1)


def test_unrelated_code_is_alone_and_the_nearest_is_named() -> None:
    wide = change("WIDTH = 64", "WIDTH = 96")
    huber = change("return (a - b).abs().mean()", "return torch.nn.functional.huber_loss(a, b)")
    rate = change("RATE = 1e-3", "RATE = 5e-4")
    assert code_crowding(huber, {1: wide}).value == 0
    assert code_crowding(huber, {1: wide}).nearest == ()
    assert code_crowding(rate, {1: wide, 2: huber, 3: rate, 5: rate}).nearest[:2] == (3, 5)


@pytest.mark.parametrize("after", ["WIDTH = 64  # as in CGCNN", "WIDTH = 64\n\n"])
def test_a_diff_without_code_is_alone(after: str) -> None:
    diff = change("WIDTH = 64", after)
    assert diff
    other = change("RATE = 1e-3", "RATE = 5e-4")
    assert code_crowding("", {1: other}).value == 0
    assert code_crowding(diff, {1: other}).value == 0


def test_a_hash_in_a_text_is_no_comment() -> None:
    one, other = change("WIDTH = 64", "WIDTH = '#1'"), change("WIDTH = 64", "WIDTH = '#2'")
    assert code_crowding(one, {1: other}).value < 1


def test_errors_of_a_duplicate_are_a_duplicate_and_of_strangers_are_not() -> None:
    rng = np.random.default_rng(0)
    hard = rng.standard_normal(4000)
    trials = {n: (hard + rng.standard_normal(4000)).astype(np.float32) for n in range(4)}
    stranger = (hard + rng.standard_normal(4000)).astype(np.float32)
    assert BehaviourIndex(trials.items()).floor == pytest.approx(0.5, abs=0.06)
    assert behaviour_crowding(stranger, trials).value < 0.1  # though every raw correlation is near 0.5
    again = behaviour_crowding(trials[2], trials)
    assert again.value == pytest.approx(1, abs=1e-5)
    assert again.nearest[0] == 2


def test_a_family_stays_crowded_as_it_grows() -> None:
    """To subtract the mean residual instead would make the 30th member of a family look alone."""
    rng = np.random.default_rng(1)
    hard, family = rng.standard_normal((2, 3000))

    def member() -> np.ndarray:
        return (hard + family + 0.3 * rng.standard_normal(3000)).astype(np.float32)

    strangers = {n: (hard + rng.standard_normal(3000)).astype(np.float32) for n in (100, 101)}
    small = behaviour_crowding(member(), {1: member(), **strangers})
    large = behaviour_crowding(member(), {**{n: member() for n in range(30)}, **strangers})
    assert small.nearest[0] == 1
    assert small.value > 0.75
    assert large.value == pytest.approx(small.value, abs=0.1)


def test_below_three_trials_nothing_is_subtracted() -> None:
    rng = np.random.default_rng(2)
    one, two, new = rng.standard_normal((3, 1000)).astype(np.float32) + 2 * rng.standard_normal(1000)
    assert BehaviourIndex({1: one, 2: two}.items()).floor == 0
    assert behaviour_crowding(new, {1: one, 2: two}).value > 0.5
    assert behaviour_crowding(new, {}).value == 0


def test_one_crystal_does_not_decide() -> None:
    rng = np.random.default_rng(3)
    one, two = rng.standard_normal((2, 1000)).astype(np.float32)
    one[7] = two[7] = 60  # a plain correlation would be 0.78
    assert np.corrcoef(one, two)[0, 1] > 0.7
    assert behaviour_crowding(one, {1: two}).value < 0.15


def test_constant_errors_correlate_with_nothing_and_others_are_refused() -> None:
    one = np.arange(5, dtype=np.float32)
    assert behaviour_crowding(np.full(5, 0.3, np.float32), {1: one}).value == 0
    with pytest.raises(ValueError, match=r"trial 5 are \(3,\); 5 finite"):
        behaviour_crowding(one, {4: one, 5: one[:3]})
    with pytest.raises(ValueError, match="the trial"):
        behaviour_crowding(np.full(5, np.nan), {4: one})


def test_a_fingerprint_is_blind_to_comments_and_layout_and_to_nothing_else() -> None:
    wide = SEED.replace("64", "96")
    assert code_fingerprint("# new\n" + wide.replace('"""L1."""', '"""Mean error."""')) == code_fingerprint(wide)
    assert code_fingerprint(SEED.replace("WIDTH = 64", "WIDTH   = (64)")) == code_fingerprint(SEED)
    assert code_fingerprint(SEED.replace("64", "97")) != code_fingerprint(wide)
    assert code_fingerprint("def (") == code_fingerprint("def (") != code_fingerprint("def  (")  # does not parse


@pytest.mark.skipif("TEAM_TEST_DATA" not in os.environ, reason="TEAM_TEST_DATA is not set")
def test_published_models_of_one_kind_crowd() -> None:
    folder = Path(os.environ["TEAM_TEST_DATA"])
    with np.load(folder / "matbench_mp_gap.npz") as table:
        gap_ev = table["gap_pbe"]
    with np.load(folder / "published_predictions.npz") as table:
        residuals = {at: (table[name] - gap_ev).astype(np.float32) for at, name in enumerate(table.files)}
        at = {name: number for number, name in enumerate(table.files)}
    floor = BehaviourIndex(residuals.items()).floor

    def between(one: str, other: str) -> float:
        return behaviour_crowding(residuals[at[one]], {at[other]: residuals[at[other]]}, floor).value

    graphs = ("coNGN", "DeeperGATGNN", "alignn")
    near = [between(a, b) for a in graphs for b in graphs if a < b]
    assert min(near) > between("cgcnnv2019", "CrabNet") + 0.15
    others = {number: values for number, values in residuals.items() if number != at["rf"]}
    assert behaviour_crowding(residuals[at["rf"]], others).nearest[0] == at["automatminer_expressv2020"]
