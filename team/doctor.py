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

from evaluation_locked import layers, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("team", "graph", "memory", "crystal_seed", "evaluation_locked")
LIBRARIES = ("torch", "torch-geometric", "langgraph", "langchain-openai", "chromadb", "pymatgen", "networkx")
MARKS = {"ok": "[green]ok[/green]  ", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}
ROOM_GIB = 2.0


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
    yield from _sandbox()
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


def _sandbox() -> Iterator[Check]:
    """Tell which layers this machine's kernel grants, what each missing one costs, and whether scores are sealed."""
    if not sandbox.landlock_abi():
        yield Check("sandbox", "fail", sandbox.NO_LAYER)
        return
    try:
        held = sandbox.try_layers()
    except OSError as error:
        yield Check("sandbox", "fail", f"{error}; no trial can run")
        return
    for layer in layers.LAYERS:
        found = [one for one in held if one.startswith(layer.reports)]
        missing = [name for name in layer.reports if not any(one.startswith(name) for one in found)]
        state: Literal["ok", "warn"] = "warn" if missing else "ok"
        mend = f"; missing: {', '.join(missing)} (needs {layer.needs})" if missing else ""
        yield Check(f"sandbox: {layer.name}", state, (", ".join(found) or "none") + mend)
    lost = layers.lost(held)
    if not layers.seals(held):
        yield Check("sandbox: scores", "warn", f"unsealed, since these layers do not hold: {'; '.join(lost)}")
    elif lost:
        yield Check("sandbox: scores", "warn", f"sealed; not held here: {'; '.join(lost)}")
    else:
        yield Check("sandbox: scores", "ok", f"sealed; all {len(layers.PROMISES)} promises are held")


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
