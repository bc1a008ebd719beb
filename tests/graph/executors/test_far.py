"""The two ends of a far trial, both on this machine: the suite, the bundle and its cache, and who is refused."""

from __future__ import annotations

import os
import pickle
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.dataset import DataError
from graph.errors import RunError
from graph.executors import bundle
from graph.executors.far import Judge, bring_home, hold_trial, pack_order
from graph.executors.node import hold_folder, node_folder
from tests.graph.executors import test_local
from tests.graph.executors.conformance import SUBMITS, Bench, Conformance

if TYPE_CHECKING:
    from collections.abc import Callable

    from evaluation_locked.trial import Phase, TrialOrder, TrialOutcome
    from graph.executors import Executor


class FarHere:
    """Both ends in this process, with what travels pickled between them."""

    def __init__(self) -> None:
        self.fetched: list[bool] = []

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        held = bundle.read_bundle(order.locked)
        sent = pickle.loads(pickle.dumps(pack_order(order, held.sha)))
        result = hold_trial(sent, lambda: pickle.loads(pickle.dumps(held)), on_phase, cancel)
        self.fetched.append(result.fetched)
        return bring_home(result, order)


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a node's temporary folder of its own."""
    place = tmp_path / "node"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place / f"crystal-research-team-{os.getuid()}"


class TestFarHere(Conformance):
    @pytest.fixture
    def executor(self) -> Executor:
        return FarHere()

    @pytest.fixture
    def strike(self, node: Path) -> Callable[[str], None]:
        return test_local.TestLocal.kill_warden_in(node)

    def test_a_node_is_sent_a_bundle_once_and_again_where_its_copy_is_damaged(self, bench: Bench, node: Path) -> None:
        assert [bench.run(SUBMITS, name).status for name in ("a", "b")] == ["finished", "finished"]
        assert bench.executor.fetched == [True, False]
        (copy,) = (path for path in (node / "bundles").iterdir() if path.is_dir())
        assert sorted(path.name for path in copy.iterdir()) == ["facts.json", "train.npz", "validation.npz"]
        with (copy / "train.npz").open("r+b") as file:
            file.truncate(1000)
        assert bench.run(SUBMITS, "c").status == "finished"
        assert bench.executor.fetched == [True, False, True]
        assert list((node / "trials").iterdir()) == [], "a far trial leaves nothing on its node"

    def test_another_judge_is_refused_by_a_sentence_that_names_both(self, bench: Bench) -> None:
        sent = pack_order(bench.order(SUBMITS), "0" * 64)
        other = replace(sent, judge=Judge("9.9", "ab" * 32))
        result = hold_trial(other, lambda: pytest.fail("nothing is fetched"), lambda phase: None, bench.cancel)
        with pytest.raises(RunError, match=rf"{sent.judge.sha[:12]}.*9\.9 \(abababababab\)"):
            bring_home(result, bench.order(SUBMITS))

    def test_what_killed_trials_left_on_a_node_is_removed_and_what_lives_stays(self, bench: Bench, node: Path) -> None:
        with hold_folder(node_folder() / "trials") as living:
            dead = node / "trials" / "dead"
            dead.mkdir()
            (dead / "lock").touch()
            bench.run(SUBMITS)
            assert [path.name for path in (node / "trials").iterdir()] == [living.name]

    def test_a_folder_that_is_open_to_others_is_not_used(self, bench: Bench, node: Path) -> None:
        node.mkdir(mode=0o755)
        outcome = bench.run(SUBMITS)
        assert (outcome.status, "is open to others" in outcome.message) == ("lost", True)


def made(n: int) -> bundle.Bundle:
    files = {"facts.json": str(n).encode()}
    return bundle.Bundle(bundle._sha_of(files), files)


def test_many_trials_that_ask_at_once_fetch_once() -> None:
    one, fetched, all_in = made(1), [], threading.Barrier(8)

    def hold(_: int) -> bytes:
        with bundle.hold_bundle(one.sha, lambda: fetched.append(1) or one) as folder:
            all_in.wait(30)  # all hold it at the same time
            return (folder / "facts.json").read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(hold, range(8))) == [b"1"] * 8
    assert fetched == [1]


def test_old_bundles_are_removed_but_not_from_under_a_trial(node: Path) -> None:
    with bundle.hold_bundle(made(0).sha, lambda: made(0)) as oldest:
        for n in range(1, 9):
            with bundle.hold_bundle(made(n).sha, lambda n=n: made(n)):
                pass
        assert (oldest / "facts.json").read_bytes() == b"0"
    left = {path.name for path in (node / "bundles").iterdir() if path.is_dir()}
    assert left == {made(n).sha for n in (0, 5, 6, 7, 8)}
    with bundle.hold_bundle(made(9).sha, lambda: made(9)):
        pass
    assert (
        sorted(path.suffix for path in (node / "bundles").iterdir() if path.suffix) == [".lock"] * 4 + [".making"] * 4
    )


def test_a_bundle_that_came_damaged_is_not_used(node: Path) -> None:
    with pytest.raises(OSError, match="came damaged"), bundle.hold_bundle(made(1).sha, lambda: made(2)):
        pass
    wrong = replace(made(1), files={"facts.json": b"2"})
    with pytest.raises(OSError, match="came damaged"), bundle.hold_bundle(made(1).sha, lambda: wrong):
        pass
    assert [path for path in (node / "bundles").iterdir() if path.is_dir()] == []


def test_labels_that_judge_are_never_in_a_bundle(tmp_path: Path) -> None:
    for name in ("facts.json", "validation_labels.npy", "metric.py"):
        (tmp_path / name).write_bytes(b"x")
    np.savez(tmp_path / "train.npz", labels=np.zeros(3))
    np.savez(tmp_path / "validation.npz", n_atoms=np.ones(3))
    np.save(tmp_path / "parts.npy", np.zeros(3))
    assert set(bundle.read_bundle(tmp_path).files) == {"facts.json", "train.npz", "validation.npz", "parts.npy"}
    np.savez(tmp_path / "validation.npz", n_atoms=np.ones(3), labels=np.zeros(3))
    with pytest.raises(DataError, match="labels that judge"):
        bundle.read_bundle(tmp_path)
