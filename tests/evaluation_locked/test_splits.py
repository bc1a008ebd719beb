import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation_locked.crystals import Crystals
from evaluation_locked.dataset import DataError, load_table
from evaluation_locked.sources.matbench_task import official_splits
from evaluation_locked.splits import even_sample, official_folds, random_split, search_split


def binary_crystals(kinds: list[int]) -> Crystals:
    """Return one crystal of formula Li + element `kind` for each kind; the same compound at twice the cell by turns."""
    repeats = np.arange(len(kinds)) % 2 + 1
    numbers = [np.repeat([3, 10 + kind], repeat) for kind, repeat in zip(kinds, repeats, strict=True)]
    n_atoms = 2 * repeats
    return Crystals.from_arrays(
        {
            "lattice_parameters": np.tile([4.0, 4.0, 4.0, 90.0, 90.0, 90.0], (len(kinds), 1)),
            "n_atoms": n_atoms,
            "atomic_numbers": np.concatenate(numbers),
            "frac_coords_e8": np.zeros((3, n_atoms.sum())),
            "space_group": np.zeros(len(kinds)),
        }
    )


def test_the_folds_of_a_regression_task_are_matbenchs_own() -> None:
    official = official_splits("matbench_mp_gap")
    for (train, test), (official_train, official_test) in zip(official_folds(106_113), official, strict=True):
        np.testing.assert_array_equal(train, official_train)
        np.testing.assert_array_equal(test, official_test)


@pytest.mark.skipif("TEAM_TEST_DATA" not in os.environ, reason="TEAM_TEST_DATA is not set")
def test_the_folds_of_a_classification_task_are_matbenchs_own() -> None:
    with np.load(Path(os.environ["TEAM_TEST_DATA"]) / "matbench_mp_gap.npz") as table:
        is_metal = table["gap_pbe"] == 0
    official = official_splits("matbench_mp_is_metal")
    ours = official_folds(len(is_metal), stratify_labels=is_metal)
    for (train, test), (official_train, official_test) in zip(ours, official, strict=True):
        np.testing.assert_array_equal(train, official_train)
        np.testing.assert_array_equal(test, official_test)


def test_folds_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(DataError, match="3 rows cannot be split into 5 folds"):
        official_folds(3)
    with pytest.raises(DataError, match=r"a class has 1 rows.*regression"):
        official_folds(10, stratify_labels=np.array([1] + [0] * 9))
    with pytest.raises(DataError, match="labels to stratify by for 10 rows"):
        official_folds(10, stratify_labels=np.zeros(9))


@settings(deadline=None)
@given(
    kinds=st.lists(st.integers(0, 12), min_size=2, max_size=80).filter(lambda kinds: len(set(kinds)) > 1),
    fraction=st.floats(0.02, 0.98),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_formula_is_on_both_sides_and_the_fraction_is_met_within_one_formula(
    kinds: list[int], fraction: float, seed: int
) -> None:
    crystals = binary_crystals(kinds)
    rows = np.arange(len(kinds))
    split = search_split(crystals, rows, validation_fraction=fraction, seed=seed)
    train, validation = (set(np.array(kinds)[side].tolist()) for side in (split.train_rows, split.validation_rows))
    assert train and validation and not train & validation
    np.testing.assert_array_equal(np.sort(np.concatenate([split.train_rows, split.validation_rows])), rows)
    largest = max(np.bincount(kinds))
    assert abs(len(split.validation_rows) - fraction * len(kinds)) < largest + 1


def test_the_grouped_split_depends_on_the_seed_and_on_nothing_else() -> None:
    crystals = binary_crystals([kind for kind in range(40) for _ in range(3)])
    rows = np.arange(10, 110)
    first = search_split(crystals, rows, validation_fraction=0.2, seed=7)
    shuffled = search_split(crystals, np.random.RandomState(1).permutation(rows), validation_fraction=0.2, seed=7)
    np.testing.assert_array_equal(first.validation_rows, np.sort(shuffled.validation_rows))
    other = search_split(crystals, rows, validation_fraction=0.2, seed=8)
    assert set(first.validation_rows.tolist()) != set(other.validation_rows.tolist())


def test_a_row_outside_the_given_ones_never_appears() -> None:
    crystals = binary_crystals(list(range(30)) * 2)
    rows = np.array([3, 33, 5, 8, 59])
    split = search_split(crystals, rows, validation_fraction=0.4, seed=0)
    assert sorted([*split.train_rows, *split.validation_rows]) == [3, 5, 8, 33, 59]
    assert (3 in split.train_rows) == (33 in split.train_rows)  # one compound, once in a doubled cell


def test_rows_of_a_single_formula_cannot_be_split_by_formula() -> None:
    with pytest.raises(DataError, match="4 rows have 1 reduced formulas"):
        search_split(binary_crystals([2, 2, 2, 2]), np.arange(4), validation_fraction=0.5, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 17.0, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="must lie between 0 and 1"):
        search_split(binary_crystals([1, 2, 3]), np.arange(3), validation_fraction=fraction, seed=0)
    with pytest.raises(DataError, match="must lie between 0 and 1"):
        random_split(np.arange(3), validation_fraction=fraction, seed=0)


@given(n=st.integers(2, 200), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_a_random_split_loses_no_row_and_meets_the_fraction(n: int, fraction: float, seed: int) -> None:
    rows = np.arange(n) * 3
    split = random_split(rows, validation_fraction=fraction, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([split.train_rows, split.validation_rows])), rows)
    assert len(split.train_rows) and len(split.validation_rows)
    assert abs(len(split.validation_rows) - fraction * n) <= 1


def test_one_row_cannot_be_split_at_random() -> None:
    with pytest.raises(DataError, match="1 rows cannot be split"):
        random_split(np.array([4]), validation_fraction=0.5, seed=0)


def test_an_even_sample_of_a_known_list() -> None:
    np.testing.assert_array_equal(even_sample(np.arange(11), 6), [0, 2, 4, 6, 8, 10])
    np.testing.assert_array_equal(even_sample([9, 4, 7], 2), [9, 7])  # over the given order, not the sorted one


@given(n=st.integers(0, 300), limit=st.integers(2, 320))
def test_an_even_sample_holds_both_ends_no_repeat_and_near_equal_gaps(n: int, limit: int) -> None:
    sample = even_sample(np.arange(n), limit)
    assert len(sample) == min(n, limit)
    if n:
        assert sample[0] == 0 and sample[-1] == n - 1
    gaps = np.diff(sample)
    assert (gaps > 0).all() and (len(gaps) == 0 or gaps.max() - gaps.min() <= 1)


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_a_sample_too_small_for_both_ends_is_refused(limit: int) -> None:
    with pytest.raises(DataError, match="ask for 2 or more"):
        even_sample(np.arange(5), limit)


@pytest.mark.skipif("TEAM_TEST_DATA" not in os.environ, reason="TEAM_TEST_DATA is not set")
def test_the_whole_table_splits_as_matbench_does_and_by_formula() -> None:
    dataset = load_table(Path(os.environ["TEAM_TEST_DATA"]) / "matbench_mp_gap.npz", "gap_pbe")
    dataset.check()
    crystals = dataset.crystals
    assert len(crystals) == 106_113
    assert crystals.space_group.min() >= 1 and crystals.space_group.max() <= 230
    folds = official_folds(len(crystals))
    assert [len(test) for _, test in folds] == [21_223, 21_223, 21_223, 21_222, 21_222]
    train_rows = folds[0][0]
    split = search_split(crystals, train_rows, validation_fraction=0.17, seed=0)
    keys = crystals.formula_keys()
    assert not set(keys[split.train_rows].tolist()) & set(keys[split.validation_rows].tolist())
    assert len(split.validation_rows) >= 10_000
    assert abs(len(split.validation_rows) - 0.17 * len(train_rows)) < 300  # the commonest formulas have some hundreds
    at_random = random_split(train_rows, validation_fraction=0.17, seed=0)
    assert len(set(keys[at_random.train_rows].tolist()) & set(keys[at_random.validation_rows].tolist())) > 1000
