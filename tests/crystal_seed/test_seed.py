"""The expert seed: it learns, keeps its budget, and survives the sizes of a smoke trial."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from evaluation_locked.crystals import Crystals, wrap_frac_coords
from evaluation_locked.dataset import Dataset
from evaluation_locked.prepare import prepare
from evaluation_locked.task import Caps, TaskSpec
from evaluation_locked.trial import TrialOrder, run_trial
from memory.edits import apply_edits, knobs, set_knob
from tests.crystal_seed.judge import SEED_FOLDER, play

if TYPE_CHECKING:
    from pathlib import Path


def module(source: str) -> types.ModuleType:
    made = types.ModuleType("train")
    exec(compile(source, "train.py", "exec"), made.__dict__)
    return made


def test_it_learns_what_it_has_seen(seed_source: str, few: Dataset) -> None:
    """Predicting the training crystals after 3 s: far better than the best constant."""
    played = play(seed_source, few.crystals, few.target, few.crystals, train_seconds=3.0)
    constant = np.abs(few.target - np.median(few.target)).mean()
    assert np.abs(played.predictions - few.target).mean() < 0.5 * constant
    assert played.kinds == ["start", "finish", "submit", "submit"]
    assert played.train_seconds <= 3.0


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_labels_of_any_size_are_standardised(seed_source: str, few: Dataset, scale: float) -> None:
    labels = 300.0 * scale + scale * few.target
    predictions = play(seed_source, few.crystals, labels, few.crystals, train_seconds=2.0).predictions
    assert np.abs(predictions - labels).mean() < 0.8 * np.abs(labels - np.median(labels)).mean()


def test_equal_labels_are_predicted_nearly(seed_source: str, few: Dataset) -> None:
    predictions = play(seed_source, few.crystals, np.full(64, 7.0), few.crystals, train_seconds=1.0).predictions
    np.testing.assert_allclose(predictions, 7.0, atol=1.0)


def test_classes_give_probabilities_of_the_class(seed_source: str, few: Dataset) -> None:
    metal = (few.target == 0).astype(float)
    played = play(seed_source, few.crystals, metal, few.crystals, train_seconds=3.0, kind="classification")
    assert ((played.predictions >= 0) & (played.predictions <= 1)).all()
    assert played.predictions[metal == 1].mean() > played.predictions[metal == 0].mean() + 0.3


@pytest.mark.parametrize(("n_train", "n_predict"), [(48, 16), (33, 1), (2, 3)])
def test_tiny_trials_keep_the_budget(seed_source: str, few: Dataset, n_train: int, n_predict: int) -> None:
    """33 crystals leave a rest of one after the first batch of 32, on which batch norm may have nothing to average."""
    train, rest = few.select(np.arange(n_train)), few.select(np.arange(64 - n_predict, 64))
    played = play(seed_source, train.crystals, train.target, rest.crystals, train_seconds=1.0)
    assert np.isfinite(played.predictions).all() and len(played.predictions) == n_predict
    assert 0.1 < played.train_seconds <= 1.0


def test_a_crystal_does_not_depend_on_its_batch(seed_source: str, few: Dataset) -> None:
    """The packed gather keeps crystals apart: alone, shuffled and repeated, each gets the same output."""
    train = module(seed_source)
    graphs = train.Graphs(few.crystals, 1, torch.device("cpu"))
    model = train.Network().eval()
    with torch.no_grad():
        together = model(graphs.batch(torch.arange(64)))
        alone = torch.cat([model(graphs.batch(torch.tensor([row]))) for row in range(64)])
        rows = torch.tensor([5, 63, 5, 0])
        torch.testing.assert_close(model(graphs.batch(rows)), together[rows], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)
    assert together.std() > 0


def test_a_doubled_cell_is_the_same_crystal(seed_source: str, few: Dataset) -> None:
    """Mean and maximum pooling over a fixed number of neighbours do not see how large a cell was chosen."""
    single = few.crystals.select([0])
    coords = single.frac_coords / [1, 1, 2]
    lattice = single.lattice_parameters * [1, 1, 2, 1, 1, 1]
    doubled = Crystals(
        lattice_parameters=lattice,
        n_atoms=single.n_atoms * 2,
        atomic_numbers=np.tile(single.atomic_numbers, 2),
        frac_coords_e8=wrap_frac_coords(np.concatenate([coords, coords + np.array([0, 0, 0.5])])),
        space_group=single.space_group,
    )
    train = module(seed_source)
    model = train.Network().eval()
    with torch.no_grad():
        outputs = [
            model(train.Graphs(crystals, 1, torch.device("cpu")).batch(torch.arange(1))).item()
            for crystals in (single, doubled)
        ]
    assert outputs[0] == pytest.approx(outputs[1], abs=1e-4)


def test_the_schedule_follows_the_clock(seed_source: str) -> None:
    train = module(seed_source)
    rates = [train.learning_rate(p) for p in (0.0, train.WARMUP, 0.5, 1.0)]
    assert 0 < rates[0] < 0.02 * train.LEARNING_RATE
    assert rates[1] == pytest.approx(train.LEARNING_RATE, rel=0.02)
    assert rates[2] == pytest.approx(train.LEARNING_RATE / 2)
    assert rates[3] == pytest.approx(0.0, abs=1e-9)


def test_every_knob_can_be_set(seed_source: str, few: Dataset) -> None:
    smaller = {"WIDTH": 8, "BLOCKS": 1, "NEIGHBOURS": 3, "RBF_COUNT": 5, "HEAD_WIDTH": 4, "BATCH_SIZE": 7}
    edited = seed_source
    for name, value in smaller.items():
        edited = apply_edits(edited, [set_knob(edited, name, value)])
    assert {name: knobs(edited)[name] for name in smaller} == smaller
    assert np.isfinite(play(edited, few.crystals, few.target, few.crystals).predictions).all()


def test_it_runs_under_the_judge(tmp_path: Path, few: Dataset) -> None:
    """The real trial: a process of its own, sandboxed, in the sizes of a smoke trial."""
    caps = Caps(
        featurise_seconds=60, train_seconds=2, predict_seconds=30, memory_gib=3.0, log_mib=1.0, scratch_gib=0.25
    )
    spec = TaskSpec(name="test", title="A test", target="gap_ev", unit="eV", source="tight-binding", caps=caps)
    rows = np.arange(64).repeat(10)
    prepare(spec, Dataset("few", few.crystals.select(rows), few.target[rows], "made for a test"), tmp_path / "locked")
    order = TrialOrder(
        train_py=SEED_FOLDER / "train.py", locked=tmp_path / "locked", folder=tmp_path / "trial", caps=caps, smoke=True
    )
    outcome = run_trial(order)
    assert outcome.status == "finished", outcome.message
    assert outcome.train_seconds <= 2.0
