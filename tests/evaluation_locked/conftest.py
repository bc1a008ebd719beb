"""A small prepared task, and trials of files given as text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.crystals import Crystals
from evaluation_locked.dataset import Dataset
from evaluation_locked.prepare import prepare
from evaluation_locked.task import Caps, TaskSpec
from evaluation_locked.trial import TrialOrder, TrialOutcome, run_trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CAPS = Caps(featurise_seconds=20, train_seconds=5, predict_seconds=10, memory_gib=1.0, log_mib=1.0, scratch_gib=0.25)


def cubic_crystals(n: int) -> Crystals:
    """Return n cubic crystals of one or two atoms; crystal i has the elements 1 + i % 60 and 70."""
    counts = 1 + np.arange(n) % 2
    numbers = np.concatenate([[1 + i % 60, 70][: counts[i]] for i in range(n)])
    coords = np.concatenate([np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])[: counts[i]] for i in range(n)])
    lattice = np.column_stack([np.full((n, 3), 4.0) + np.arange(n)[:, None] * 1e-3, np.full((n, 3), 90.0)])
    return Crystals.from_arrays(
        {
            "lattice_parameters": lattice,
            "n_atoms": counts,
            "atomic_numbers": numbers,
            "frac_coords_e8": np.rint(coords.T * 1e8),
            "space_group": np.full(n, 221),
        }
    )


@pytest.fixture(scope="session")
def spec() -> TaskSpec:
    return TaskSpec(name="test", title="A test", target="gap_ev", unit="eV", source="tight-binding", caps=CAPS)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    crystals = cubic_crystals(600)
    return Dataset("cubes", crystals, np.arange(600) % 60 / 10, "made for a test")


@pytest.fixture(scope="session")
def locked(spec: TaskSpec, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locked")
    prepare(spec, dataset, folder)
    return folder


@pytest.fixture
def trial(locked: Path, tmp_path: Path) -> Callable[..., TrialOutcome]:
    """Return a function that runs a train.py given as text, with changed caps if given."""

    def run(text: str, *, smoke: bool = False, check_batches: bool = False, **caps: float) -> TrialOutcome:
        train_py = tmp_path / "train.py"
        train_py.write_text(textwrap.dedent(text))
        order = TrialOrder(
            train_py=train_py,
            locked=locked,
            folder=tmp_path / "trial",
            caps=CAPS.model_copy(update=caps),
            seed=7,
            smoke=smoke,
            check_batches=check_batches,
        )
        return run_trial(order)

    return run
