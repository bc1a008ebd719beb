"""The starting points: the published sizes, the same protocol, and the playbook's edits."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from evaluation_locked.crystals import Crystals, wrap_frac_coords
from evaluation_locked.warden import BATCH_TOLERANCE
from memory.edits import EditError, apply_edits, knobs, normalised, set_knob
from memory.starts import load_techniques
from memory.techniques import Technique, load_playbook
from tests.crystal_seed.judge import SEED_FOLDER, play

if TYPE_CHECKING:
    from evaluation_locked.dataset import Dataset

STARTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((SEED_FOLDER / "starts").glob("*.py"))}
PLAYBOOK = load_playbook(SEED_FOLDER / "playbook")
CONFLICTS = {technique.id: technique.conflicts for technique in load_techniques(SEED_FOLDER) if technique.start}
LEAST_EDITS = 15

# What the papers state or their code counts; in place of ALIGNN's embedding of 92 bits (a linear layer and a batch
# norm, 24,320) stands one of 119 elements and a linear layer of 16 properties here.
COGN = {"NEIGHBOURS": 24, "WIDTH": 128, "BLOCKS": 5, "MESSAGE_LAYERS": 5}
ALIGNN = {"WIDTH": 256, "EMBED_WIDTH": 64, "RBF_COUNT": 80, "ANGLE_COUNT": 40, "ANGLE_BLOCKS": 4, "BLOCKS": 4}
PUBLISHED = {
    "cgcnn": ({}, 80_833),
    "cogn": (COGN, 697_601),
    "alignn": (ALIGNN, 4_026_753 - 24_320 + 119 * 256 + 17 * 256),
}


def module(source: str) -> types.ModuleType:
    made = types.ModuleType("start")
    exec(compile(source, "train.py", "exec"), made.__dict__)
    return made


def built(source: str, crystals: Crystals) -> tuple[torch.nn.Module, object]:
    """A network that has seen a batch, ready to predict, and the graphs."""
    start = module(source)
    graphs = start.Graphs(crystals, 1, torch.device("cpu"))
    model = start.Network().eval()
    with torch.no_grad():
        model(graphs.batch(torch.arange(2)))
    return model, graphs


def taken(name: str, technique: Technique) -> list[str]:
    """A start's file after a technique, for each value of a knob; empty where it has no room for it."""
    source, made = STARTS[name], []
    if technique.id in CONFLICTS[name]:
        return []
    for value in technique.knob.values if technique.knob else (None,):
        edited = apply_edits(source, technique.edits_for(source, value))  # what is no conflict applies
        if normalised(edited) != normalised(source):
            made.append(edited)
    return made


def trains(source: str, few: Dataset, kind: str = "regression") -> bool:
    """Whether a few batches give finite predictions of others, each by its own crystal."""
    train, rest = few.select(np.arange(40)), few.select(np.arange(40, 64))
    labels = train.target if kind == "regression" else (train.target == 0).astype(float)
    played = play(source, train.crystals, labels, rest.crystals, kind=kind)
    allowed = BATCH_TOLERANCE * float(played.predictions.std()) + 1e-6 * float(np.abs(played.predictions).max())
    return bool(np.isfinite(played.predictions).all()) and played.moved <= allowed


def test_there_are_five() -> None:
    assert set(STARTS) == {"alignn", "cgcnn", "cogn", "matformer", "megnet"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_settings_have_the_published_number_of_parameters(name: str, few: Dataset) -> None:
    settings, published = PUBLISHED[name]
    source = STARTS[name]
    for knob, value in settings.items():
        source = apply_edits(source, [set_knob(source, knob, value)])
    model, _ = built(source, few.crystals)
    assert sum(weight.numel() for weight in model.parameters()) == published


@pytest.mark.parametrize("name", STARTS)
def test_it_learns_what_it_has_seen(name: str, few: Dataset) -> None:
    """In steps and not in seconds: 60 of them on 32 crystals leave less than half of the best constant's error."""
    torch.manual_seed(1)
    model, graphs = built(STARTS[name], few.crystals)
    rows, target = torch.arange(32), torch.from_numpy(few.target[:32]).float()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(60):
        loss = (model(graphs.batch(rows)) - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.5 * (target - target.median()).abs().mean().item()


@pytest.mark.parametrize("name", STARTS)
def test_it_classifies_and_survives_tiny_trials(name: str, few: Dataset) -> None:
    assert trains(STARTS[name], few, "classification")
    for n_train in (2, 33):
        train = few.select(np.arange(n_train))
        played = play(STARTS[name], train.crystals, train.target, few.crystals.select(np.arange(60, 64)))
        assert np.isfinite(played.predictions).all()


@pytest.mark.parametrize("name", STARTS)
def test_a_crystal_does_not_depend_on_its_batch(name: str, few: Dataset) -> None:
    model, graphs = built(STARTS[name], few.crystals)
    with torch.no_grad():
        together = model(graphs.batch(torch.arange(64)))
        alone = torch.cat([model(graphs.batch(torch.tensor([row]))) for row in range(64)])
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)
    assert together.std() > 0


@pytest.mark.parametrize(
    "name", sorted(set(STARTS) - {"matformer"})
)  # edges that close the lattice see which cell it is
def test_a_doubled_cell_is_the_same_crystal(name: str, few: Dataset) -> None:
    single = few.crystals.select([0, 1])
    half = single.frac_coords / [1, 1, 2]
    cells = np.split(half, single.offsets[1:-1])
    numbers = np.split(single.atomic_numbers, single.offsets[1:-1])
    doubled = Crystals(
        lattice_parameters=single.lattice_parameters * [1, 1, 2, 1, 1, 1],
        n_atoms=single.n_atoms * 2,
        atomic_numbers=np.concatenate([np.tile(own, 2) for own in numbers]),
        frac_coords_e8=wrap_frac_coords(np.concatenate([[*own, *(own + np.array([0, 0, 0.5]))] for own in cells])),
        space_group=single.space_group,
    )
    model, graphs = built(STARTS[name], single)
    larger = module(STARTS[name]).Graphs(doubled, 1, torch.device("cpu"))
    with torch.no_grad():
        torch.testing.assert_close(
            model(larger.batch(torch.arange(2))), model(graphs.batch(torch.arange(2))), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("name", STARTS)
def test_knobs_are_those_of_the_seed_where_they_mean_the_same(name: str, seed_source: str) -> None:
    shared = {"NEIGHBOURS", "RBF_COUNT", "RBF_MAX_ANGSTROM", "RBF_WIDTH", "WIDTH", "BLOCKS", "BATCH_SIZE"}
    assert shared <= set(knobs(STARTS[name])) & set(knobs(seed_source))


@pytest.mark.parametrize("name", STARTS)
def test_enough_of_the_playbook_applies(name: str) -> None:
    assert sum(bool(taken(name, technique)) for technique in PLAYBOOK if technique.knob is None) >= LEAST_EDITS


@pytest.mark.parametrize("name", STARTS)
def test_what_does_not_apply_is_a_conflict_and_nothing_else_is(name: str) -> None:
    for technique in PLAYBOOK:
        if (
            technique.id in CONFLICTS[name] and technique.id != "deep-head"
        ):  # it applies, and names a constant of the seed
            with pytest.raises(EditError):
                apply_edits(STARTS[name], technique.edits_for(STARTS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", STARTS)
def test_what_applies_trains(name: str, few: Dataset) -> None:
    applied = {t.id: edited for t in PLAYBOOK for edited in taken(name, t)[:1]}
    failed = []
    for technique, edited in applied.items():
        try:
            if not trains(edited, few):
                failed.append(f"{technique}: a prediction is not finite, or depends on its company")
        except Exception as error:  # all failures at once, each by its name
            failed.append(f"{technique}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)
    assert len(applied) >= LEAST_EDITS


@pytest.mark.parametrize("name", ["train", *STARTS])
def test_one_atom_in_a_cell_and_one_in_empty_space_are_predicted(name: str, seed_source: str) -> None:
    """Of the heaviest element that the table names, and of one beyond it."""
    alone = Crystals(
        lattice_parameters=np.array([[3.35, 3.35, 3.35, 90, 90, 90], [40.0, 40, 40, 90, 90, 90]]),
        n_atoms=np.ones(2, dtype=np.int64),
        atomic_numbers=np.array([96, 118], dtype=np.uint8),
        frac_coords_e8=np.zeros((3, 2), dtype=np.int32),
        space_group=np.array([221, 0], dtype=np.int16),
    )
    model, graphs = built(STARTS.get(name, seed_source), alone)
    with torch.no_grad():
        assert torch.isfinite(model(graphs.batch(torch.arange(2)))).all()
