"""What every executor promises, tried on one that is given: each lane subclasses `Conformance` with its own."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from evaluation_locked import tight_binding
from evaluation_locked.prepare import prepare
from evaluation_locked.task import Caps, load_task
from evaluation_locked.trial import TrialCancelled, TrialOrder, TrialOutcome
from tests.conftest import TINY_SEED

if TYPE_CHECKING:
    from collections.abc import Callable

    from evaluation_locked.trial import Phase
    from graph.executors import Executor

CAPS = Caps(featurise_seconds=60, train_seconds=20, predict_seconds=20, memory_gib=1.5, log_mib=1)
HONEST = (TINY_SEED / "train.py").read_text()
SLEEP = HONEST.replace("    rng =", "    import time\n\n    time.sleep({seconds})\n    rng =", 1)
LEAVES_CHILDREN = HONEST.replace(
    "    rng =",
    "    import subprocess, sys, time\n\n"
    "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "    time.sleep(600)\n    rng =",
    1,
)
LOOKS_AROUND = HONEST.replace(
    "    rng =",
    "    import os\n\n"
    "    print('NAMES', sorted(n for n in os.environ if 'KEY' in n or 'TOKEN' in n))\n"
    "    for root in {roots!r}:\n"
    "        try:\n            print('SEES', os.listdir(root))\n"
    "        except OSError as error:\n            print('HELD', type(error).__name__)\n    rng =",
    1,
)
FILLS_MEMORY = HONEST.replace("    rng =", "    held = [bytearray(1 << 27) for _ in range(40)]\n    rng =", 1)


def processes_of(mark: str) -> list[int]:
    """Return the living processes that hold `mark` in command line or environment, this one left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            except OSError:
                continue
            if mark.encode() in text and alive:
                found.append(int(entry.name))
    return found


def trial_processes() -> list[int]:
    """Return the living processes of trials, wardens among them."""
    return processes_of("evaluation_locked.warden") + processes_of("scratch-")


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The locked folder of a task of 400 crystals."""
    place = tmp_path_factory.mktemp("task") / "locked"
    prepare(load_task(TINY_SEED), tight_binding.load(), place, 400)
    return place


class Conformance:
    """Subclasses give `executor`; they may share it among tests."""

    patience_seconds = 60.0

    @pytest.fixture
    def order(self, locked: Path, tmp_path: Path) -> Callable[..., TrialOrder]:
        def make(text: str = HONEST, name: str = "trial", **changes: Any) -> TrialOrder:
            folder = tmp_path / "trials" / name
            folder.mkdir(parents=True)
            (folder / "train.py").write_text(text)
            caps = CAPS.model_copy(update=changes)
            return TrialOrder(train_py=folder / "train.py", locked=locked, folder=folder, caps=caps, seed=7)

        return make

    def test_a_trial_finishes_with_a_prediction_for_each_crystal(
        self, executor: Executor, order: Callable[..., TrialOrder], locked: Path
    ) -> None:
        phases: list[Phase] = []
        asked = order()
        outcome = executor.run(asked, phases.append, threading.Event())
        assert outcome.status == "finished", outcome.message
        assert outcome.layers, "the sandbox held it"
        assert np.load(asked.folder / "predictions.npy").shape == np.load(locked / "validation_labels.npy").shape
        wanted = ["featurising", "training", "predicting"]
        assert [phase for phase in phases if phase in wanted] == wanted

    def test_what_ends_a_trial_is_an_outcome_with_its_log(
        self, executor: Executor, order: Callable[..., TrialOrder]
    ) -> None:
        asked = order(HONEST.replace("    rng =", "    print('last words')\n    raise ValueError\n    rng =", 1))
        assert executor.run(asked, lambda phase: None, threading.Event()).status == "crashed"
        assert "last words" in (asked.folder / "train.log").read_text()
        assert not (asked.folder / "predictions.npy").exists()
        late = order(SLEEP.format(seconds=30), "late", train_seconds=1.0)
        assert executor.run(late, lambda phase: None, threading.Event()).status == "overtime"
        fat = order(FILLS_MEMORY, "fat")
        assert executor.run(fat, lambda phase: None, threading.Event()).status in ("memory", "crashed")

    def test_a_trial_sees_neither_labels_nor_keys(
        self,
        executor: Executor,
        order: Callable[..., TrialOrder],
        locked: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-trials")
        roots = [str(locked), str(locked.parent), str(Path.home()), "/tmp"]
        asked = order(LOOKS_AROUND.replace("{roots!r}", repr(roots)))
        outcome = executor.run(asked, lambda phase: None, threading.Event())
        log = (asked.folder / "train.log").read_text()
        assert outcome.status == "finished", log
        assert "NAMES []" in log
        assert log.count("HELD") == len(roots) and "SEES" not in log

    def test_a_cancelled_trial_is_gone_with_all_its_processes(
        self, executor: Executor, order: Callable[..., TrialOrder]
    ) -> None:
        cancel, training = threading.Event(), threading.Event()
        ended: list[object] = []

        def run() -> None:
            try:
                ended.append(executor.run(order(LEAVES_CHILDREN), tell, cancel))
            except TrialCancelled as error:
                ended.append(error)

        def tell(phase: Phase) -> None:
            if phase == "training":
                training.set()

        thread = threading.Thread(target=run)
        thread.start()
        assert training.wait(self.patience_seconds)
        assert trial_processes()
        cancel.set()
        thread.join(self.patience_seconds)
        assert isinstance(ended[0], TrialCancelled)
        assert not trial_processes()

    def test_several_trials_run_at_once(self, executor: Executor, order: Callable[..., TrialOrder]) -> None:
        spans: dict[str, list[float]] = {"a": [], "b": []}

        def run(name: str) -> TrialOutcome:
            asked = order(SLEEP.format(seconds=4), name)
            return executor.run(asked, lambda phase: spans[name].append(time.monotonic()), threading.Event())

        threads = [threading.Thread(target=run, args=(name,)) for name in spans]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (a, b) = spans.values()
        assert max(a[0], b[0]) < min(a[-1], b[-1])
