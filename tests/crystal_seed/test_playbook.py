"""The playbook against the seed: every technique applies, alone and beside every other that it does not exclude."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.warden import BATCH_TOLERANCE
from memory.edits import EditError, apply_edits, knobs, normalised
from memory.records import AXES
from memory.techniques import Technique, load_playbook
from tests.crystal_seed.judge import SEED_FOLDER, play

if TYPE_CHECKING:
    from evaluation_locked.dataset import Dataset

PLAYBOOK = load_playbook(SEED_FOLDER / "playbook")
BY_ID = {technique.id: technique for technique in PLAYBOOK}
# Those that touch the most places, or a place of their own.
SAMPLED = ("element-pair-edges", "film", "edge-update", "hurdle-head", "angular-profile", "lion", "deep-supervision")


def applied(source: str, *techniques: Technique) -> str:
    for technique in techniques:
        source = apply_edits(source, technique.edits_for(source))
    return source


def trains(source: str, few: Dataset, kind: str = "regression") -> bool:
    """Whether a few batches of two thirds of the crystals give finite predictions of the rest, each by its own crystal.

    The judge allows a prediction that comes again in other company to move by 2 % of the predictions' spread.
    """
    train, rest = few.select(np.arange(40)), few.select(np.arange(40, 64))
    labels = train.target if kind == "regression" else (train.target == 0).astype(float)
    played = play(source, train.crystals, labels, rest.crystals, kind=kind)
    allowed = BATCH_TOLERANCE * float(played.predictions.std()) + 1e-6 * float(np.abs(played.predictions).max())
    assert played.moved <= allowed, (
        f"a prediction moved by {played.moved:.2g} in other company; {allowed:.2g} is allowed"
    )
    return bool(np.isfinite(played.predictions).all())


def test_the_playbook_covers_the_axes() -> None:
    structural = Counter(t.axis for t in PLAYBOOK if t.knob is None)
    assert sum(structural.values()) >= 16
    assert set(Counter(t.axis for t in PLAYBOOK)) == set(AXES)
    assert sum(t.knob is not None for t in PLAYBOOK) >= 8


@pytest.mark.parametrize("technique", PLAYBOOK, ids=BY_ID.keys())
def test_every_technique_changes_the_seed(seed_source: str, technique: Technique) -> None:
    assert not technique.stands_in(seed_source)
    for value in technique.knob.values if technique.knob else (None,):
        edited = apply_edits(seed_source, technique.edits_for(seed_source, value))
        assert normalised(edited) != normalised(seed_source)
        assert technique.stands_in(edited)


def test_every_pair_applies_in_both_orders_or_declares_a_conflict(seed_source: str) -> None:
    structural = [technique for technique in PLAYBOOK if technique.knob is None]
    alone = {technique.id: applied(seed_source, technique) for technique in structural}
    failed = []
    for first, second in itertools.permutations(structural, 2):
        if second.id not in first.conflicts:
            try:
                apply_edits(alone[first.id], second.edits_for(alone[first.id]))
            except EditError as error:
                failed.append(f"{first.id} then {second.id}: {error}")
    assert not failed, "\n".join(failed)


def test_conflicts_are_few_and_symmetric() -> None:
    pairs = {(t.id, other) for t in PLAYBOOK for other in t.conflicts}
    assert all((b, a) in pairs for a, b in pairs)
    assert len(pairs) < 0.02 * len(PLAYBOOK) ** 2


def test_knob_values_differ_from_the_seed(seed_source: str) -> None:
    held = knobs(seed_source)
    for technique in PLAYBOOK:
        if technique.knob:
            assert held[technique.knob.name] not in technique.knob.values
            assert all(type(value) is type(held[technique.knob.name]) for value in technique.knob.values)


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_techniques_train(seed_source: str, few: Dataset, name: str) -> None:
    assert trains(applied(seed_source, BY_ID[name]), few)


def test_many_techniques_train_together(seed_source: str, few: Dataset) -> None:
    """All that exclude no other, at once: the extension points carry more than pairs."""
    crowd = [t for t in PLAYBOOK if t.knob is None and not t.conflicts]
    assert len(crowd) > 25
    together = applied(seed_source, *crowd)
    assert trains(together, few)
    assert applied(together, *[t for t in PLAYBOOK if t.knob]) != together  # and every knob can still be turned


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("technique", PLAYBOOK, ids=BY_ID.keys())
def test_every_technique_trains(seed_source: str, few: Dataset, technique: Technique, kind: str) -> None:
    assert trains(applied(seed_source, technique), few, kind)


@pytest.mark.slow
def test_random_triples_train(seed_source: str, few: Dataset) -> None:
    random = np.random.default_rng(11)
    for _ in range(40):
        chosen: list[Technique] = []
        for i in random.permutation(len(PLAYBOOK)):
            if len(chosen) < 3 and not any(PLAYBOOK[i].id in other.conflicts for other in chosen):
                chosen.append(PLAYBOOK[i])
        assert trains(applied(seed_source, *chosen), few), [t.id for t in chosen]


@pytest.mark.slow
@pytest.mark.parametrize("first", PLAYBOOK, ids=BY_ID.keys())
def test_every_allowed_pair_trains(seed_source: str, few: Dataset, first: Technique) -> None:
    alone = applied(seed_source, first)
    for second in PLAYBOOK[PLAYBOOK.index(first) + 1 :]:
        if second.id not in first.conflicts:
            assert trains(applied(alone, second), few), second.id
