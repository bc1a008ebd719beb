"""A seed folder's `task.toml`: the property, its data, its split, its caps, its metric."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluation_locked.metrics import METRICS, Metric


class SeedError(ValueError):
    """A seed folder that cannot be used; the message names the file, the value found and the mend."""


class Strict(BaseModel):
    """Frozen, and an unknown key is an error: a misspelt cap must not be a default in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitSpec(Strict):
    """How the search's rows are chosen; the official test rows of `fold` are never among them."""

    n_folds: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)
    fold_seed: int = 18012019  # MatBench's own
    validation_fraction: float = Field(0.17, gt=0, lt=0.9)
    seed: int = 0

    @model_validator(mode="after")
    def _fold_exists(self) -> SplitSpec:
        if self.fold >= self.n_folds:
            raise ValueError(f"fold {self.fold} of {self.n_folds}: folds are counted from 0")
        return self


class Caps(Strict):
    """What a trial may use; enforced from outside on its whole process tree."""

    featurise_seconds: float = Field(300, gt=0)
    train_seconds: float = Field(20, gt=0)
    predict_seconds: float = Field(120, gt=0)
    memory_gib: float = Field(8, gt=0)
    log_mib: float = Field(8, gt=0)
    scratch_gib: float = Field(4, gt=0)
    processes: int = Field(64, ge=1)


class TaskSpec(Strict):
    """One property to predict, as `task.toml` describes it.

    Attributes:
        name: Short name of the task.
        title: What a person calls it.
        kind: What is predicted: a number, or the probability of class 1.
        target: Name of the label in a source.
        unit: Unit of the label.
        metric: What decides; its direction is its own.
        source: Where crystals come from, see `evaluation_locked.sources.KINDS`.
        baselines: MatBench task whose published figures are shown beside.
        set_aside_below: A score better than this is set aside until a person has read the file.
        check_batches: Whether some crystals are predicted again in other company, and must get the same prediction.
        split: How rows are chosen.
        caps: What a trial may use.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    kind: Literal["regression", "classification"] = "regression"
    target: str
    unit: str = ""
    metric: str = "mae"
    source: str
    baselines: str = ""
    set_aside_below: float | None = None
    check_batches: bool = False
    split: SplitSpec = SplitSpec()
    caps: Caps = Caps()

    @model_validator(mode="after")
    def _metric_fits(self) -> TaskSpec:
        if self.metric not in METRICS:
            close = difflib.get_close_matches(self.metric, METRICS, n=1)
            raise ValueError(
                f"metric {self.metric!r} is not known"
                + (f"; did you mean {close[0]!r}?" if close else "")
                + f" (known: {', '.join(METRICS)})"
            )
        if METRICS[self.metric].kind != self.kind:
            raise ValueError(
                f"metric {self.metric!r} belongs to {METRICS[self.metric].kind}, and kind is {self.kind!r}"
            )
        return self

    @property
    def score_metric(self) -> Metric:
        """The metric that decides."""
        return METRICS[self.metric]


def load_task(seed_folder: Path) -> TaskSpec:
    """Read and check `task.toml` of a seed folder.

    Raises:
        SeedError: The folder or a file of it is missing, or `task.toml` is broken.
    """
    if not seed_folder.is_dir():
        raise SeedError(
            f"no seed folder at {seed_folder}: give a folder with task.toml and train.py (`crystal_seed` ships)"
        )
    for name in ("task.toml", "train.py"):
        if not (seed_folder / name).is_file():
            raise SeedError(
                f"{seed_folder} has no {name}; a seed folder holds task.toml, train.py, brief.md and playbook/"
            )
    for path in (seed_folder / "train.py", seed_folder / "brief.md"):
        try:
            if path.exists():
                path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SeedError(f"{path} cannot be read as UTF-8 text: {error}") from error
    path = seed_folder / "task.toml"
    try:
        return TaskSpec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SeedError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise SeedError(f"{path}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """Return what is wrong with a file's values in one line: where, what was found, and what is due."""
    return "; ".join(_explain(dict(one)) for one in error.errors())


def _explain(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{where!r} is not a key of it; leave it out or spell it as the docs do"
    if error["type"] == "missing":
        return f"{where!r} is missing; add it"
    found = f" (found {error['input']!r})" if where else ""
    return f"{where + ': ' if where else ''}{error['msg'].removeprefix('Value error, ')}{found}"
