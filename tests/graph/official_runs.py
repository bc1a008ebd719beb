"""A run on a made-up table that stands for the smallest task of MatBench: its rows and folds, all else made up."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.dataset import Dataset, load_table, save_table
from evaluation_locked.official import fingerprint
from evaluation_locked.prepare import prepare
from evaluation_locked.sources.matbench_task import official_splits
from evaluation_locked.task import load_task
from graph.evaluation import bench_of, evaluate, verify_official
from graph.recipe import recipe_of
from graph.run_folder import RunConfig, RunFolder
from memory.records import Idea
from tests.conftest import TINY_SEED
from tests.evaluation_locked.conftest import cubic_crystals

if TYPE_CHECKING:
    from pathlib import Path

SMALL_TASK, N_ROWS = "matbench_jdft2d", 636


class Made:
    """A run on a made-up table that stands for the small official task."""

    def __init__(self, folder: Path):
        labels = np.random.default_rng(3).uniform(0, 6, N_ROWS)
        self.table = folder / "made.npz"
        save_table(self.table, Dataset("made", cubic_crystals(N_ROWS), labels, "made up"), "gap_ev")
        self.dataset = load_table(self.table, "gap_ev")
        self.known = {fingerprint(self.dataset): SMALL_TASK}
        self.folder = RunFolder(folder / "run")
        task = load_task(TINY_SEED).model_copy(update={"source": f"table:{self.table}"})
        prepare(task, self.dataset, self.folder.locked, limit=200)
        self.config = RunConfig(name="run", task=task, seed_folder=str(TINY_SEED), limit=200)
        self.give(0, (TINY_SEED / "train.py").read_text())
        self.train_rows, self.test_rows = official_splits(SMALL_TASK)[1]

    def give(self, number: int, source: str) -> None:
        place = self.folder.make_trial(Idea(number=number, mode="baseline", axis="-", title="seed"))
        (place / "train.py").write_text(textwrap.dedent(source))

    def evaluate(self, number: int = 0, fold: int = 1, **options: object) -> object:
        recipe = recipe_of(self.folder, number)
        bench = bench_of(self.folder, self.config, recipe, known_tables=self.known)
        return evaluate(bench, recipe, fold, **options)  # type: ignore[arg-type]

    def differences(self) -> list[tuple[int | None, str, str]]:
        return list(verify_official(self.folder, self.config, None, self.known))
