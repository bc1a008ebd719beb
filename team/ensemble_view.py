"""`team ensemble`: what was chosen, what it gains, and what the same budget buys otherwise."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from graph.ensemble import choose_ensemble
from graph.judging import seed_noise
from graph.run_folder import read_history
from team.summary import open_console

if TYPE_CHECKING:
    from evaluation_locked.ensemble import Gain, Rule
    from graph.ensemble import Choice
    from graph.run_folder import RunConfig, RunFolder
    from memory.history import History


def print_ensemble(
    folder: RunFolder,
    size: int,
    rule: Rule | None,
    penalty: float | None,
    *,
    repeats: bool,
    equal_budget: bool,
    as_json: bool,
) -> int:
    """Choose the run's ensemble and print what it is worth.

    Raises:
        RunError, ScoringError: There is nothing to choose from, or a comparison did not come to its end.
    """
    config, history = folder.read_config(), read_history(folder)
    choice = choose_ensemble(
        folder,
        config,
        history,
        size=size,
        rule=rule,
        repeats=repeats,
        penalty=penalty,
        equal_budget=equal_budget,
        on_phase=lambda what, phase: print(f"  {what} {phase}", file=sys.stderr, flush=True),
    )
    if as_json:
        print(json.dumps(_facts(choice, history), indent=1))
        return 0
    console = open_console()
    for label, text in _lines(folder, config, history, choice):
        console.print(f"  [dim]{label:<14}[/dim]{text}")
    return 0


def _facts(choice: Choice, history: History) -> dict[str, Any]:
    return {
        "members": [m.model_dump(mode="json") for m in choice.recipe.members],
        "rule": choice.recipe.rule,
        "candidates": choice.candidates,
        "champion": choice.champion,
        "train_seconds_each": choice.train_seconds,
        "train_seconds_total": choice.train_seconds * len(choice.recipe.members),
        "seed_noise": seed_noise(history),
        "worth": choice.chosen.model_dump(mode="json"),
    }


def _lines(folder: RunFolder, config: RunConfig, history: History, choice: Choice) -> list[tuple[str, str]]:
    chosen, recipe = choice.chosen, choice.recipe
    unit = f" {config.task.unit}" if config.task.score_metric.has_unit and config.task.unit else ""
    n_members = len(recipe.members)
    lines = [
        (
            "ensemble",
            f"{recipe.name}, of {choice.candidates} trainings; {n_members} x {choice.train_seconds:g} s of training",
        ),
        (
            config.task.metric,
            f"[bold]{chosen.score:.4f}{unit}[/bold] on search-validation; trial {choice.champion}, the champion, has "
            f"{chosen.champion_score:.4f} with one training",
        ),
        ("chosen on it", f"gain {_gain(chosen.gain)} on the rows that chose it, which flatters it"),
        (
            "honest",
            f"gain {_gain(chosen.honest)} on rows that did not: chosen on half of the formulas, judged on the other",
        ),
        (
            "fair",
            f"gain {_gain(chosen.fair)} there over the best single training, chosen on that half as well",
        ),
        (
            "of that choice",
            f"{chosen.gain.value - chosen.honest.value:+.4f} is flattery; a choice on half of the rows has "
            f"{chosen.same_members:.0%} of its members in common with this one",
        ),
    ]
    for name, value, gain, honest in chosen.rivals:
        lines.append(
            ("same budget" if "of this run" not in name else "other budget", f"{name}: {value:.4f}; the ensemble")
        )
        lines.append(("", f"gains {_gain(gain)} over it, honestly {_gain(honest)}"))
    lines.append(("noise", f"intervals draw formulas; the score of one training varies by {seed_noise(history):.4f}"))
    for at, member in enumerate(recipe.members):
        trial = history.trials[member.trial]
        score = trial.score.value if trial.score is not None else float("nan")
        row = " ".join(f"{value:5.2f}" for value in chosen.correlations[at])
        title = escape(trial.idea.title[:60])
        lines.append(("members" if not at else "", f"{member.trial:>4} {score:.4f} {row}  {title}"))
    lines.append(("", "columns: trial, score, correlation of absolute errors between members"))
    if n_members > 1:
        lines.append(
            ("next", f"team evaluate {folder.name} --ensemble --folds all; team predict {folder.name} FILE...")
        )
    else:
        lines.append(("", "no second member paid for its crowding: the best single training is the ensemble"))
    return lines


def _gain(gain: Gain) -> str:
    return f"{gain.value:+.4f} \\[{gain.low:+.4f}, {gain.high:+.4f}]"
