"""What every executor must do, whatever the place: real trials, real processes, real deaths.

A place passes by a subclass of `Conformance` with two fixtures: `executor`, which runs at least two trials at once, and
`strike`, which kills what holds a trial (its warden, its node, its job) and is given the trial's mark.
"""

from __future__ import annotations

import os
import textwrap
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.dataset import Dataset
from evaluation_locked.prepare import prepare
from evaluation_locked.task import Caps, TaskSpec
from evaluation_locked.trial import TrialCancelled, TrialOrder, TrialOutcome
from graph.run_folder import last_words
from tests.evaluation_locked.conftest import CAPS, cubic_crystals
from tests.evaluation_locked.test_trial import processes_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evaluation_locked.trial import Phase
    from graph.executors import Executor

PHASES = ["starting", "featurising", "training", "predicting", "ending"]
KEY_NAME, KEY = "SOME_SERVICE_API_KEY", "a-key-that-nobody-may-read"
PATIENCE_SECONDS = 90.0  # to start on a busy machine
GONE_SECONDS = 15.0  # for processes of a trial that was killed; of one that was cancelled none is left

SUBMITS = """
    import numpy as np
    from evaluation_locked.client import Task
    task = Task.open()
    task.start_training()
    crystals = task.finish_training()
    task.submit(crystals.lattice_parameters[:, 0])   # unique to each crystal
"""
# It trains until it is ended, with a child that would outlive it.
STAYS = """
    import signal, subprocess, sys, time
    from evaluation_locked.client import Task
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    task = Task.open()
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "MARK"], start_new_session=True)
    task.start_training()
    while True: time.sleep(0.1)
"""


@dataclass
class Bench:
    """Orders of trials on one small prepared task, and what was heard of each.

    Attributes:
        place: A folder for the trials.
        locked: The prepared task.
        executor: Under test.
        mark: In the command line of a child that `STAYS` starts.
    """

    place: Path
    locked: Path
    executor: Executor
    mark: str = field(default_factory=lambda: f"mark-{uuid.uuid4().hex}")
    cancel: threading.Event = field(default_factory=threading.Event)

    def order(self, text: str, name: str = "trial", caps: Caps = CAPS, **more: object) -> TrialOrder:
        folder = self.place / name
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(textwrap.dedent(text).replace("MARK", self.mark))
        return TrialOrder(train_py=folder / "train.py", locked=self.locked, folder=folder, caps=caps, seed=7, **more)

    def run(
        self, text: str, name: str = "trial", on_phase: Callable[[Phase], None] = lambda phase: None, **caps: float
    ) -> TrialOutcome:
        order = self.order(text, name, CAPS.model_copy(update=caps))
        return self.executor.run(order, on_phase, self.cancel)

    def words(self, name: str = "trial") -> list[str]:
        return last_words(self.place / name)


def prepare_task(place: Path) -> Path:
    """Prepare a small task in `place`, and return its locked folder."""
    spec = TaskSpec(name="test", title="A test", target="gap_ev", unit="eV", source="tight-binding", caps=CAPS)
    prepare(spec, Dataset("cubes", cubic_crystals(600), np.arange(600) % 60 / 10, "made for a test"), place / "locked")
    return place / "locked"


class Conformance:
    """The suite; see the module."""

    @pytest.fixture(scope="class")
    def locked(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return prepare_task(tmp_path_factory.mktemp("task"))

    @pytest.fixture
    def bench(self, tmp_path: Path, locked: Path, executor: Executor) -> Bench:
        return Bench(tmp_path, locked, executor)

    def test_predictions_come_home_in_the_order_of_the_rows_and_phases_in_theirs(self, bench: Bench) -> None:
        heard: list[Phase] = []
        outcome = bench.run(SUBMITS, on_phase=heard.append)
        assert outcome.status == "finished", outcome.message
        assert heard == PHASES
        assert any(layer.startswith("landlock") for layer in outcome.layers), "held as a trial of this machine is"
        assert outcome.featurise_seconds > 0
        with np.load(bench.locked / "validation.npz") as file:
            np.testing.assert_array_equal(
                np.load(bench.place / "trial/predictions.npy"), file["lattice_parameters"][:, 0]
            )
        assert sorted(path.name for path in (bench.place / "trial").iterdir()) == [
            "predictions.npy",
            "train.log",
            "train.py",
        ]

    def test_a_crash_is_an_outcome_with_its_last_words(self, bench: Bench) -> None:
        outcome = bench.run("print('so far'); raise ValueError('no such axis')")
        assert (outcome.status, "code 1" in outcome.message) == ("crashed", True)
        assert bench.words()[-1] == "ValueError: no such axis"
        assert not (bench.place / "trial/predictions.npy").exists()

    def test_the_caps_hold_there(self, bench: Bench) -> None:
        outcome = bench.run(STAYS, train_seconds=1)
        assert (outcome.status, "train took over 1 s" in outcome.message) == ("overtime", True)
        assert processes_with(bench.mark) == []
        outcome = bench.run(
            """
            import time
            held = bytearray(400 << 20); held[::4096] = b"x" * len(held[::4096]); time.sleep(60)
            """,
            "large",
            memory_gib=0.25,
        )
        assert (outcome.status, "0.25 GiB are allowed" in outcome.message) == ("memory", True)

    def test_a_smoke_trial_and_kept_arrays_travel(self, bench: Bench) -> None:
        text = """
            import numpy as np
            from evaluation_locked.client import Task
            task = Task.open()
            if task.kept is None:
                labels = task.start_training()
                value = np.array([float(len(labels))])
                task.keep({"value": value})
            else:
                value = task.kept["value"]
            task.predict(lambda crystals: np.full(len(crystals), value[0]))
        """
        order = bench.order(text, keeps=True, smoke=True)
        outcome = bench.executor.run(order, lambda phase: None, bench.cancel)
        assert outcome.status == "finished", outcome.message
        assert (bench.place / "trial/kept.npz").exists()
        again = bench.order(text, "again", kept=bench.place / "trial/kept.npz")
        outcome = bench.executor.run(again, lambda phase: None, bench.cancel)
        assert outcome.status == "finished", outcome.message
        assert set(np.load(bench.place / "again/predictions.npy")) == {48.0}, "a smoke trial is given 48 crystals"

    def test_neither_labels_nor_keys_nor_the_bundle_are_seen(self, bench: Bench) -> None:
        assert os.environ[KEY_NAME] == KEY, "the place under test was opened with a key in the environment"
        files = [str(bench.locked / name) for name in ("validation_labels.npy", "train.npz", "facts.json")]
        outcome = bench.run(
            f"""
            import glob, os, tempfile
            def readable(path):
                try: return bool(open(path, "rb").read(1))
                except OSError: return False
            shown = {{path: readable(path) for path in {files!r}}}
            for name in ("/proc/self/environ", f"/proc/{{os.getppid()}}/environ"):
                try: shown[name] = {KEY!r} in open(name).read()
                except OSError: shown[name] = False
            shown["environment"] = {KEY_NAME!r} in os.environ
            for name in ("/tmp", "/var/tmp", "/root", "/home", "/run"):
                try: shown[name] = bool(os.listdir(name))
                except OSError: shown[name] = False
            print("seen", sorted(name for name, seen in shown.items() if seen))
            raise SystemExit
            """
        )
        assert outcome.status == "invalid", outcome.message
        assert bench.words() == ["seen []"]

    def test_two_trials_are_held_at_once_and_cancelling_leaves_no_process(self, bench: Bench) -> None:
        both = threading.Barrier(2)

        def run(name: str) -> str:
            def on_phase(phase: Phase) -> None:
                if phase == "training":  # neither ends by itself, so they meet only where they overlap
                    both.wait(PATIENCE_SECONDS)
                    assert len(processes_with(bench.mark)) >= 1
                    bench.cancel.set()

            with pytest.raises(TrialCancelled):
                bench.run(STAYS, name, on_phase, train_seconds=500)
            return name

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(run, ("one", "two"))) == ["one", "two"]
        assert processes_with(bench.mark) == []

    def test_the_death_of_what_holds_a_trial_is_an_outcome(self, bench: Bench, strike: Callable[[str], None]) -> None:
        struck: list[threading.Thread] = []

        def on_phase(phase: Phase) -> None:
            if phase == "training":
                struck.append(threading.Thread(target=strike, args=(bench.mark,)))
                struck[-1].start()

        outcome = bench.run(STAYS, on_phase=on_phase, train_seconds=500)
        struck[0].join()
        assert outcome.status == "lost", outcome.message
        assert len(outcome.message) > 10
        until = time.monotonic() + GONE_SECONDS
        while processes_with(bench.mark) and time.monotonic() < until:
            time.sleep(0.1)
        assert processes_with(bench.mark) == []
        assert bench.run(SUBMITS, "next").status == "finished", "the executor goes on"
