"""The indices give what the plain definitions give, whatever they hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import behaviour_index
from memory.behaviour_index import BehaviourIndex
from memory.code_index import CodeIndex, diff_features
from memory.crowding import behaviour_crowding, code_crowding
from memory.edits import EditError, apply_edits, unified_diff
from memory.row_table import RowTable
from memory.techniques import load_playbook

SEED = Path(__file__).parents[2] / "crystal_seed"


def plain_similarity(one: str, other: str) -> float:
    """Sum of minima over sum of maxima of two multisets, as it is written down."""
    a, b = diff_features(one), diff_features(other)
    most = sum((a | b).values())
    return sum((a & b).values()) / most if most else 0.0


def plain_crowding(diff: str, earlier: dict[int, str], n_nearest: int = 3) -> tuple[float, tuple[int, ...]]:
    near = sorted((-value, n) for n, other in earlier.items() if (value := plain_similarity(diff, other)))
    return (-near[0][0] if near else 0.0), tuple(n for _, n in near[:n_nearest])


def as_diff(removed: list[str], added: list[str]) -> str:
    body = [f"-{line}" for line in removed] + [f"+{line}" for line in added]
    return "\n".join(["--- a/train.py", "+++ b/train.py", "@@ -1,9 +1,9 @@", *body]) + "\n"


LINES = st.lists(st.sampled_from(["a = a + a", "a = 1", "a = 2", "b = f(a, a, a)", "    a = 1", "# note"]), max_size=5)
DIFFS = st.builds(as_diff, LINES, LINES)


@settings(max_examples=200, deadline=None)
@given(DIFFS, st.lists(DIFFS, max_size=8))
def test_the_code_index_gives_the_plain_definition(diff: str, earlier: list[str]) -> None:
    numbered = dict(enumerate(earlier))
    crowd = code_crowding(diff, CodeIndex(numbered.items()))
    value, nearest = plain_crowding(diff, numbered)
    assert crowd.value == pytest.approx(value, abs=1e-12)
    assert crowd.nearest == nearest


def test_the_code_index_gives_the_plain_definition_on_the_playbook() -> None:
    source = (SEED / "train.py").read_text()
    diffs: dict[int, str] = {}
    for number, technique in enumerate(load_playbook(SEED / "playbook")):
        try:
            diffs[number] = unified_diff(source, apply_edits(source, technique.edits_for(source)))
        except EditError:
            continue
    assert len(diffs) > 50
    index = CodeIndex()
    for number, diff in diffs.items():
        before = {n: other for n, other in diffs.items() if n < number}
        crowd = code_crowding(diff, index)
        assert (crowd.value, crowd.nearest) == (pytest.approx(plain_crowding(diff, before)[0]), crowd.nearest)
        assert crowd.nearest == plain_crowding(diff, before)[1]
        index.add(number, diff)
    assert Counter(diff_features(diffs[0])).total() > 0


def test_a_label_that_is_left_out_does_not_count() -> None:
    wide = as_diff(["WIDTH = 64"], ["WIDTH = 96"])
    index = CodeIndex([(4, wide), ("other/4", as_diff(["WIDTH = 64"], ["WIDTH = 80"])), (7, wide)])
    assert code_crowding(wide, index).nearest == (4, 7, "other/4")
    assert code_crowding(wide, index, exclude=(4, 7, 99)).nearest == ("other/4",)
    assert code_crowding(wide, index, exclude=(4, 7)).value == pytest.approx(7 / 9)
    assert code_crowding(as_diff([], ["# only a comment"]), index).nearest == ()


def plain_behaviour(residuals: np.ndarray, earlier: dict[int, np.ndarray]) -> float:
    def direction(values: np.ndarray) -> np.ndarray:
        return np.sign(values) * np.sqrt(np.abs(values))

    table = np.corrcoef([direction(v.astype(float)) for v in (residuals, *earlier.values())])
    between = table[1:, 1:][np.triu_indices(len(earlier), 1)]
    floor = max(0.0, between.min()) if len(earlier) >= 3 else 0.0
    return float(np.clip((table[0, 1:].max() - floor) / (1 - floor), 0, 1))


@pytest.mark.parametrize("n_earlier", [1, 2, 3, 12])
def test_the_behaviour_index_gives_the_plain_definition(n_earlier: int) -> None:
    rng = np.random.default_rng(n_earlier)
    hard = rng.exponential(size=700) * rng.choice([-1, 1], 700)
    trials = {n: (hard + rng.standard_normal(700)).astype(np.float32) for n in range(n_earlier)}
    new = (hard + rng.standard_normal(700)).astype(np.float32)
    index = BehaviourIndex(trials.items())
    assert behaviour_crowding(new, index).value == pytest.approx(plain_behaviour(new, trials), abs=3e-4)
    without = behaviour_crowding(new, index, exclude=tuple(range(1, n_earlier)))
    assert without.nearest in {(0,), ()}


def test_the_behaviour_index_forgets_the_oldest_where_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour_index, "MAX_BYTES", 4 * 4 * 200)
    rng = np.random.default_rng(5)
    trials = {n: rng.standard_normal(200).astype(np.float32) for n in range(10)}
    index = BehaviourIndex(trials.items())
    assert sorted(index.labels) == [6, 7, 8, 9]
    assert behaviour_crowding(trials[2], index).value < 0.3
    for number in (6, 9):
        again = behaviour_crowding(trials[number], index)
        assert again.value == pytest.approx(1, abs=1e-4)
        assert again.nearest[0] == number


def test_products_are_the_same_in_every_precision_and_after_growth() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1000, 33)).astype(np.float32)
    vector = rng.standard_normal(33).astype(np.float32)
    for dtype, tolerance in ((np.float32, 1e-4), (np.float16, 2e-2)):
        table = RowTable(33, dtype)
        assert [table.append(row) for row in rows] == list(range(1000))
        table.replace(17, np.zeros(33))
        expected = rows @ vector
        expected[17] = 0
        np.testing.assert_allclose(table.products(vector[None])[:, 0], expected, atol=tolerance)
    with pytest.raises(ValueError, match=r"\(32,\) among rows of 33"):
        table.append(rows[0, :32])
