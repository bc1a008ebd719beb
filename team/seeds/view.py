"""What `team seed` prints."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from evaluation_locked import sandbox
from evaluation_locked.seed_folder import shipped_seeds
from evaluation_locked.task import load_task
from evaluation_locked.trial import SandboxError
from team.plain import plain
from team.running import cache_folder
from team.seeds.checks import check_seed
from team.seeds.writing import new_seed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from team.seeds.checks import Wanted
    from team.seeds.writing import NewSeed, Wishes


def print_shipped(*, as_json: bool) -> None:
    """Print the seed folders that ship."""
    tasks = {name: load_task(path) for name, path in shipped_seeds().items()}
    if as_json:
        print(json.dumps({name: task.model_dump(mode="json") for name, task in tasks.items()}, indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    for name, task in tasks.items():
        how = f"{task.kind} by {task.metric}, on {task.source}"
        console.print(f"[bold]{escape(name):<16}[/bold]{escape(task.title)}; [dim]{escape(how)}[/dim]")
    console.print("\n[dim]team run NAME searches on one; team seed new makes one from data[/dim]")


def print_new(folder: Path, wishes: Wishes, *, as_json: bool) -> None:
    """Write a seed folder and print what was found in its data."""
    begun = time.monotonic()
    made = new_seed(folder, wishes, cache=cache_folder(), gpu=sandbox.has_gpu_devices())
    seconds = time.monotonic() - begun
    if as_json:
        facts = {"folder": str(folder), "task": made.spec.model_dump(mode="json"), "seconds": round(seconds, 3)}
        print(json.dumps(facts | {"findings": asdict(made.findings), "provenance": made.provenance}, indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(str(folder))}[/bold]  task.toml, brief.md, train.py, in {seconds:.1f} s")
    for label, text in _lines(made).items():
        console.print(f"  [dim]{label:<12}[/dim]{escape(plain(text))}")
    console.print(f"\n[dim]next: team seed check {folder} --quick; team run {folder}[/dim]")


def _lines(made: NewSeed) -> dict[str, str]:
    spec, found, s = made.spec, made.findings, made.findings.summary
    unit = f" {spec.unit}" if spec.unit else ""
    lines = {
        "data": f"{s.n:,} crystals of {s.n_formulas:,} formulas, {s.n_elements} elements, cells to {s.atoms_max} atoms",
        "labels": made.provenance,
        "task": f"{spec.kind} of {spec.target} by {spec.metric}, {spec.score_metric.better} is better",
    }
    if spec.kind == "regression":
        lines["range"] = f"{s.target_min:.4g} to {s.target_max:.4g}{unit}, median {s.target_median:.4g}; "
        lines["range"] += f"{s.zero_share:.1%} exactly 0"
    else:
        lines["range"] = f"{s.target_mean:.1%} are of class 1"
    if found.n_outliers:
        named = ", ".join(f"{formula} {value:.4g}" for formula, value in found.outliers)
        lines["outliers"] = f"{found.n_outliers} far from the rest: {named}; are they right?"
    lines["doubles"] = (
        f"{found.formula_across:.1%} of the official test rows have a formula that is trained on, "
        f"{found.structure_across:.1%} a structure; the search's own split keeps formulas apart"
    )
    split = spec.split
    lines["split"] = (
        f"cross-validation in {split.cross_validation} parts, {split.n_trainings} trainings a trial"
        if split.cross_validation
        else f"one, {split.validation_fraction:.0%} of the search's rows judge"
    )
    lines["budget"] = f"{spec.caps.train_seconds:g} s of training a trial, {spec.caps.memory_gib:g} GiB"
    return lines


def print_checks(names: Sequence[str], wanted: Wanted, *, as_json: bool) -> int:
    """Try seed folders and print what was found; return the exit code.

    Raises:
        SandboxError: No trial can be held on this machine.
    """
    if not sandbox.landlock_abi():
        raise SandboxError(sandbox.NO_LAYER)
    console = Console(highlight=False, soft_wrap=True)
    found: dict[str, list[dict[str, object]]] = {}
    for name in names or list(shipped_seeds()):
        checks = found[str(name)] = []
        if not as_json:
            console.print(f"[bold]{escape(str(name))}[/bold]")
        for check in check_seed(name, wanted):
            checks.append(asdict(check))
            if not as_json:
                word = "[green]passed[/green]" if check.passed else "[red]FAILED[/red]"
                console.print(f"  {word}  {escape(check.name):<16} {escape(plain(check.found))}")
    if as_json:
        print(json.dumps(found, indent=1))
    return 0 if all(check["passed"] for checks in found.values() for check in checks) else 1
