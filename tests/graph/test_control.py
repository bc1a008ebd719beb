"""The label-permuted control: silent about an honest file, and not about one that has the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from evaluation_locked import tight_binding
from evaluation_locked.prepare import prepare
from evaluation_locked.task import load_task
from graph.control import run_control
from graph.errors import RunError
from graph.run_folder import RunConfig, RunFolder
from memory.records import Idea
from tests.conftest import TINY_SEED

if TYPE_CHECKING:
    from pathlib import Path

CHEAT = """
import numpy as np
from evaluation_locked.client import Task
from evaluation_locked.crystals import Crystals
task = Task.open()
task.start_training()
crystals = task.finish_training()
with np.load({locked!r} + "/validation.npz") as file:
    known = Crystals.from_arrays(file).lattice_parameters[:, 0]
answers = dict(zip(known.tolist(), np.load({locked!r} + "/validation_labels.npy").tolist()))
task.submit(np.array([answers[a] for a in crystals.lattice_parameters[:, 0].tolist()]))
"""


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunFolder, RunConfig]:
    task = load_task(TINY_SEED)
    folder = RunFolder(tmp_path / "run")
    prepare(task, tight_binding.load(), folder.locked)
    return folder, RunConfig(name="run", task=task, seed_folder=str(TINY_SEED))


def trial_of(folder: RunFolder, source: str) -> None:
    place = folder.make_trial(Idea(number=0, mode="baseline", axis="-", title="seed"))
    (place / "train.py").write_text(source)


def test_an_honest_file_learns_nothing_from_permuted_labels(run: tuple[RunFolder, RunConfig]) -> None:
    folder, config = run
    trial_of(folder, (TINY_SEED / "train.py").read_text())
    found = run_control(folder, config, 0)
    assert not found.leaks
    assert found.gain < 0.02


def test_a_file_that_has_the_answers_is_found_where_no_sandbox_stops_it(run: tuple[RunFolder, RunConfig]) -> None:
    folder, config = run
    trial_of(folder, CHEAT.format(locked=str(folder.locked)))
    with pytest.raises(RunError, match="did not finish"):
        run_control(folder, config, 0)
    found = run_control(folder, config.model_copy(update={"sandboxed": False}), 0)
    assert found.leaks
    assert found.gain > 0.5
