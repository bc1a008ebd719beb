"""What is read from a description, and which two descriptions are one change."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.changes import are_same, read_changes


@pytest.mark.parametrize(
    ("text", "what", "where", "value"),
    [
        ("hidden dim 64 -> 96", {"~width"}, set(), 96.0),
        ("LR = 3e-4", {"~learning-rate"}, set(), 3e-4),
        ("rbf width /= 4", {"~rbf-width"}, set(), 0.25),
        ("BN momentum 0.1 -> 0.05", {"momentum"}, {"~batch-norm"}, 0.05),
        ("Width of the head = 128", {"~width"}, {"head"}, 128.0),
        ("Dropout in the head: HEAD_DROPOUT 0 to 0.1", {"~dropout"}, {"head"}, 0.1),
        ("DROPOUT_2 0.1 to 0.2", {"~dropout"}, {"2"}, 0.2),
        ("two edge updates", {"~edge-update"}, set(), 2.0),
        ("deeper head, 2 hidden layers", {"head"}, set(), 3.0),
        ("ReLU -> GELU activation", {"~gelu", "~activation"}, set(), None),
        ("replace batch norm with layer norm in CGConv", {"~layer-norm"}, {"~conv"}, None),
        ("DropEdge: one edge in ten is dropped", {"~drop-edge"}, set(), None),
    ],
)
def test_a_description_is_read(text: str, what: set[str], where: set[str], value: float | None) -> None:
    (change,) = read_changes(text)
    assert (change.what, change.where, change.value) == (what, where, value)


def test_several_knobs_and_clauses_are_several_changes() -> None:
    width, depth = read_changes("dim=144 n_layers=3")
    assert (width.what, width.value, depth.what, depth.value) == ({"~width"}, 144.0, {"~depth"}, 3.0)
    assert [change.value for change in read_changes("batch 128 + lr 2e-3")] == [128.0, 2e-3]


def test_taking_out_and_setting_to_nothing_are_the_same() -> None:
    for text in ("head dropout 0.1 -> 0", "remove head dropout", "without dropout in the head"):
        (change,) = read_changes(text)
        assert change.removed and change.what == {"~dropout"} and change.where == {"head"}
    (kept,) = read_changes("clamp predictions at 0")
    assert not kept.removed, "a bound of zero takes nothing out"


@pytest.mark.parametrize(
    "text",
    [
        "width 64 -> 96 (20k steps, 0.4M params)",
        "width 64 -> 96 (no improvement)",
        "width 64 -> 96 sub-margin -0.0004",
        "width 64 -> 96 NaN",
        "width 64 -> 96 (too slow)",
    ],
)
def test_what_a_description_says_of_its_result_is_not_read(text: str) -> None:
    assert read_changes(text) == read_changes("width 64 -> 96")


def test_a_text_without_words_proposes_nothing() -> None:
    assert read_changes("") == () == read_changes("(0.3) 12")


def test_constants_that_are_numbered_are_different_ones() -> None:
    first, second = read_changes("KNOB_9 1.0 to 1.5"), read_changes("Constant number 18: KNOB_18 1.0 to 1.5")
    assert not are_same(first, second) and are_same(first, read_changes("KNOB_9 = 1.5"))


def test_a_bundle_is_the_same_only_where_each_part_has_a_partner() -> None:
    both = read_changes("LayerNorm + virtual node")
    assert are_same(both, read_changes("global node with layer norm"))
    assert not are_same(both, read_changes("LayerNorm"))
    assert not are_same(both, read_changes("LayerNorm + layer norm"))
    assert not are_same((), ())


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abkx XYZ 0123456789.->=+()/*:;,_e% to in of no", max_size=80))
def test_whatever_is_written_is_the_same_as_itself(text: str) -> None:
    changes = read_changes(text)
    assert not changes or are_same(changes, changes)
