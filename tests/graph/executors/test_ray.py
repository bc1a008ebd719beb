"""Trials on a Ray cluster of two nodes keep the promises of every executor, also when one of the nodes dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from graph.errors import RunError
from graph.executors.ray import RayExecutor
from graph.executors.settings import RaySettings
from tests.graph.executors.conformance import HONEST, SLEEP, Conformance, locked, processes_of, trial_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evaluation_locked.trial import Phase, TrialOrder

pytest.importorskip("ray", reason="Ray is not installed: pip install 'crystal-research-team[ray]'")
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

__all__ = ["locked"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster of two nodes on this machine."""
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "TEAM_CACHE": str(tmp_path_factory.mktemp("cache"))}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def on_cluster(cluster: Any) -> Iterator[RayExecutor]:
    with RayExecutor(RaySettings(address=cluster.address), 2) as executor:
        yield executor


class TestRay(Conformance):
    @pytest.fixture
    def executor(self, on_cluster: RayExecutor) -> RayExecutor:
        return on_cluster

    def test_rows_travel_once(self, executor: RayExecutor, order: Callable[..., TrialOrder]) -> None:
        before = executor.n_fetched
        for name in "abcd":
            outcome = executor.run(order(HONEST, name), lambda phase: None, threading.Event())
            assert outcome.status == "finished"
        assert executor.n_fetched - before <= 1  # both nodes are this machine, and share its cache

    def test_a_worker_that_is_killed_is_a_lost_trial_and_nothing_is_left(
        self, executor: RayExecutor, order: Callable[..., TrialOrder]
    ) -> None:
        def kill(phase: Phase) -> None:
            if phase == "training":
                for pid in processes_of("ray::Holder"):
                    os.kill(pid, 9)

        outcome = executor.run(order(SLEEP.format(seconds=15)), kill, threading.Event())
        assert outcome.status == "lost"
        assert "Ray lost the trial" in outcome.message
        await_none_left()

    def test_a_node_that_dies_in_the_middle_of_a_trial_loses_it_and_the_next_runs_elsewhere(
        self, cluster: Any, executor: RayExecutor, order: Callable[..., TrialOrder]
    ) -> None:
        node = cluster.add_node(num_cpus=2, resources={"doomed": 1})
        cluster.wait_for_nodes()
        doomed = threading.Event()

        def kill(phase: Phase) -> None:
            if phase == "training":
                cluster.remove_node(node, allow_graceful=False)
                doomed.set()

        executor._ray = _Placed(executor._ray, {"doomed": 1})
        try:
            outcome = executor.run(order(SLEEP.format(seconds=15), "first"), kill, threading.Event())
        finally:
            executor._ray = executor._ray.ray
        assert doomed.is_set()
        assert outcome.status == "lost", outcome.message
        await_none_left()
        again = executor.run(order(HONEST, "again"), lambda phase: None, threading.Event())
        assert again.status == "finished"


class _Placed:
    """Ray, with actors that want a resource which one node alone has."""

    def __init__(self, ray: Any, resources: dict[str, float]) -> None:
        self.ray = ray
        self._resources = resources

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ray, name)

    def remote(self, kind: type) -> Any:
        return self.ray.remote(resources=self._resources)(kind)


def await_none_left() -> None:
    until = time.monotonic() + 15
    while trial_processes() and time.monotonic() < until:
        time.sleep(0.1)
    assert not trial_processes()


ALONE = """
import os, sys, threading
from pathlib import Path
from evaluation_locked.task import Caps
from evaluation_locked.trial import TrialOrder
from graph.executors.ray import RayExecutor
from graph.executors.settings import RaySettings
os.environ["OPENAI_API_KEY"] = "sk-not-for-ray"
locked, folder = map(Path, sys.argv[1:])
with RayExecutor(RaySettings(), 1) as executor:
    print("open", flush=True)
    order = TrialOrder(train_py=folder / "train.py", locked=locked, folder=folder, caps=Caps(train_seconds=60))
    executor.run(order, lambda phase: print(phase, flush=True), threading.Event())
"""


def test_a_cluster_of_ones_own_goes_with_a_killed_run_and_knows_no_key(locked: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SLEEP.format(seconds=50))
    before = set(processes_of("gcs_server"))
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE, str(locked), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "training":
            break
    assert set(processes_of("gcs_server")) - before
    assert set(processes_of("sk-not-for-ray")) <= {process.pid}, "keys stay with who asks"
    process.kill()
    process.wait()
    process.stdout.close()
    until = time.monotonic() + 30
    while (set(processes_of("gcs_server")) - before or trial_processes()) and time.monotonic() < until:
        time.sleep(0.2)
    assert not set(processes_of("gcs_server")) - before
    assert not trial_processes()


def test_what_is_missing_is_said_in_a_sentence() -> None:
    with pytest.raises(RunError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        RayExecutor(RaySettings(address="127.0.0.1:1"), 1).__enter__()
