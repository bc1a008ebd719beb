"""Trials on Ray: the suite on a cluster of two nodes of which one is killed, and on a cluster that a run starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from graph.errors import RunError
from graph.executors.ray import RayExecutor
from graph.executors.settings import RaySettings
from tests.evaluation_locked.test_trial import processes_with
from tests.graph.executors.conformance import KEY, STAYS, SUBMITS, Bench, Conformance
from tests.graph.executors.ray_cluster import CPUS
from tests.graph.executors.two_nodes import TwoNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graph.executors import Executor

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is missing: pip install 'crystal-research-team[ray]'"),
]


WITHOUT_RAY = 'import sys; sys.modules["ray"] = None; from graph.executors.ray_driver import main; main()'


def ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return


@pytest.fixture(scope="session")
def two_nodes(key: None) -> Iterator[TwoNodes]:
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as place:
        nodes = TwoNodes(Path(place))
        yield nodes
        nodes.close()


@pytest.fixture(scope="session")
def on_two_nodes(two_nodes: TwoNodes) -> Iterator[RayExecutor]:
    with RayExecutor(RaySettings(address=two_nodes.address), workers=4, n_threads=1) as executor:
        yield executor


class TestTwoNodes(Conformance):
    @pytest.fixture
    def executor(self, on_two_nodes: RayExecutor) -> Executor:
        return on_two_nodes

    @pytest.fixture
    def strike(self, two_nodes: TwoNodes) -> Callable[[str], None]:
        return lambda mark: two_nodes.kill_node_of(processes_with(mark)[0])

    def test_each_node_is_sent_the_bundle_once(self, bench: Bench, two_nodes: TwoNodes) -> None:
        assert isinstance(bench.executor, RayExecutor)
        for number in range(2 * CPUS):
            assert bench.run(SUBMITS, f"first-{number}").status == "finished"
        before = bench.executor.sent
        for number in range(2 * CPUS):
            assert bench.run(SUBMITS, f"second-{number}").status == "finished"
        assert before >= 1 and bench.executor.sent == before
        assert set(two_nodes.bundles()) == {1}, "both nodes have it"

    def test_a_killed_worker_is_an_outcome(self, bench: Bench) -> None:
        def on_phase(phase: str) -> None:
            if phase == "training":
                for pid in {above for found in processes_with(bench.mark) for above in ancestors(found)}:
                    with contextlib.suppress(OSError):
                        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
                            os.kill(pid, signal.SIGKILL)

        outcome = bench.run(STAYS, on_phase=on_phase, train_seconds=500)
        assert (outcome.status, "WorkerCrashedError" in outcome.message) == ("lost", True), outcome.message
        gone(bench.mark)

    def test_a_killed_driver_is_an_outcome_and_the_next_trial_has_another(self, bench: Bench) -> None:
        def on_phase(phase: str) -> None:
            if phase == "training":
                for pid in children(bench.executor._link._process.pid):
                    os.kill(pid, signal.SIGKILL)

        outcome = bench.run(STAYS, on_phase=on_phase, train_seconds=500)
        assert (outcome.status, "the process that speaks to Ray ended" in outcome.message) == ("lost", True)
        gone(bench.mark)
        assert bench.run(SUBMITS, "next").status == "finished"

    def test_a_trial_that_no_node_can_take_is_refused_with_what_there_is(self, two_nodes: TwoNodes) -> None:
        for settings, words in (({"cpus_per_trial": 3}, "3 CPUs and 0 GPUs"), ({"gpus_per_trial": 1}, "1 GPUs")):
            wanted = RaySettings(address=two_nodes.address, **settings)
            with pytest.raises(RunError, match=rf"{words}.*2 CPUs and 0 GPUs"), RayExecutor(wanted, 1, 1):
                pass


class TestOfTheRun(Conformance):
    """A cluster that the executor starts on this host."""

    @pytest.fixture(scope="class")
    def place(self) -> Iterator[Path]:
        """Yield a TMPDIR of the cluster's own, by which its processes are known."""
        with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as place:
            yield Path(place)

    @pytest.fixture(scope="class")
    def started(self, key: None, place: Path) -> Iterator[RayExecutor]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(place))
            executor = RayExecutor(RaySettings(), workers=2, n_threads=1)
            executor.__enter__()
        yield executor
        executor.__exit__(None, None, None)
        assert processes_with(str(place)) == [], "it leaves no process"
        assert list(Path(f"/tmp/team-ray-{os.getuid()}").iterdir()) == []

    @pytest.fixture
    def executor(self, started: RayExecutor) -> Executor:
        return started

    @pytest.fixture
    def strike(self, started: RayExecutor) -> Callable[[str], None]:
        def kill_raylet(mark: str) -> None:
            for pid in {above for found in processes_with(mark) for above in ancestors(found)}:
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/exe").readlink().name == "raylet":
                        os.kill(pid, signal.SIGKILL)

        return kill_raylet

    def test_no_process_of_the_cluster_was_given_a_key_and_none_listens_beyond_this_host(
        self, started: RayExecutor, place: Path
    ) -> None:
        ours = processes_with(str(place))
        assert {"raylet", "gcs_server"} <= {Path(f"/proc/{pid}/exe").readlink().name for pid in ours}
        assert set(processes_with(KEY)) & set(ours) == set()
        assert {address for pid in ours for address in listening(pid)} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.parametrize("with_driver", [False, True])
def test_a_run_that_is_killed_leaves_neither_trial_nor_cluster(tmp_path: Path, with_driver: bool) -> None:
    place = Path(tempfile.mkdtemp(prefix="ray-"))
    (tmp_path / "train.py").write_text("import time; time.sleep(600)")
    text = f"""
        import sys, threading
        from pathlib import Path
        from evaluation_locked.trial import TrialOrder
        from graph.executors.ray import RayExecutor
        from graph.executors.settings import RaySettings
        from tests.evaluation_locked.conftest import CAPS
        from tests.graph.executors.conformance import prepare_task
        place = Path({str(tmp_path)!r})
        order = TrialOrder(train_py=place / "train.py", locked=prepare_task(place),
                           folder=place / "trial", caps=CAPS.model_copy(update={{"featurise_seconds": 600}}))
        with RayExecutor(RaySettings(), 1, 1) as executor:
            executor.run(order, lambda phase: print(phase, flush=True), threading.Event())
    """
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(place)},
    )
    assert run.stdout is not None
    assert [run.stdout.readline().strip() for _ in range(2)] == ["starting", "featurising"]
    assert len(processes_with(str(place))) > 5
    if with_driver:  # which then ends nothing
        (keeper,) = children(run.pid) & set(processes_with("graph.executors.ray_driver"))
        (driver,) = children(keeper) & set(processes_with("graph.executors.ray_driver"))
        os.kill(driver, signal.SIGKILL)
    run.kill()
    run.wait()
    run.stdout.close()
    gone(str(place))
    shutil.rmtree(place)


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "bin/python"
    bare.parent.mkdir()
    bare.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{WITHOUT_RAY}' \"$4\"\n")
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with (
        pytest.raises(RunError, match=r"pip install 'crystal-research-team\[ray\]'"),
        RayExecutor(RaySettings(), 1, 1),
    ):
        pass


def test_a_cluster_that_is_not_there_is_said_in_one_line() -> None:
    with (
        pytest.raises(RunError, match=r"no Ray cluster at 127\.0\.0\.1:9 ") as error,
        RayExecutor(RaySettings(address="127.0.0.1:9"), 1, 1),
    ):
        pass
    assert "\n" not in str(error.value)


def children(pid: int) -> set[int]:
    return {
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    }


def listening(pid: int) -> Iterator[str]:
    """Yield the addresses at which a process takes connections."""
    inodes = set()
    with contextlib.suppress(OSError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(str(fd.readlink()).removeprefix("socket:[").removesuffix("]"))
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                raw = bytes.fromhex(words[1].partition(":")[0])
                yield socket.inet_ntop(family, b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4)))


def gone(mark: str, seconds: float = 30.0) -> None:
    """Wait until no marked process is left."""
    until = time.monotonic() + seconds
    while processes_with(mark) and time.monotonic() < until:
        time.sleep(0.1)
    assert processes_with(mark) == []
