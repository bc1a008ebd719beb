"""`team data`: the kinds of sources, what is in one, and turning one into a table file."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from evaluation_locked.dataset import DataError, save_table
from evaluation_locked.sources import KINDS, describe, load_source
from team.running import cache_folder

if TYPE_CHECKING:
    from pathlib import Path


def print_kinds(*, as_json: bool) -> None:
    """Print what `--source` takes."""
    if as_json:
        print(json.dumps(dict(KINDS), indent=1))
        return
    console = Console(highlight=False)
    for form, what in dict(KINDS).items():
        console.print(f"[bold]{escape(form):<22}[/bold]{escape(what)}")
    console.print("\n[dim]team data show SOURCE looks into one; team run --source SOURCE searches on it[/dim]")


def print_source(source: str, target: str, *, as_json: bool) -> None:
    """Print a source in numbers."""
    begun = time.monotonic()
    dataset = load_source(source, target, cache_folder())
    seconds = time.monotonic() - begun
    summary = describe(dataset)
    if as_json:
        facts = {"name": dataset.name, "provenance": dataset.provenance, "hash": dataset.content_hash()}
        print(json.dumps(facts | {"load_seconds": round(seconds, 3)} | asdict(summary), indent=1))
        return
    atoms = ", ".join(f"{p} % at most {n:g}" for p, n in summary.atoms_percentiles)
    lines = {
        "crystals": f"{summary.n:,} with {summary.n_elements} elements, loaded in {seconds:.2f} s",
        "atoms a cell": f"{atoms}; the largest {summary.atoms_max}",
        "formulas": f"{summary.n_formulas:,}; {summary.shared_formula_share:.1%} of the crystals share theirs",
        target: f"{summary.target_min:.3f} to {summary.target_max:.3f}, median {summary.target_median:.3f}, "
        f"mean {summary.target_mean:.3f}; {summary.zero_share:.1%} exactly 0",
        "constant": f"the mean has an MAE of {summary.mean_predictor_mae:.4f}, "
        f"the median {summary.median_predictor_mae:.4f}",
    }
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(dataset.name)}[/bold]  {escape(dataset.provenance)}")
    for label, text in lines.items():
        console.print(f"  [dim]{escape(label):<14}[/dim]{escape(text)}")


def import_source(source: str, table: Path, target: str, *, skip_bad: bool) -> None:
    """Write a source as a table file.

    Raises:
        DataError, CrystalError: The source cannot be used, or `table` is no `.npz` file's name.
    """
    if table.suffix != ".npz":
        raise DataError(f"a table file ends in .npz, and {table.name!r} does not: call it {table.stem}.npz")
    dataset = load_source(source, target, cache_folder(), skip_bad=skip_bad)
    table.parent.mkdir(parents=True, exist_ok=True)
    save_table(table, dataset, target)
    print(f"{len(dataset):,} crystals written to {table}: team run --source table:{table} --target {target}")
