"""Trials on this machine keep the promises of every executor, and each has a GPU of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from graph.executors import local
from graph.executors.local import LocalExecutor, visible_devices
from graph.run_folder import RunError
from tests.graph.executors.conformance import HONEST, Conformance, locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evaluation_locked.trial import TrialOrder

__all__ = ["locked"]


class TestLocal(Conformance):
    @pytest.fixture
    def executor(self) -> LocalExecutor:
        return LocalExecutor(2)

    def test_each_worker_has_a_device_of_its_own(
        self, order: Callable[..., TrialOrder], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import threading

        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b")
        executor = LocalExecutor(2)
        shows = HONEST.replace(
            "    rng =", "    import os\n\n    print('GPU', os.environ['CUDA_VISIBLE_DEVICES'])\n    rng =", 1
        )
        barrier = threading.Barrier(2)
        orders = [order(shows, name) for name in "ab"]

        def run(asked: TrialOrder) -> None:
            executor.run(asked, lambda phase: barrier.wait(60) and None if phase == "training" else None, cancel)

        cancel = threading.Event()
        threads = [threading.Thread(target=run, args=(asked,)) for asked in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen = {(asked.folder / "train.log").read_text().strip() for asked in orders}
        assert seen == {"GPU GPU-a", "GPU GPU-b"}


def test_more_workers_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl"):
        (tmp_path / name).touch()
    monkeypatch.setattr(local, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == ["0", "1", "10"]
    with pytest.raises(RunError, match=r"4 workers, and this machine shows 3 GPUs \(0, 1, 10\).*--workers 3"):
        LocalExecutor(4)
