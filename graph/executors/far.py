"""The far side of a trial that runs on another machine: it holds the trial there, and hands back what came of it.

The sandbox and the caps are that machine's kernel's, applied by the same warden as here; a node whose code of the judge
is another is refused. Nothing of the environment of who asks is known here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import socket
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import evaluation_locked
from evaluation_locked.trial import SandboxError, TrialCancelled, TrialOutcome, run_trial
from graph.errors import RunError
from graph.executors.bundle import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evaluation_locked.trial import Phase, TrialOrder

RETURNED = ("train.log", "predictions.npy", "kept.npz")


@dataclass(frozen=True)
class Errand:
    """A trial on its way to another machine.

    Attributes:
        order: As it was given; its paths are those of who asks, and are replaced.
        train_py: The file to run.
        bundle: Name of the bundle that it is given.
        code: The judge's code of who asks, as `judge_code` says.
    """

    order: TrialOrder
    train_py: str
    bundle: str
    code: str


@dataclass(frozen=True)
class Result:
    """What came of a trial on another machine.

    Attributes:
        outcome: Of the trial; None where it was cancelled or refused.
        files: Of its folder, by name.
        refused: Why it cannot run there.
        fetched: Whether the node had to fetch the bundle.
        node: The machine's name.
    """

    outcome: TrialOutcome | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    refused: str = ""
    fetched: bool = False
    node: str = ""


def judge_code() -> str:
    """Return the version of the project and a sha256 over the judge's code, which both sides must share."""
    digest = hashlib.sha256()
    package = Path(evaluation_locked.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{importlib.metadata.version('crystal-research-team')} ({digest.hexdigest()[:12]})"


def hold(
    errand: Errand,
    fetch: Callable[[], Mapping[str, bytes]],
    on_phase: Callable[[Phase], None],
    cancel: threading.Event,
    cache: Path | None = None,
) -> Result:
    """Run a trial on this machine for another one, in a folder that is gone afterwards."""
    here = socket.gethostname()
    if (code := judge_code()) != errand.code:
        told = f"the judge's code on {here} is {code}, that of the run {errand.code}: install one version on both"
        return Result(refused=told, node=here)
    place = Path(tempfile.mkdtemp(prefix="trial-"))
    try:
        locked, fetched = unpack(errand.bundle, fetch, cache)
        (place / "train.py").write_text(errand.train_py, encoding="utf-8")
        order = errand.order.model_copy(
            update={"train_py": place / "train.py", "locked": locked, "folder": place / "trial", "device": None}
        )
        outcome = run_trial(order, on_phase, cancel)
        files = {name: (order.folder / name).read_bytes() for name in RETURNED if (order.folder / name).exists()}
        return Result(outcome, files, fetched=fetched, node=here)
    except TrialCancelled:
        return Result(node=here)
    except (SandboxError, RunError) as error:
        return Result(refused=f"{here}: {error}", node=here)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def bring_home(result: Result, folder: Path) -> TrialOutcome:
    """Write what a trial left into its folder here, and return what became of it.

    Raises:
        TrialCancelled: It was cancelled.
        RunError: It cannot run there.
    """
    if result.refused:
        raise RunError(result.refused)
    if result.outcome is None:
        raise TrialCancelled
    folder.mkdir(parents=True, exist_ok=True)
    for name in RETURNED:
        (folder / name).unlink(missing_ok=True)
    for name, data in result.files.items():
        if name in RETURNED:
            partial = folder / f".{name}"
            partial.write_bytes(data)
            partial.replace(folder / name)
    return result.outcome
