"""`team doctor`: is this installation able to run, and what of the machine will a trial get?"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.markup import escape

from evaluation_locked import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("team", "graph", "memory", "crystal_seed", "evaluation_locked")
LIBRARIES = ("torch", "torch-geometric", "langgraph", "langchain-openai", "chromadb", "pymatgen", "networkx")
MARKS = {"ok": "[green]ok[/green]  ", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}
ROOM_GIB = 2.0
SCOPED_LANDLOCK = 6


@dataclass(frozen=True)
class Check:
    """One thing looked at: what, how it is, and what was found or how to mend it."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str


def checks(runs: Path) -> Iterator[Check]:
    """Look at packages, devices, sandbox and disk."""
    yield Check("python", "ok", platform.python_version())
    yield from _packages()
    for name in LIBRARIES:
        try:
            yield Check(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "fail", f"not installed: pip install {name}")
    try:
        yield Check("matbench", "ok", importlib.metadata.version("matbench"))
    except importlib.metadata.PackageNotFoundError:
        mend = "not installed, and needed only for --source matbench:TASK: pip install --no-deps matbench==0.6"
        yield Check("matbench", "warn", mend)
    yield _device()
    cores = len(os.sched_getaffinity(0))
    yield Check("cores", "ok", f"{cores}, of which a trial uses {max(1, cores - 1)} (--threads)")
    abi = sandbox.landlock_abi()
    yield _sandbox(abi)
    yield _disk(runs)


def print_checks(runs: Path, *, as_json: bool) -> int:
    """Print all checks; return 1 where one failed, else 0."""
    found = list(checks(runs))
    if as_json:
        print(json.dumps([asdict(check) for check in found], indent=1))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for check in found:
            console.print(f"{MARKS[check.state]}  {check.name:<26}{escape(check.found)}")
    return int(any(check.state == "fail" for check in found))


def _packages() -> Iterator[Check]:
    """Check that names as common as `graph` and `memory` mean our own packages, all from one place."""
    home = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            yield Check(f"package {name}", "fail", "not found: install again with pip install -e .")
            continue
        at = Path(module.__file__ or "").resolve().parent
        if at == home / name:
            yield Check(f"package {name}", "ok", str(at))
        else:
            mend = f"another distribution's {name!r} at {at} hides ours: use a virtual environment of its own"
            yield Check(f"package {name}", "fail", mend)


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("device", "ok", f"{torch.cuda.device_count()} GPU: {torch.cuda.get_device_name(0)}")
    return Check("device", "ok", "CPU only; a GPU is used where torch finds one")


def _sandbox(abi: int) -> Check:
    if not abi:
        return Check("sandbox", "fail", sandbox.NO_LAYER)
    if abi < SCOPED_LANDLOCK:
        return Check(
            "sandbox", "warn", f"Landlock {abi}; signals and abstract sockets are closed from {SCOPED_LANDLOCK} on"
        )
    return Check("sandbox", "ok", f"Landlock {abi}")


def _disk(runs: Path) -> Check:
    place = runs.resolve()
    while not place.exists():
        place = place.parent
    room = shutil.disk_usage(place).free / (1 << 30)
    if not os.access(place, os.W_OK):
        return Check("runs", "fail", f"{place} is not writable: choose another with --runs")
    if room < ROOM_GIB:
        return Check("runs", "warn", f"{room:.1f} GiB free at {place}; a run on the full task needs about {ROOM_GIB:g}")
    return Check("runs", "ok", f"{room:.0f} GiB free at {place}")
