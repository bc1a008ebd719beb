"""Trials on this machine: the conformance suite, and who gets which GPU."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from graph.errors import RunError
from graph.executors import Executor, open_executor
from graph.executors.local import LocalExecutor
from graph.executors.settings import ExecutorSettings
from tests.evaluation_locked.test_trial import processes_with
from tests.graph.executors.conformance import SUBMITS, Bench, Conformance

if TYPE_CHECKING:
    from collections.abc import Callable


class TestLocal(Conformance):
    @pytest.fixture
    def executor(self) -> Executor:
        return LocalExecutor(workers=2)

    @pytest.fixture
    def strike(self, tmp_path: Path) -> Callable[[str], None]:
        return self.kill_warden_in(tmp_path / "trial")

    @staticmethod
    def kill_warden_in(place: Path) -> Callable[[str], None]:
        def kill(mark: str) -> None:
            for pid in processes_with(str(place)):
                with contextlib.suppress(OSError):
                    if b"evaluation_locked.warden" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)

        return kill

    def test_each_of_several_workers_has_a_gpu_of_its_own(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
        bench.executor = LocalExecutor(workers=2)
        text = "import os; print('GPU', os.environ['CUDA_VISIBLE_DEVICES']); raise SystemExit"
        for name in ("a", "b"):
            bench.run(text, name)
        assert [bench.words(name) for name in ("a", "b")] == [["GPU 5"], ["GPU 7"]]
        with pytest.raises(RunError, match="3 workers and 2 GPUs"):
            LocalExecutor(workers=3)
        bench.executor = LocalExecutor(workers=1)
        bench.run(text, "alone")
        assert bench.words("alone") == ["GPU 5,7"]

    def test_a_third_trial_waits_for_a_worker_and_hears_a_stop(self, bench: Bench) -> None:
        from evaluation_locked.trial import TrialCancelled

        bench.executor = LocalExecutor(workers=1)
        began, done = threading.Event(), threading.Event()

        def first() -> None:
            with pytest.raises(TrialCancelled):
                bench.executor.run(
                    bench.order("import time; time.sleep(600)", "first"), lambda phase: began.set(), done
                )

        thread = threading.Thread(target=first)
        thread.start()
        assert began.wait(60)
        threading.Timer(0.5, bench.cancel.set).start()
        with pytest.raises(TrialCancelled):
            bench.run(SUBMITS, "second")
        assert not (bench.place / "second/train.log").exists(), "it never began"
        done.set()
        thread.join()


def test_a_run_opens_what_its_settings_name() -> None:
    with open_executor(ExecutorSettings(), workers=3, n_threads=1) as executor:
        assert isinstance(executor, LocalExecutor)
