"""Attacks in trials of their own: some of each kind in every run of the tests, all of them in the slow lane."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.redteam import suite
from tests.redteam.bait import ROOT_IN_ATTACKS, Bait, lay

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTACKS = suite.attacks()
FAST = (
    "channel_files change_modes deep_folder double_fork_daemon early_finish huge_predictions labels_from_disk "
    "lookup_table memory_of_the_parent "
    "namespaces_by_clone network_unix_path overwrite_the_scorer pickle_bomb "
    "statistics_of_the_predicted wire_infinite_shape"
).split()


@pytest.fixture(scope="module")
def bait(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bait]:
    mark = f"redteam-{os.getpid()}-{time.time_ns()}"
    suite.adopt_orphans()
    with lay(tmp_path_factory.mktemp(mark), mark) as laid:
        yield laid


def check(name: str, bait: Bait) -> None:
    (attack,) = suite.attacks((name,))
    result = suite.run_attack(attack, bait, longest=suite.longest_seconds(bait))
    assert not result.survived, suite.line_of(result)
    assert result.stopped_by == attack.stopped_by, suite.line_of(result) + f"\n{result.evidence}"


@pytest.mark.parametrize("name", FAST)
def test_an_attack_is_stopped_by_what_it_expects(name: str, bait: Bait) -> None:
    check(name, bait)


@pytest.mark.slow
@pytest.mark.parametrize("name", [attack.name for attack in ATTACKS if attack.name not in FAST])
def test_every_other_attack_is_stopped_by_what_it_expects(name: str, bait: Bait) -> None:
    check(name, bait)


def test_the_attacks_are_many_and_each_says_something_else() -> None:
    assert len(ATTACKS) >= 44
    assert len({attack.what for attack in ATTACKS}) == len(ATTACKS)
    assert {attack.stopped_by for attack in ATTACKS} == set(suite.STOPPERS)


def test_a_theft_that_succeeds_is_seen(bait: Bait, tmp_path: Path) -> None:
    """What the suite counts as stopped must not be an attack that would fail anywhere."""
    theft = next(attack for attack in ATTACKS if attack.name == "labels_from_disk")
    train_py = tmp_path / "train.py"
    train_py.write_text(bait.text_of(theft.path))
    order = suite.TrialOrder(
        train_py=train_py, locked=bait.locked, folder=tmp_path, caps=suite.CAPS, seed=7, sandboxed=False
    )
    outcome = suite.run_trial(order)
    assert outcome.status == "finished", outcome.message
    np.testing.assert_array_equal(np.load(tmp_path / "predictions.npy"), bait.labels)
    log = (tmp_path / "train.log").read_text()
    evidence = suite._reached(log, outcome, theft, tmp_path, bait)
    assert any("REACHED" in line for line in evidence)
    assert f"{len(bait.labels)} of its predictions are a label" in evidence


def test_a_process_that_is_left_is_seen(bait: Bait) -> None:
    with subprocess.Popen(["sleep", "20"], env={"NOTE": bait.mark}, start_new_session=True) as left:
        time.sleep(0.2)
        assert any(found.startswith(str(left.pid)) for found in suite.survivors(bait.mark))
        left.kill()
    assert suite.survivors(bait.mark) == []


def test_a_changed_file_is_seen(bait: Bait) -> None:
    before = bait.snapshot(except_folder=bait.root / "nothing")
    journal = bait.root / "run" / "journal.jsonl"
    os.utime(journal, (1, 1))
    after = bait.snapshot(except_folder=bait.root / "nothing")
    assert [path for path in after if before.get(path) != after[path]] == [str(journal)]


def test_no_attack_names_a_folder_of_this_machine() -> None:
    for attack in ATTACKS:
        text = attack.path.read_text()
        assert str(Path(__file__).resolve().parents[2]) not in text, attack.name
        assert ROOT_IN_ATTACKS in text or "Task" in text, attack.name


@pytest.mark.parametrize("path", sorted(suite.HONEST.glob("*.py")), ids=lambda path: path.stem)
def test_an_honest_file_predicts_the_same_with_and_without_the_sandbox(path: Path, bait: Bait) -> None:
    honest = suite.run_honest(path, bait)
    assert honest.status == "finished"
    assert honest.equal
