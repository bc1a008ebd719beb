"""One trial, seen by whoever orders it: what goes in, what comes out, and the call that runs it.

The work is done by a warden, a process of its own (`evaluation_locked.warden`), so that the trial ends with its whole
process tree whatever becomes of the caller.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evaluation_locked.dataset import DataError
from evaluation_locked.task import Caps, Strict

if TYPE_CHECKING:
    from collections.abc import Callable

TrialStatus = Literal[
    "finished", "crashed", "overtime", "memory", "output", "processes", "disk", "invalid", "cancelled", "lost"
]
Phase = Literal["starting", "featurising", "training", "predicting", "ending"]


class TrialCancelled(Exception):  # noqa: N818 (it is no error: somebody asked for it)
    """The caller asked to stop while a trial ran; the trial's processes are gone."""


class SandboxError(RuntimeError):
    """No trial can be held on this machine; the message says what to do."""


class TrialOrder(Strict):
    """What a warden needs to know to run one trial.

    Attributes:
        train_py: The file to run.
        locked: Folder of the prepared task, see `evaluation_locked.prepare`; closed to the trial.
        folder: Where `train.log` and `predictions.npy` go; closed to the trial.
        caps: Seconds, memory and output allowed.
        seed: Random seed handed to the trial.
        n_threads: CPU threads the trial may use.
        smoke: Only a few training crystals, nothing of the validation rows, and `caps` as given.
        sandboxed: Whether kernel layers hold the trial; without them its score is unsealed.
        check_batches: Whether some crystals are predicted again in other company, and must get the same prediction.
        permute_labels: Train on labels in random order: the control that must score no better than a constant.
        device: The GPUs that the trial sees, as CUDA_VISIBLE_DEVICES names them; those of the caller where None.
        kept: Arrays that an earlier trial of the same file handed back: it predicts from them and is not trained.
        keeps: Whether arrays that the file hands back are stored, as `kept.npz` beside its predictions.
    """

    train_py: Path
    locked: Path
    folder: Path
    caps: Caps
    seed: int = 0
    n_threads: int = 1
    smoke: bool = False
    sandboxed: bool = True
    check_batches: bool = False
    permute_labels: bool = False
    device: str | None = None
    kept: Path | None = None
    keeps: bool = False


class TrialOutcome(Strict):
    """What became of a trial.

    Attributes:
        status: `finished` where predictions lie in the trial's folder; else what ended it.
        message: One sentence: what happened, with the figures, and the mend.
        featurise_seconds: From the start of the process to `start_training()`.
        train_seconds: Between `start_training()` and `finish_training()`, on the judge's clock.
        predict_seconds: From there to the submission.
        peak_memory_gib: Largest resident memory of the whole process tree seen.
        layers: Kernel layers that held the trial.
    """

    status: TrialStatus
    message: str
    featurise_seconds: float = 0.0
    train_seconds: float = 0.0
    predict_seconds: float = 0.0
    peak_memory_gib: float = 0.0
    layers: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Wall time of all three phases."""
        return self.featurise_seconds + self.train_seconds + self.predict_seconds


def run_trial(
    order: TrialOrder,
    on_phase: Callable[[Phase], None] = lambda phase: None,
    cancel: threading.Event | None = None,
) -> TrialOutcome:
    """Run one trial to its end and return what became of it.

    Args:
        order: What to run, on what, within which caps.
        on_phase: Called as the trial enters each phase.
        cancel: When set, the trial is ended and `TrialCancelled` raised.

    Raises:
        TrialCancelled: `cancel` was set.
        SandboxError: The kernel offers no layer to hold a trial, and `order.sandboxed` asks for one.
        OSError: Disk or machine failed, such as a full disk, which says nothing of the file.
        DataError: `order.locked` is no prepared task.
    """
    order.folder.mkdir(parents=True, exist_ok=True)
    warden = subprocess.Popen(
        # It is told everything in the order; the folder is there for whoever looks for what a killed run left.
        [sys.executable, "-P", "-m", "evaluation_locked.warden", str(order.folder.resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C in the terminal is for us; the warden hears of it through its lifeline
        env=None,
    )
    assert warden.stdin is not None and warden.stdout is not None
    result: dict[str, Any] | None = None
    done = threading.Event()

    def cut_lifeline_when_cancelled() -> None:
        while not done.wait(0.1):
            if cancel is not None and cancel.is_set():
                warden.stdin.close()  # type: ignore[union-attr]
                return

    watcher = threading.Thread(target=cut_lifeline_when_cancelled, daemon=True)
    try:
        warden.stdin.write(order.model_dump_json() + "\n")
        warden.stdin.flush()
        watcher.start()
        for line in warden.stdout:
            event = json.loads(line)
            if event["event"] == "phase":
                on_phase(event["phase"])
            else:
                result = event
    finally:
        done.set()
        if watcher.is_alive():
            watcher.join()
        if not warden.stdin.closed:
            warden.stdin.close()  # the warden ends what is left and leaves
        warden.stdout.close()
        code = warden.wait()
    if result is None:
        words = f"the warden of the trial ended with code {code} and no word of it"
        result = {"event": "outcome", "status": "lost", "message": words}
    event = result.pop("event")
    if event == "refused":
        raise SandboxError(result["message"])
    if cancel is not None and cancel.is_set() and result.get("status", "lost") in ("lost", "cancelled"):
        raise TrialCancelled  # a trial that ended by itself just before is an outcome all the same
    if event == "failed":
        raise OSError(*result["what"])
    if event == "unprepared":
        raise DataError(result["message"])
    return TrialOutcome.model_validate(result)
