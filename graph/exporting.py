"""A trial's file as a folder that leaves the run: train.py, what it kept, and a card that says what it is worth.

train.py          the file (files/NNNN.py of an ensemble)
weights-*.npz     what each training kept, plain arrays (`numpy.load(..., allow_pickle=False)`); absent where none
task.toml         the task that it was searched on
model.json        every figure of the card
MODEL_CARD.md     data, budget, seal, scores, noise, and known limits
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

from evaluation_locked.crystals import MAX_ATOMIC_NUMBER, SYMBOLS
from evaluation_locked.official import OfficialScore
from evaluation_locked.predicting import search_crystals
from evaluation_locked.prepare import load_facts
from graph.errors import RunError
from graph.evaluation import FOLDERS, looks_of
from graph.judging import seed_noise
from graph.predicting import Predictor
from graph.run_folder import RunFolder, read_history, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from evaluation_locked.trial import Phase
    from graph.recipe import Recipe
    from graph.run_folder import RunConfig

N_ASKED = 16  # crystals that a training is asked about where it is made for its weights alone


def export_model(
    folder: RunFolder,
    config: RunConfig,
    recipe: Recipe,
    target: Path,
    predictors: Sequence[Sequence[Predictor]],
    on_phase: Callable[[str, Phase], None] = lambda what, phase: None,
) -> dict[str, Any]:
    """Write the folder and return what the card says.

    Args:
        folder: The run.
        config: Its configuration.
        recipe: What leaves it.
        target: The folder to write; absent or empty.
        predictors: Trainings whose weights go with it, for each seed one of each member; trained where they are not.
        on_phase: Called with what is trained and the phase that it enters.

    Raises:
        RunError: The folder holds something, or a training did not finish.
    """
    if target.exists() and any(target.iterdir()):
        raise RunError(f"{target} is not empty: name a folder that is not there yet")
    known = search_crystals(folder.locked)
    asked = known.select(np.arange(min(N_ASKED, len(known))))
    for one in (one for members in predictors for one in members):
        one.predict(asked, lambda phase, one=one: on_phase(one.place.name, phase))  # type: ignore[misc]
    target.mkdir(parents=True, exist_ok=True)
    for member in recipe.members:
        name = "train.py" if recipe.single else f"files/{member.trial:04d}.py"
        (target / name).parent.mkdir(exist_ok=True)
        write_atomically(target / name, folder.source(member.trial))
    weights = []
    for one in (one for members in predictors for one in members):
        if one.kept is not None:
            weights.append(f"weights-{one.place.name}.npz")
            shutil.copyfile(one.kept, target / weights[-1])
    write_atomically(target / "task.toml", tomli_w.dumps(config.task.model_dump(mode="json", exclude_none=True)))
    facts = _facts(folder, config, recipe, predictors, weights)
    write_atomically(target / "model.json", json.dumps(facts, indent=1) + "\n")
    write_atomically(target / "MODEL_CARD.md", card(facts))
    return facts


def card(facts: dict[str, Any]) -> str:
    """Return the model card as Markdown."""
    unit = f" {facts['unit']}" if facts["unit"] else ""
    scores = [
        f"- search-validation {facts['metric']} of trial {trial}: {value:.4f}{unit} on {facts['n_validation']:,} "
        "crystals that chose it; not an official score"
        for trial, value in facts["search_scores"].items()
        if value is not None
    ]
    scores += [
        f"- {'official' if not one['own'] else 'own (' + one['own'] + ')'} fold {one['fold']} of {one['task']}: "
        f"{one['value']:.4f}{unit} [{one['low']:.4f}, {one['high']:.4f}], {one['train_seconds']:g} s of training"
        for one in facts["fold_scores"]
    ]
    named = f" ({facts['unit']})" if facts["unit"] else ""
    held = ", ".join(facts["weights"]) or "none: the file keeps nothing, so whoever uses it trains it"
    return "\n".join(
        [
            f"# {facts['name']}",
            "",
            f"Predicts {facts['target']}{named} from a crystal structure: {facts['recipe']} of the run {facts['run']}.",
            "",
            "## Data and budget",
            f"- {facts['provenance']}; {facts['n_source']:,} crystals, sha256 {facts['data_hash'][:16]}",
            f"- trained on the {facts['n_search']:,} crystals that the search could use",
            f"- {facts['train_seconds']:g} s of training each, {facts['n_trainings']} trainings, {facts['n_threads']} "
            "CPU threads; the clock ends a training, so another machine gives another model",
            f"- weights: {held}",
            "",
            "## Scores",
            *scores,
            f"- the mean predictor has {facts['mean_predictor']:.4f}{unit} on search-validation",
            f"- one training's score varies by {facts['seed_noise']:.4f}{unit} between random seeds",
            f"- looks at official test folds by this run: {facts['looks']}",
            f"- seal of judge, task and rows: {facts['seal'][:16]}; every score sealed: {facts['sealed']}",
            "",
            "## Known limits",
            f"- elements never trained on: {', '.join(facts['unseen_elements'])}",
            f"- cells of 1 to {facts['atoms_max']} atoms were trained on; 99 % had at most {facts['atoms_99']:g}",
            f"- labels were {facts['provenance']}: what they get wrong, it learns",
            "- no estimate of its own error; the spread between trainings is no bound on it",
            "- train.py was written by a program. Run it in the sandbox: `team predict`",
            "",
        ]
    )


def _facts(
    folder: RunFolder,
    config: RunConfig,
    recipe: Recipe,
    predictors: Sequence[Sequence[Predictor]],
    weights: Sequence[str],
) -> dict[str, Any]:
    history, facts, known = read_history(folder), load_facts(folder.locked), search_crystals(folder.locked)
    seen = set(known.atomic_numbers.tolist())
    trials = [member.trial for member in recipe.members]
    flat = [one for members in predictors for one in members]
    fold_scores = _fold_scores(folder, recipe)
    return {
        "name": f"{folder.name}: {recipe.name}",
        "run": folder.name,
        "recipe": recipe.name,
        "members": [member.model_dump(mode="json") for member in recipe.members],
        "target": config.task.target,
        "unit": config.task.unit,
        "metric": config.task.metric,
        "source": config.task.source,
        "provenance": facts.provenance,
        "data_hash": facts.data_hash,
        "n_source": facts.n_source,
        "n_search": facts.n_search,
        "n_validation": facts.n_validation,
        "mean_predictor": facts.mean_predictor,
        "train_seconds": flat[0].caps.train_seconds if flat else config.task.caps.train_seconds,
        "n_trainings": len(flat),
        "n_threads": config.n_threads,
        "weights": list(weights),
        "search_scores": {str(number): history.mean_score(number) for number in trials},
        "fold_scores": fold_scores,
        "looks": len(looks_of(folder)),
        "seed_noise": seed_noise(history),
        "seal": facts.seal,
        "sealed": all(trial.score.sealed for n in trials if (trial := history.trials[n]).score is not None),
        "unseen_elements": [SYMBOLS[z] for z in range(1, MAX_ATOMIC_NUMBER + 1) if z not in seen],
        "atoms_max": int(known.n_atoms.max()),
        "atoms_99": float(np.percentile(known.n_atoms, 99)),
    }


def _fold_scores(folder: RunFolder, recipe: Recipe) -> list[dict[str, Any]]:
    """Return every score on a fold that was taken of this recipe, with whatever budget."""
    found = []
    for base in FOLDERS.values():
        for path in sorted((folder.path / base).glob(f"fold-*/{recipe.slug}-*/score.json")):
            score = OfficialScore.model_validate_json(path.read_text(encoding="utf-8"))
            found.append(
                score.model_dump(mode="json", include={"own", "fold", "task", "value", "low", "high", "sealed"})
                | {"train_seconds": score.look.subject.train_seconds, "seed": score.look.subject.seed}
            )
    return found
