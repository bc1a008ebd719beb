"""Rows are prepared in a process of its own: what it says comes through, and its end is no riddle."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from evaluation_locked.dataset import DataError
from evaluation_locked.prepare import load_facts
from evaluation_locked.process_tree import descendants
from evaluation_locked.task import load_task
from team.preparing import prepare_apart
from tests.conftest import TINY_SEED
from tests.graph.executors.two_nodes import words_of

if TYPE_CHECKING:
    from pathlib import Path


def preparing() -> list[int]:
    """Return the processes below this one that prepare rows."""
    return [pid for pid in descendants(os.getpid()) if b"team.preparing" in words_of(pid)]


def test_facts_come_back_as_they_were_written(tmp_path: Path) -> None:
    facts = prepare_apart(load_task(TINY_SEED), tmp_path / "locked", 300, TINY_SEED, tmp_path)
    assert facts == load_facts(tmp_path / "locked") and facts.n_train + facts.n_validation == 300
    assert not preparing()


def test_what_is_wrong_with_the_data_is_told_as_it_is(tmp_path: Path) -> None:
    task = load_task(TINY_SEED).model_copy(update={"target": "no_such_property"})
    with pytest.raises(DataError, match="no_such_property"):
        prepare_apart(task, tmp_path / "locked", None, TINY_SEED, tmp_path)


def test_a_process_that_is_killed_is_named(tmp_path: Path) -> None:
    failed: list[Exception] = []

    def prepare() -> None:
        try:
            prepare_apart(load_task(TINY_SEED), tmp_path / "locked", None, TINY_SEED, tmp_path)
        except DataError as error:
            failed.append(error)

    waiting = threading.Thread(target=prepare)
    waiting.start()
    deadline = time.monotonic() + 60
    while not (children := preparing()):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(children[0], signal.SIGKILL)
    waiting.join(60)
    assert len(failed) == 1 and "was ended (status -9)" in str(failed[0])
