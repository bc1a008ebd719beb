"""Runs that are written down and not run: a real folder, run.toml and journal, with records that a test is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evaluation_locked.task import load_task
from graph.run_folder import RunConfig, RunFolder, create_run
from memory.journal import Journal
from tests.conftest import TINY_SEED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from memory.records import Entry


def write_run(runs: Path, entries: Iterable[Entry], name: str = "told", **config: Any) -> RunFolder:
    """Make the folder of a run whose journal holds `entries`, with a folder for each trial."""
    settled = RunConfig(name=name, task=load_task(TINY_SEED), seed_folder=str(TINY_SEED), **config)
    folder = create_run(runs, settled, TINY_SEED)
    journal = Journal(folder.journal)
    for entry in entries:
        journal.append(entry)
        if entry.kind == "trial":
            trial = folder.make_trial(entry.idea)
            (trial / "train.py").write_text(f"WIDTH = {entry.number}\n", encoding="utf-8")
    return folder
