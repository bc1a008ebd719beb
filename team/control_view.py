"""`team control`: the label-permuted control of a trial, told in a line."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from graph.control import ALLOWED_Z, run_control
from graph.errors import RunError
from graph.run_folder import read_history
from team.summary import open_console

if TYPE_CHECKING:
    from graph.run_folder import RunFolder


def print_control(folder: RunFolder, number: int | None, *, as_json: bool) -> int:
    """Run the control of a trial, of the champion where none is named; return 1 where it leaks, else 0.

    Raises:
        RunError: There is nothing to control, or the control did not finish.
    """
    config, history = folder.read_config(), read_history(folder)
    if number is None:
        if history.champion is None:
            raise RunError(f"run {folder.name} has no champion yet: name a trial, or let it run first")
        number = history.champion.number
    result = run_control(folder, config, number)
    if as_json:
        print(json.dumps(asdict(result), indent=1))
        return int(result.leaks)
    unit = f" {config.task.unit}" if config.task.score_metric.has_unit else ""
    figures = f"{result.gain:+.4f}{unit} over the best constant, +- {result.standard_error:.4f}"
    word = (
        f"[red]leaks[/red]: it learned from labels in random order what they do not hold (over {ALLOWED_Z:g} errors)"
        if result.leaks
        else "[green]as it should be[/green]: labels in random order taught it nothing"
    )
    open_console().print(f"trial {number} on permuted labels: {figures}; {word}")
    return int(result.leaks)
