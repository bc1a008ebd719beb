"""What is evaluated or used for predicting: one trial's file, or several whose predictions are combined.

It owns the form of `ensemble.json` in a run's folder, which `team ensemble` writes and others read.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import ValidationError

from evaluation_locked.ensemble import Rule
from evaluation_locked.task import Strict, explain
from graph.errors import RunError
from graph.run_folder import code_sha, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from graph.run_folder import RunFolder

SEED_STEP = 1009  # between members, so that the same file twice is two trainings


class Member(Strict):
    """One training of an ensemble.

    Attributes:
        trial: Whose file is trained.
        code_sha: sha256 of that file.
        weight: How often it counts.
    """

    trial: int
    code_sha: str
    weight: int = 1


class Recipe(Strict):
    """One training, or several whose predictions are combined by `rule`."""

    members: tuple[Member, ...]
    rule: Rule = "mean"

    @property
    def single(self) -> bool:
        """Whether there is nothing to combine."""
        return len(self.members) == 1

    @property
    def sha(self) -> str:
        """sha256 of what is trained: the file's own where there is one."""
        if self.single:
            return self.members[0].code_sha
        told = self.rule + "".join(f" {member.code_sha} {member.weight}" for member in self.members)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def name(self) -> str:
        """What a person calls it."""
        if self.single:
            return f"trial {self.members[0].trial}"
        weights = [f"{m.trial}{f' (x{m.weight})' if m.weight > 1 else ''}" for m in self.members]
        return f"{self.rule} of trials {', '.join(weights)}"

    @property
    def slug(self) -> str:
        """The beginning of a folder's name."""
        first = self.members[0]
        return f"{first.trial:04d}-{self.sha[:8]}" if self.single else f"ensemble-{self.sha[:8]}"

    def seeds(self, seed: int) -> tuple[int, ...]:
        """Return the random seed of each member's training."""
        return tuple(seed + SEED_STEP * at for at in range(len(self.members)))


def recipe_of(folder: RunFolder, number: int) -> Recipe:
    """Return the recipe of one trial.

    Raises:
        RunError: There is no such trial.
    """
    return Recipe(members=(Member(trial=number, code_sha=code_sha(folder.trial(number))),))


def ensemble_file(folder: RunFolder) -> Path:
    """Return where `team ensemble` leaves what it chose."""
    return folder.path / "ensemble.json"


def write_ensemble(folder: RunFolder, recipe: Recipe) -> None:
    """Keep an ensemble as that of the run."""
    write_atomically(ensemble_file(folder), recipe.model_dump_json(indent=1) + "\n")


def read_ensemble(folder: RunFolder) -> Recipe:
    """Return the ensemble of a run.

    Raises:
        RunError: None was chosen, or a file that it names is another now.
    """
    path = ensemble_file(folder)
    if not path.exists():
        raise RunError(f"run {folder.name} has no ensemble yet: `team ensemble {folder.name}` chooses one")
    try:
        recipe = Recipe.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise RunError(f"{path}: {explain(error)}; choose anew with `team ensemble {folder.name}`") from error
    for member in recipe.members:
        if code_sha(folder.trial(member.trial)) != member.code_sha:
            raise RunError(
                f"the file of trial {member.trial} is not the one that the ensemble was chosen with: "
                f"`team verify {folder.name}` names what differs"
            )
    return recipe
