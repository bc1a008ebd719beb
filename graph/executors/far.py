"""The two ends of a trial that runs on another machine: what is sent, what runs there, and what is brought home.

    pack_order (near)  ->  hold_trial (far)  ->  bring_home (near)

The far end runs `run_trial` in a folder of its own, so that sandbox, caps and clock hold there as here. It imports
nothing but the judge's side, and it is refused where the judge's code is another than the near side's. What travels is
the order, train.py, the bundle (`graph.executors.bundle`) and arrays that were kept; nothing of the near side's
environment does. What comes back is the outcome with the files that it speaks of; they are in the trial's folder whole
or not at all.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evaluation_locked.dataset import DataError
from evaluation_locked.judge_code import add_judge_code
from evaluation_locked.kept import KEPT_FILE
from evaluation_locked.trial import SandboxError, TrialCancelled, TrialOrder, TrialOutcome, run_trial
from evaluation_locked.whole_file import whole_file
from graph.executors.bundle import hold_bundle
from graph.executors.node import hold_folder, node_folder

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from evaluation_locked.trial import Phase
    from graph.executors.bundle import Bundle

LOG_FILE, PREDICTIONS_FILE = "train.log", "predictions.npy"
BROUGHT_HOME = (LOG_FILE, KEPT_FILE, PREDICTIONS_FILE)  # in this order: predictions are there when all is


@dataclass(frozen=True)
class Judge:
    """The judge's code of one machine: the version of the package, and a hash over the code."""

    version: str
    sha: str

    def __str__(self) -> str:
        return f"{self.version} ({self.sha[:12]})"


@dataclass(frozen=True)
class FarOrder:
    """A trial's order as data, without a path of the near side.

    Attributes:
        order: The order as JSON; its paths are not used.
        train_py: The bytes of the file to run.
        bundle: Hash of the bundle.
        judge: The near side's.
        kept: The bytes of `kept.npz` of an earlier trial, None where the order names none.
    """

    order: str
    train_py: bytes
    bundle: str
    judge: Judge
    kept: bytes | None = None


@dataclass(frozen=True)
class FarResult:
    """What a far trial came to.

    Attributes:
        node: Name of the machine.
        outcome: Of the trial, None where it was refused.
        files: Bytes of the files of `BROUGHT_HOME` that it left.
        refused: Why the node's kernel can hold no trial, or why its judge is not asked; empty where there is an
            outcome.
        why: Which of the two.
        fetched: Whether the bundle was sent, and not found on the node.
    """

    node: str
    outcome: TrialOutcome | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    refused: str = ""
    why: Literal["", "sandbox", "judge"] = ""
    fetched: bool = False


def judge_here() -> Judge:
    """Return the judge's code of this machine."""
    digest = hashlib.sha256()
    add_judge_code(digest)
    try:
        version = importlib.metadata.version("crystal-research-team")
    except importlib.metadata.PackageNotFoundError:
        version = "of a source folder"
    return Judge(version, digest.hexdigest())


def pack_order(order: TrialOrder, bundle: str) -> FarOrder:
    """Return an order as it is sent.

    Args:
        order: Of the trial.
        bundle: Hash of the bundle of `order.locked`.
    """
    return FarOrder(
        order=order.model_dump_json(),
        train_py=order.train_py.read_bytes(),
        bundle=bundle,
        judge=judge_here(),
        kept=None if order.kept is None else order.kept.read_bytes(),
    )


def hold_trial(
    far: FarOrder,
    fetch: Callable[[], Bundle],
    on_phase: Callable[[Phase], None],
    cancel: threading.Event,
    device: str | None = None,
) -> FarResult:
    """Run a trial on this machine for another; whatever goes wrong with it is in the result.

    Args:
        far: What was sent.
        fetch: Returns the bundle; called where this machine has no copy of it.
        on_phase: Called as the trial enters each phase.
        cancel: When set, the trial is ended, and its outcome is `cancelled`.
        device: The GPUs of the trial, see `TrialOrder`; those that this process sees where None.
    """
    node = socket.gethostname()
    if (judge := judge_here()) != far.judge:
        words = f"node {node} has the judge of version {judge}, and this host that of {far.judge}: install one on both"
        return FarResult(node, refused=words, why="judge")
    fetched = []

    def fetch_once() -> Bundle:
        fetched.append(True)
        return fetch()

    try:
        with hold_folder(node_folder() / "trials") as folder, hold_bundle(far.bundle, fetch_once) as locked:
            order = _unpack(far, folder, locked, device)
            try:
                outcome = run_trial(order, on_phase, cancel)
            except SandboxError as error:
                return FarResult(node, refused=f"node {node}: {error}", why="sandbox", fetched=bool(fetched))
            except TrialCancelled:
                outcome = TrialOutcome(status="cancelled", message="cancelled: whoever ran the trial stopped")
            left = {name: order.folder / name for name in BROUGHT_HOME}
            files = {name: path.read_bytes() for name, path in left.items() if path.exists()}
            return FarResult(node, outcome, files, fetched=bool(fetched))
    except (OSError, DataError) as error:
        words = f"node {node} could not hold the trial ({error})"
        return FarResult(node, TrialOutcome(status="lost", message=words), fetched=bool(fetched))


def bring_home(result: FarResult, order: TrialOrder) -> TrialOutcome:
    """Put what a far trial left into its folder, and return its outcome.

    Raises:
        SandboxError: The node's kernel offers no layer to hold a trial.
        RunError: The node's judge is of another version.
        TrialCancelled: The trial was cancelled.
        OSError: This machine's disk failed.
    """
    from graph.errors import RunError

    if result.why == "judge":
        raise RunError(result.refused)
    if result.outcome is None:
        raise SandboxError(result.refused)
    if result.outcome.status == "cancelled":
        raise TrialCancelled
    order.folder.mkdir(parents=True, exist_ok=True)
    for name in BROUGHT_HOME:
        if name in result.files:
            with whole_file(order.folder / name) as file:
                file.write(result.files[name])
        elif name == LOG_FILE:
            (order.folder / name).unlink(missing_ok=True)  # of an earlier try
    return result.outcome


def _unpack(far: FarOrder, folder: Path, locked: Path, device: str | None) -> TrialOrder:
    """Write what was sent into the trial's folder, and return the order with this machine's paths."""
    train_py, kept = folder / "train.py", None
    train_py.write_bytes(far.train_py)
    if far.kept is not None:
        kept = folder / "before.npz"
        kept.write_bytes(far.kept)
    here = {"train_py": train_py, "locked": locked, "folder": folder / "trial", "device": device, "kept": kept}
    return TrialOrder.model_validate_json(far.order).model_copy(update=here)
