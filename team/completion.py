"""What a shell offers after Tab: names of runs, numbers of trials. Only names of folders are read, so it is instant.

`team --install-completion` makes a shell ask.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the runs whose name begins so, the one that was written to last first."""
    return [path.name for path in _runs(ctx) if path.name.startswith(incomplete)]


def complete_trial(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the trials of the run at hand whose number begins so, each with its title as its folder has it."""
    return list(_trials(ctx, incomplete))


def complete_trial_or_run(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return what fits where either a trial or a run may stand."""
    return [*_trials(ctx, incomplete), *((name, "run") for name in complete_run(ctx, incomplete))]


def _trials(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    runs = _runs(ctx)
    named = ctx.params.get("name")
    wanted = [path for path in runs if path.name == named] if named else runs[:1]
    for run in wanted:
        trials = run / "trials"
        for folder in sorted((*trials.glob("[0-9]*-*"), *trials.glob("[0-9]*xxx/[0-9]*-*"))):
            digits, _, slug = folder.name.partition("-")
            number = digits.lstrip("0") or "0"
            if number.startswith(incomplete):
                yield number, slug.replace("-", " ")


def _runs(ctx: typer.Context) -> list[Path]:
    folder = Path(ctx.params.get("runs") or os.environ.get("TEAM_RUNS") or "runs")
    found = [path.parent for path in folder.glob("*/run.toml")]
    return sorted(found, key=_last_write, reverse=True)


def _last_write(run: Path) -> float:
    try:
        return (run / "journal.jsonl").stat().st_mtime
    except OSError:
        return 0.0
