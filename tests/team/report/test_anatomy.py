"""Where the champion is wrong, on crystals few enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation_locked.crystals import Crystals
from memory.history import History
from memory.techniques import load_playbook
from team.report import anatomy
from team.report.ideas_map import lay_out, map_figure
from team.report.palette import heat_colour
from team.running import shipped_seed_folder
from tests.memory.builders import trial


def errors(labels: list[float], predictions: list[float], elements: list[list[int]] | None = None) -> anatomy.Errors:
    atoms = elements or [[11, 17]] * len(labels)
    crystals = Crystals(
        lattice_parameters=np.tile([5.0, 5.0, 5.0, 90.0, 90.0, 90.0], (len(labels), 1)),
        n_atoms=np.array([len(one) for one in atoms]),
        atomic_numbers=np.array([z for one in atoms for z in one], dtype=np.uint8),
        frac_coords_e8=np.zeros((3, sum(map(len, atoms))), dtype=np.int32),
        space_group=np.full(len(labels), 225, dtype=np.int16),
    )
    return anatomy.Errors(crystals, np.array(labels), np.array(predictions), None, 1)


def test_metals_are_told_from_non_metals() -> None:
    found = anatomy.confusion(errors([0, 0, 0, 2, 3], [0.0, 0.05, 0.4, 0.0, 3.1]), "eV")
    assert found is not None
    assert found["rows"] == [["metal", 2, 1], ["non-metal", 1, 1]]
    assert found["share_of_error"] == pytest.approx((0.4 + 2) / (0.05 + 0.4 + 2 + 0.1), abs=1e-3)


def test_a_target_without_a_class_at_zero_has_no_confusion() -> None:
    assert anatomy.confusion(errors([-1.0, 0.0, 2.0, 3.0], [0.0] * 4), "eV/atom") is None


def test_ranges_hold_every_crystal_once() -> None:
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(400) < 0.4, 0.0, rng.gamma(2.0, 1.1, 400))
    names, masks = anatomy.label_ranges(errors(list(labels), list(labels)))
    assert names[0].startswith("metal") and masks[0].sum() == (labels == 0).sum()
    assert (np.sum(masks, axis=0) == 1).all()
    assert len(names) == 6


def test_the_worst_crystals_come_first() -> None:
    worst = anatomy.worst_crystals(errors([1.0, 1.0, 0.0], [1.5, 4.0, 0.1]))
    assert [one["champion"] for one in worst] == [4.0, 1.5, 0.1]
    assert worst[0]["formula"] == "NaCl"


def test_an_element_has_the_mean_error_of_the_crystals_that_hold_it() -> None:
    elements = [[11, 17], [11, 17], [11, 35], [3, 9]]
    figure = anatomy.element_figure(errors([1, 1, 1, 1], [2, 3, 1, 9], elements), "eV")
    shown = {text.split("<br>")[0]: text.split("<br>")[1] for text in figure["data"][1]["text"]}
    assert shown == {"<b>Na</b>": "1.00"}  # chlorine, bromine and the others are in fewer than three
    assert figure["data"][0]["z"][2][0] == 1.0


def test_every_element_has_a_place_of_its_own() -> None:
    places = {z: anatomy.table_place(z) for z in range(1, 119)}
    assert len(set(places.values())) == 118
    known = {
        1: (0, 0),
        2: (0, 17),
        5: (1, 12),
        26: (3, 7),
        56: (5, 1),
        57: (7, 2),
        71: (7, 16),
        72: (5, 3),
        118: (6, 17),
    }
    assert {z: places[z] for z in known} == known


def test_magnitudes_run_from_the_first_colour_to_the_last() -> None:
    assert [heat_colour(share) for share in (0.0, 0.5, 1.0, 7.0)] == ["#dfeaf4", "#7fa9d1", "#27507c", "#27507c"]


def test_the_map_shows_what_nobody_tried_and_stays_as_it_is() -> None:
    playbook = load_playbook(shipped_seed_folder() / "playbook")
    film = next(t for t in playbook if t.id == "film")
    said = {"title": film.title, "techniques": ("film",), "hypothesis": f"{film.description} {film.expect}"}
    entries = [trial(0, 0.9, "kept"), trial(1, 0.8, "kept", parent=0, **said)]
    first = lay_out(History(entries), playbook)
    assert first is not None and first.trials == (1,)
    at = [t.id for t in playbook].index("film")
    nearest = int(np.argmin(np.linalg.norm(first.technique_places - first.places[0], axis=1)))
    assert nearest == at
    hollow = map_figure(first, History(entries), playbook)["data"][0]
    assert len(hollow["x"]) == len(playbook) - 1
    again = lay_out(History([*entries, trial(2, 0.85, parent=1, **said)]), playbook)
    assert again is not None
    np.testing.assert_array_equal(again.technique_places, first.technique_places)
    assert first.faithfulness > 0.75  # chance is near 0.5, a linear projection reaches 0.72
