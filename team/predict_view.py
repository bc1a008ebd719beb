"""`team predict` and `team export`: a champion as something to use, with what it does not know."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation_locked.predicting import search_crystals
from evaluation_locked.sources.single_files import read_structures
from graph.errors import RunError
from graph.exporting import export_model
from graph.predicting import predict, predictors_of
from graph.recipe import read_ensemble, recipe_of
from graph.run_folder import read_history, write_atomically
from team.evaluate_view import chosen_trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evaluation_locked.crystals import Crystals
    from graph.predicting import Answers
    from graph.recipe import Recipe
    from graph.run_folder import RunConfig, RunFolder

COLUMNS = ("name", "formula", "atoms", "prediction", "spread", "notes")


def recipe_for(folder: RunFolder, trial: int | None, *, ensemble: bool) -> Recipe:
    """Return what a command is about: the ensemble, the trial that was named, or the champion.

    Raises:
        RunError: There is no such thing.
    """
    if ensemble and trial is not None:
        raise RunError("--ensemble and --trial exclude each other: an ensemble names its trials itself")
    return read_ensemble(folder) if ensemble else recipe_of(folder, chosen_trial(folder, read_history(folder), trial))


def print_predictions(
    folder: RunFolder,
    recipe: Recipe,
    paths: Sequence[Path],
    n_seeds: int,
    train_seconds: float | None,
    out: Path | None,
    *,
    skip_bad: bool,
    as_json: bool,
) -> int:
    """Predict structures of a user's own and print or write a table.

    Raises:
        DataError, RunError: There is nothing to predict, or no prediction came of it.
    """
    config = folder.read_config()
    names, crystals, left_out = read_structures(paths, skip_bad=skip_bad)
    predictors = predictors_of(folder, config, recipe, n_seeds, train_seconds)
    due = [one for members in predictors for one in members if not one.has_answer(crystals)]
    if due:
        _note(f"{recipe.name}: {len(due)} x {due[0].caps.train_seconds:g} s of training on all crystals of the search")
    answers = predict(predictors, recipe, crystals, lambda what, phase: _note(f"  {what} {phase}"))
    rows = table_of(names, crystals, answers, search_crystals(folder.locked))
    for reason in left_out:
        _note(f"left out: {reason}")
    if as_json:
        text = json.dumps(_facts(folder, config, recipe, rows, answers, left_out), indent=1)
    elif out is not None and out.suffix == ".json":
        text = json.dumps(rows, indent=1) + "\n"
    else:
        text = _csv(rows)
    if out is not None:
        write_atomically(out, text)
        _note(f"{len(rows)} predictions in {out}")
    else:
        print(text.rstrip("\n"))
    _note(_words(folder, config, recipe, answers))
    return 0


def print_export(
    folder: RunFolder, recipe: Recipe, target: Path, n_seeds: int, train_seconds: float | None, *, as_json: bool
) -> int:
    """Write a trial's file, its weights and its card, and say what was written.

    Raises:
        RunError: The folder is not empty, or a training did not finish.
    """
    config = folder.read_config()
    predictors = predictors_of(folder, config, recipe, n_seeds, train_seconds)
    facts = export_model(folder, config, recipe, target, predictors, lambda what, phase: _note(f"  {what} {phase}"))
    if as_json:
        print(json.dumps(facts, indent=1))
        return 0
    held = f"{len(facts['weights'])} of {facts['n_trainings']} trainings kept their weights"
    checks = [one.check for members in predictors for one in members]
    for check in checks:
        if check is not None and not check.agrees:
            held += f"; what one kept predicts otherwise ({check.why or f'by up to {check.moved:.3g}'})"
    print(f"{recipe.name} of {folder.name} in {target}: train.py, task.toml, model.json, MODEL_CARD.md; {held}")
    return 0


def table_of(names: Sequence[str], crystals: Crystals, answers: Answers, known: Crystals) -> list[dict[str, Any]]:
    """Return a row for each crystal, with notes on how far it is from what was trained on."""
    elements, largest = set(np.unique(known.atomic_numbers).tolist()), int(known.n_atoms.max())
    formulas = set(known.formula_keys().tolist())
    keys, offsets = crystals.formula_keys(), crystals.offsets
    rows = []
    for at, name in enumerate(names):
        notes = []
        strange = sorted(set(crystals.atomic_numbers[offsets[at] : offsets[at + 1]].tolist()) - elements)
        if strange:
            from evaluation_locked.crystals import SYMBOLS

            notes.append(f"never trained on {', '.join(SYMBOLS[z] for z in strange)}")
        if crystals.n_atoms[at] > largest:
            notes.append(f"larger than any of the {largest} atoms trained on")
        if int(keys[at]) in formulas:
            notes.append("formula trained on")
        spread = None if answers.spread is None else round(float(answers.spread[at]), 6)
        rows.append(
            {
                "name": name,
                "formula": crystals.formula(at),
                "atoms": int(crystals.n_atoms[at]),
                "prediction": round(float(answers.values[at]), 6),
                "spread": spread,
                "notes": "; ".join(notes),
            }
        )
    return rows


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows([row | {"spread": "" if row["spread"] is None else row["spread"]} for row in rows])
    return text.getvalue()


def _facts(
    folder: RunFolder,
    config: RunConfig,
    recipe: Recipe,
    rows: Sequence[dict[str, Any]],
    answers: Answers,
    left_out: Sequence[str],
) -> dict[str, Any]:
    return {
        "run": folder.name,
        "target": config.task.target,
        "unit": config.task.unit,
        "recipe": recipe.model_dump(mode="json"),
        "trainings": {name: [round(float(v), 6) for v in values] for name, values in answers.trainings.items()},
        "trained_now": answers.trained,
        "left_out": list(left_out),
        "predictions": list(rows),
    }


def _words(folder: RunFolder, config: RunConfig, recipe: Recipe, answers: Answers) -> str:
    unit = f" {config.task.unit}" if config.task.unit else ""
    n = len(answers.trainings)
    spread = (
        f"spread is the standard deviation between {n} trainings, which is no bound on the error"
        if n > 1
        else "one training has no spread: --seeds 3 gives one"
    )
    scores = [read_history(folder).mean_score(member.trial) for member in recipe.members]
    told = ", ".join(f"{score:.4f}" for score in scores if score is not None)
    return f"{config.task.target}{unit} by {recipe.name}; {spread}; {config.task.metric} on search-validation: {told}"


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
