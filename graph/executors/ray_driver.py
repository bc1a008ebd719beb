"""The process that speaks to Ray for a run, so that the run's own process holds nothing of it.

    python -P -m graph.executors.ray_driver FD     (started by `graph.executors.ray`)

It is given no key: its environment was made from a few harmless variables, and so is that of a cluster that it starts.
Words come and go over a socket that stays open as a lifeline: when it closes, the driver leaves, Ray ends the trials of
a driver that left, and a cluster that the driver started ends with it. What Ray prints goes to a log and not to the
terminal. It has a keeper, which ends what is left of it when it has ended or was killed.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation_locked import process_tree
from evaluation_locked.dataset import DataError
from evaluation_locked.trial import TrialOrder, TrialOutcome
from graph.executors.bundle import PARTS, read_bundle
from graph.executors.far import FarResult, pack_order
from graph.executors.node import hold_folder, own_folder
from graph.executors.ray_words import Opening, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING = "trials on Ray need a package that is not installed: pip install 'crystal-research-team[ray]'"
STORE_BYTES = 1 << 29  # of shared memory, for a cluster that is started here; Ray moves to disk what is more
POLL_SECONDS = 0.2
KNOCK_SECONDS = 10.0
KEEP_SECONDS = 2.0  # for Ray's own processes to end by themselves
CANCEL_SECONDS = 10.0  # for a trial to end when it is asked to; then its worker is killed
WARDEN_SECONDS = 3.0  # in which the warden of a killed worker has ended its trial


class Driver:
    """Holds the trials of one run on a cluster, each attended by a thread."""

    def __init__(self, line: Connection, opening: Opening) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._opening = opening
        self._cancelled: set[int] = set()
        self._bundles: dict[tuple[Any, ...], tuple[str, Any]] = {}
        self._gpus = 0.0

    def serve(self) -> None:
        """Run trials until the line is closed."""
        import ray

        if refused := self._measure():
            self._say("refused", about=refused)
            return
        self._say("ready", about=f"Ray {ray.__version__}")
        with contextlib.suppress(EOFError, OSError):
            while True:
                word: Word = self._line.recv()
                if word.kind == "cancel":
                    self._cancelled.add(word.trial)
                else:
                    threading.Thread(target=self._attend, args=(word.trial, word.about), daemon=True).start()

    def _measure(self) -> str:
        """Settle how many GPUs a trial is given; return why no node can take one, empty where one can."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        given, cpus = self._opening.settings.gpus_per_trial, self._opening.cpus
        has_gpus = any(node.get("GPU", 0) for node in nodes)
        self._gpus = (1.0 if has_gpus else 0.0) if given is None else given
        if any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= self._gpus for node in nodes):
            return ""
        found = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        return (
            f"a trial asks for {cpus:g} CPUs and {self._gpus:g} GPUs, and no node of the Ray cluster has both (found: "
            f"{found or 'no node'}): set cpus_per_trial and gpus_per_trial in [executor.ray] of team.toml"
        )

    def _attend(self, trial: int, order: TrialOrder) -> None:
        """See one trial through; the last word of it is `result` or `no`."""
        import ray

        try:
            self._say("result", trial, self._hold(trial, order))
        except ray.exceptions.RayError as error:
            in_worker = isinstance(error, ray.exceptions.RayTaskError)
            said = (str(error).strip().splitlines() or [""])[-1 if in_worker else 0][:300]
            if in_worker and not isinstance(error.cause, ray.exceptions.RayError):
                words = f"a node of the Ray cluster cannot run trials ({said}): install this version of the team on it"
                self._say("no", trial, words)
            else:  # what a worker asked Ray for may be gone too
                words = f"what held the trial on the Ray cluster is gone ({type(error).__name__}: {said})"
                self._say("result", trial, FarResult("", TrialOutcome(status="lost", message=words)))
        except (OSError, DataError) as error:  # of this host: the order's files cannot be read
            self._say("no", trial, f"the trial cannot be sent: {error}")
        finally:
            self._cancelled.discard(trial)

    def _hold(self, trial: int, order: TrialOrder) -> FarResult:
        import ray

        from graph.executors.ray_node import hold_on_node

        sha, held = self._bundle(order.locked)
        remote = ray.remote(hold_on_node).options(
            num_returns="streaming",
            num_cpus=self._opening.cpus,
            num_gpus=self._gpus,
            max_retries=0,  # whether a lost trial is run again is the state machine's to say
            scheduling_strategy="SPREAD",
            name="trial",
        )
        words = remote.remote(pack_order(order, sha), [held], self._gpus > 0)
        cancelled, deadline = False, math.inf
        try:
            while True:
                if trial in self._cancelled and not cancelled:
                    cancelled, deadline = True, time.monotonic() + CANCEL_SECONDS
                    ray.cancel(words, force=False)
                if time.monotonic() > deadline:
                    deadline = math.inf
                    ray.cancel(words, force=True)
                ready, _ = ray.wait([words], timeout=POLL_SECONDS)
                if ready:
                    word = ray.get(next(words))
                    if isinstance(word, FarResult):
                        return word
                    self._say("phase", trial, word)
        except (ray.exceptions.RayError, StopIteration) as error:
            if not cancelled:
                if isinstance(error, StopIteration):
                    words_lost = "the worker that held the trial left without a word of it"
                    return FarResult("", TrialOutcome(status="lost", message=words_lost))
                raise
            if math.isinf(deadline):
                time.sleep(WARDEN_SECONDS)
            return FarResult("", TrialOutcome(status="cancelled", message="cancelled"))

    def _bundle(self, locked: Path) -> tuple[str, Any]:
        """Return the hash of a folder's bundle and Ray's reference to it; it is put into Ray's store once."""
        import ray

        stats = [path.stat() for path in sorted(locked.iterdir()) if path.suffix == ".npz" or path.name == PARTS]
        key = (locked, *((stat.st_mtime_ns, stat.st_size) for stat in stats))
        with self._lock:
            if key not in self._bundles:
                bundle = read_bundle(locked)
                self._bundles = {key: (bundle.sha, ray.put(bundle))}  # what an earlier one stood for is let go
            return self._bundles[key]

    def _say(self, kind: str, trial: int = 0, about: Any = None) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._line.send(Word(kind, trial, about))


@contextlib.contextmanager
def join_cluster(opening: Opening) -> Iterator[None]:
    """Be a driver of the cluster that is asked for; one that has no address is started, and ended with the block.

    Raises:
        ConnectionError: There is no cluster there.
    """
    import ray

    if opening.settings.address:
        _knock(opening.settings.address)
        ray.init(opening.settings.address, log_to_driver=False, configure_logging=False)
        try:
            yield
        finally:
            ray.shutdown()
        return
    # Not in TMPDIR, whose path may be longer than the name of a socket can be.
    with hold_folder(own_folder(Path("/tmp") / f"team-ray-{os.getuid()}")) as folder:
        ray.init(
            "local",
            num_cpus=math.ceil(opening.workers * opening.cpus),
            object_store_memory=STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
        )
        try:
            yield
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Find out whether somebody is at an address, which Ray itself would try for minutes.

    Raises:
        OSError: Nobody is.
    """
    host, _, port = address.rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


def main() -> None:
    """Serve one run over the socket that the command line names."""
    line = Connection(int(sys.argv[1]))
    opening: Opening = line.recv()
    try:
        import ray  # noqa: F401
    except ImportError:
        line.send(Word("refused", about=MISSING))
        return
    try:
        with join_cluster(opening):
            Driver(line, opening).serve()
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"at {opening.settings.address}" if opening.settings.address else "on this host"
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        with contextlib.suppress(OSError):
            line.send(Word("refused", about=f"no Ray cluster {where} ({first}): see [executor.ray] of team.toml"))


def keep(driver: int) -> None:
    """Wait for the driver to end, or end it when asked to, and leave nothing of it: Ray's agents outlive it."""

    def asked(number: int, frame: object) -> None:
        os.kill(driver, signal.SIGKILL)

    signal.signal(signal.SIGTERM, asked)
    os.waitpid(driver, 0)
    process_tree.end_descendants(os.getpid(), patience_seconds=KEEP_SECONDS)


if __name__ == "__main__":
    process_tree.adopt_orphans()  # what a driver leaves behind becomes its keeper's
    if driver := os.fork():
        os.close(int(sys.argv[1]))  # the line is the driver's alone
        keep(driver)
    else:
        main()
    os._exit(0)  # threads that attend trials of a closed line are not waited for
