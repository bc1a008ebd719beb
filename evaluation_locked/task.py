"""A seed folder's `task.toml`: the property, its data, its split, its caps, its metric."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluation_locked.metrics import METRICS, Metric
from evaluation_locked.seed_folder import METRIC_FILE, SeedError, find_seed, seed_file

FILE_SOURCES = ("cif", "json", "table")
MIN_SEARCH_ROWS = 100


class Strict(BaseModel):
    """Frozen, and an unknown key is an error: a misspelt cap must not be a default in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitSpec(Strict):
    """How the search's rows are chosen; the official test rows of `fold` are never among them.

    Attributes:
        n_folds: Official folds.
        fold: The one whose test rows are left out.
        fold_seed: Of their shuffle.
        validation_fraction: Share of the search's rows that judge; unused under cross-validation.
        seed: Of the search's own split.
        limit: Most rows of the search, evenly spaced over them; all where None.
        cross_validation: Parts that the search's rows are cut into. Each part is predicted by a training on the others,
            so that every row judges; 0 is one training, judged by `validation_fraction`.
        repeats: How often the rows are cut anew; a trial is `cross_validation * repeats` trainings.
    """

    n_folds: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)
    fold_seed: int = 18012019  # MatBench's own
    validation_fraction: float = Field(0.17, gt=0, lt=0.9)
    seed: int = 0
    limit: int | None = Field(None, ge=MIN_SEARCH_ROWS)
    cross_validation: int = Field(0, ge=0, le=20)
    repeats: int = Field(1, ge=1, le=20)

    @property
    def n_trainings(self) -> int:
        """Trainings of one trial; they share its budget."""
        return max(1, self.cross_validation) * self.repeats

    @model_validator(mode="after")
    def _parts_exist(self) -> SplitSpec:
        if self.fold >= self.n_folds:
            raise ValueError(f"fold {self.fold} of {self.n_folds}: folds are counted from 0")
        if self.cross_validation == 1:
            raise ValueError("cross_validation is 1, and one part leaves nothing to train on: 2 or more, or 0 for none")
        if self.repeats > 1 and not self.cross_validation:
            raise ValueError(f"{self.repeats} repeats of no cross-validation: set cross_validation too, such as 5")
        return self


class Caps(Strict):
    """What a trial may use, all of its trainings together; enforced from outside on its whole process tree."""

    featurise_seconds: float = Field(300, gt=0)
    train_seconds: float = Field(20, gt=0)
    predict_seconds: float = Field(120, gt=0)
    memory_gib: float = Field(8, gt=0)
    log_mib: float = Field(8, gt=0)
    scratch_gib: float = Field(4, gt=0)
    processes: int = Field(64, ge=1)


class OwnMetric(Strict):
    """A metric that `metric.py` of the seed folder computes, in the judge's processes alone.

    Attributes:
        better: Its direction, said here and nowhere else; 0 is perfect where lower is better, 1 where higher is.
        has_unit: Whether its value has the unit of the target.
    """

    better: Literal["lower", "higher"]
    has_unit: bool = False


class TaskSpec(Strict):
    """One property to predict, as `task.toml` describes it.

    Attributes:
        name: Short name of the task.
        title: What a person calls it.
        kind: What is predicted: a number, or the probability of class 1.
        target: Name of the label in a source.
        unit: Unit of the label.
        metric: What decides; its direction is its own.
        own_metric: Declares a metric that is not among `METRICS`; its name is `metric`.
        source: Where crystals come from, see `evaluation_locked.sources.KINDS`; a relative path starts at the folder.
        base: Seed folder that lends the files which this one lacks: a shipped one by name, or a path.
        leave_out: Ids or families of playbook entries that say nothing of this property.
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
    own_metric: OwnMetric | None = None
    source: str
    base: str = ""
    leave_out: tuple[str, ...] = ()
    baselines: str = ""
    set_aside_below: float | None = None
    check_batches: bool = False
    split: SplitSpec = SplitSpec()
    caps: Caps = Caps()

    @model_validator(mode="after")
    def _metric_fits(self) -> TaskSpec:
        if self.own_metric is not None:
            if self.metric in METRICS or not self.metric.isidentifier():
                raise ValueError(f"own_metric needs a name of its own: metric is {self.metric!r}, use a new word")
            return self
        if self.metric not in METRICS:
            close = difflib.get_close_matches(self.metric, METRICS, n=1)
            raise ValueError(
                f"metric {self.metric!r} is not known"
                + (f"; did you mean {close[0]!r}?" if close else "")
                + f" (known: {', '.join(METRICS)}); one of your own wants [own_metric] and {METRIC_FILE}"
            )
        if METRICS[self.metric].kind != self.kind:
            raise ValueError(
                f"metric {self.metric!r} belongs to {METRICS[self.metric].kind}, and kind is {self.kind!r}"
            )
        return self

    @property
    def score_metric(self) -> Metric:
        """The metric that decides; what one of the seed's own computes, only the judge knows (`own_metric`)."""
        if self.own_metric is not None:
            return Metric(self.metric, _ask_the_judge, self.own_metric.better, self.kind, self.own_metric.has_unit)
        return METRICS[self.metric]


def _ask_the_judge(labels: object, predictions: object) -> float:
    raise RuntimeError("a metric of the seed's own is computed by the judge: evaluation_locked.own_metric loads it")


def load_task(seed_folder: Path) -> TaskSpec:
    """Read and check `task.toml` of a seed folder.

    Raises:
        SeedError: The folder or a file of it is missing, or `task.toml` is broken.
    """
    seed_folder = find_seed(seed_folder)
    files = {name: seed_file(seed_folder, name) for name in ("train.py", "brief.md")}
    if not (seed_folder / "task.toml").is_file() or files["train.py"] is None:
        lacking = "train.py" if (seed_folder / "task.toml").is_file() else "task.toml"
        raise SeedError(
            f"{seed_folder} has no {lacking}; a seed folder holds task.toml, train.py, brief.md and playbook/, or "
            'names the folder that lends what it lacks: base = "crystal_seed" in task.toml'
        )
    for held in files.values():
        try:
            if held is not None:
                held.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SeedError(f"{held} cannot be read as UTF-8 text: {error}") from error
    path = seed_folder / "task.toml"
    try:
        spec = TaskSpec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SeedError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise SeedError(f"{path}: {explain(error)}") from error
    if spec.own_metric is not None and not (seed_folder / METRIC_FILE).is_file():
        raise SeedError(
            f"{path}: metric {spec.metric!r} is the seed's own, and there is no {seed_folder / METRIC_FILE}"
        )
    return spec.model_copy(update={"source": _from_folder(spec.source, seed_folder)})


def _from_folder(source: str, seed_folder: Path) -> str:
    """Return a source whose relative path starts at the seed folder as one that starts at the root."""
    kind, _, rest = source.partition(":")
    if kind not in FILE_SOURCES or not rest or Path(rest).expanduser().is_absolute():
        return source
    return f"{kind}:{(seed_folder / rest).resolve()}"


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
