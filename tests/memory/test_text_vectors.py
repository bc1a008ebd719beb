"""The nearest texts are found exactly, whatever is passed over on the way."""

from __future__ import annotations

import numpy as np
import pytest

from memory import text_vectors
from memory.text_vectors import TextVectors, unit


@pytest.mark.parametrize("rank", [6, 48])  # what few axes hold, and what they do not
def test_the_nearest_are_those_that_a_full_comparison_finds(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setattr(text_vectors, "_FIRST_AXES", 300)
    monkeypatch.setattr(text_vectors, "_N_AXES", 8)
    monkeypatch.setattr(text_vectors, "_LOOKED_AT", 12)
    rng = np.random.default_rng(0)
    made_of = rng.standard_normal((rank, 48))
    held: dict[tuple[str, int], np.ndarray] = {}
    known = TextVectors()

    def hold(number: int, vector: np.ndarray) -> None:
        known.keep(("", number), vector)
        held["", number] = unit(vector)

    for number in range(1500):
        hold(number, rng.standard_normal(rank) @ made_of + 0.01 * rng.standard_normal(48))
        if number == 700:  # some go, some are said anew
            for gone in range(0, 40, 2):
                known.drop(("", gone))
                del held["", gone]
            for again in range(1, 40, 2):
                hold(again, rng.standard_normal(48))
        if number > 290 and number % 50 == 0:
            hold(number - 1, held["", number])  # a duplicate
            asked = held["", number] + 0.05 * rng.standard_normal(48)
            cosines = {key: float(vector @ unit(asked)) for key, vector in held.items() if key != ("", number)}
            wanted = sorted(cosines.items(), key=lambda hit: (-round(hit[1], 6), hit[0]))[:5]
            found = known.nearest(asked, 5, [("", number), ("", 0)])
            assert [key for key, _ in found] == [key for key, _ in wanted]
            assert [value for _, value in found] == pytest.approx([value for _, value in wanted], abs=1e-5)
    assert len(known) == len(held)


def test_no_more_are_named_than_are_held_and_not_left_out() -> None:
    known = TextVectors()
    assert known.nearest(np.ones(3), 2) == []
    known.keep(("", 1), np.array([1.0, 0.0, 0.0]))
    known.keep(("", 2), np.array([0.0, 2.0, 0.0]))
    assert known.nearest(np.array([0.0, 1.0, 0.0]), 5, [("", 1)]) == [(("", 2), 1.0)]
