"""Trials on a Ray cluster, one that runs or one of this machine: an actor for each trial, which holds it on its node.

The rows travel once to each node (`graph.executors.bundle`). A trial that is cancelled is ended by its node's warden
first, and the actor is killed after that; where the actor is killed or its node dies, the warden loses its lifeline and
ends the trial itself. Whatever happens to node or actor is the outcome `lost`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from evaluation_locked.trial import TrialCancelled, TrialOutcome
from graph.errors import RunError
from graph.executors.bundle import pack
from graph.executors.far import Errand, bring_home, hold, judge_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Self

    from evaluation_locked.trial import Phase, TrialOrder
    from graph.executors.far import Result
    from graph.executors.settings import RaySettings

POLL_SECONDS = 0.2
END_SECONDS = 15.0  # for a cancelled trial to be ended by its warden, before its actor is killed
SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)


class Holder:
    """Lives on the node of one trial, as a Ray actor: one thread holds the trial, the other answers who asks."""

    def __init__(self) -> None:
        self._phases: list[Phase] = []
        self._cancel = threading.Event()

    def hold(self, errand: Errand, rows: list[Any]) -> Result:
        """Run the trial; `rows` holds a reference to its rows, which are fetched where they do not lie here."""

        def fetch() -> Mapping[str, bytes]:
            import ray

            files: dict[str, bytes] = ray.get(rows[0])
            return files

        return hold(errand, fetch, self._phases.append, self._cancel)

    def phases(self, n_known: int) -> list[Phase]:
        """Return the phases that the trial entered beyond those that are known."""
        return self._phases[n_known:]

    def cancel(self) -> None:
        """Have the trial ended."""
        self._cancel.set()


class RayExecutor:
    """Runs trials on a Ray cluster; a context, which lets go of the cluster, or ends its own, when it is left.

    Args:
        settings: Which cluster, and what a trial takes of it.
        workers: Trials at once; a cluster of this machine is made for so many.

    Attributes:
        n_fetched: How often a node fetched the rows.

    Raises:
        RunError: Ray is not installed, the cluster is not there, or it has no GPU for a trial that wants one.
    """

    def __init__(self, settings: RaySettings, workers: int = 1) -> None:
        try:
            import ray
        except ImportError as error:
            raise RunError(
                f"trials on Ray want a package that is missing ({error}): pip install 'crystal-research-team[ray]'"
            ) from error
        self._ray: Any = ray
        self._settings = settings
        self._workers = workers
        self._rows: dict[Path, tuple[str, list[Any]]] = {}  # locked folder -> bundle's name, reference to its files
        self._threads = threading.Lock()
        self._code = judge_code()
        self.n_fetched = 0

    def __enter__(self) -> Self:
        address = self._settings.address
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
        if address:
            options |= {"address": address}
        else:  # reached from this machine alone
            options |= {
                "address": "local",
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",
                "num_cpus": self._local_cpus(),
            }
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            with _without_secrets():
                self._ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise RunError(f"no Ray cluster at {address or 'this machine'}: {first}") from error
        wanted, found = self._gpus(), self._ray.cluster_resources().get("GPU", 0.0)
        if wanted > found:
            self._ray.shutdown()
            raise RunError(f"a trial wants {wanted:g} GPUs, and the Ray cluster has {found:g}: see [executor.ray] gpus")
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        """Run one trial to its end; see `graph.executors.Executor`."""
        if order.kept is not None:
            raise RunError("a stored training is used on this machine, not on Ray")
        from ray.exceptions import RayError

        sha, rows = self._bundle(order.locked)
        errand = Errand(order, order.train_py.read_text(encoding="utf-8"), sha, self._code)
        order.folder.mkdir(parents=True, exist_ok=True)
        cpus = order.n_threads if self._settings.cpus is None else self._settings.cpus
        actor = (
            self._ray.remote(Holder)
            .options(num_cpus=cpus, num_gpus=self._gpus(), max_concurrency=2, max_restarts=0)
            .remote()
        )
        try:
            result = self._attend(actor, actor.hold.remote(errand, rows), on_phase, cancel)
        except RayError as error:
            if cancel.is_set():
                raise TrialCancelled from error
            first = str(error).strip().splitlines()[0]
            return TrialOutcome(status="lost", message=f"Ray lost the trial ({type(error).__name__}: {first})")
        finally:
            with contextlib.suppress(RayError):
                self._ray.kill(actor)
        self.n_fetched += result.fetched
        return bring_home(result, order.folder)

    def _attend(self, actor: Any, done: Any, on_phase: Callable[[Phase], None], cancel: threading.Event) -> Result:
        """Wait for the end of a trial, and hand on its phases.

        Raises:
            TrialCancelled: `cancel` was set, and the trial's processes are gone, or its actor is killed.
            RayError: The actor or its node died.
        """
        n_known, asked, until = 0, None, float("inf")
        while True:
            finished, _ = self._ray.wait([done], timeout=POLL_SECONDS)
            if asked is None:
                asked = actor.phases.remote(n_known)
            if self._ray.wait([asked], timeout=0)[0]:
                phases, asked = self._ray.get(asked), None
                n_known += len(phases)
                for phase in phases:
                    on_phase(phase)
            if finished:
                if asked is not None:
                    for phase in self._ray.get(asked):
                        on_phase(phase)
                result: Result = self._ray.get(done)
                return result
            if cancel.is_set() and until == float("inf"):
                actor.cancel.remote()
                until = time.monotonic() + END_SECONDS
            if time.monotonic() > until:
                raise TrialCancelled

    def _bundle(self, locked: Path) -> tuple[str, list[Any]]:
        """Return name and reference of a locked folder's rows, which Ray is given once; in a list it is not fetched."""
        with self._threads:
            if locked not in self._rows:
                bundle = pack(locked)
                self._rows[locked] = bundle.sha, [self._ray.put(dict(bundle.files))]
            return self._rows[locked]

    def _gpus(self) -> float:
        if self._settings.gpus is not None:
            return self._settings.gpus
        return 1.0 if self._ray.cluster_resources().get("GPU", 0.0) else 0.0

    def _local_cpus(self) -> int:
        """Return for how many cores a cluster of this machine answers: for every trial at once, whatever it takes."""
        each = self._settings.cpus or 1.0
        return max(len(os.sched_getaffinity(0)), round(each * self._workers + 0.5))


@contextlib.contextmanager
def _without_secrets() -> Iterator[None]:
    """Keep keys out of the environment while the cluster's processes start, which would hand them on."""
    held = {name: os.environ.pop(name) for name in list(os.environ) if SECRET.search(name)}
    try:
        yield
    finally:
        os.environ.update(held)
