"""The files of a new seed folder: `task.toml`, `brief.md`, and `train.py` as the shipped seed has it.

The playbook is not copied: `base` lends it, so that it stays that of the installed version. A folder that exists is
never written into.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation_locked.dataset import DataError, save_table
from evaluation_locked.metrics import METRICS
from evaluation_locked.seed_folder import SHIPPED, SeedError, seed_file
from evaluation_locked.sources import load_source
from evaluation_locked.sources.columns import full_source, properties_of
from evaluation_locked.task import TaskSpec, load_task
from memory.techniques import load_playbook
from team.seeds.brief import brief_of
from team.seeds.findings import look_at
from team.seeds.proposal import (
    default_metric,
    matbench_task,
    suggest_caps,
    suggest_leave_out,
    suggest_split,
    task_name,
)

if TYPE_CHECKING:
    from evaluation_locked.dataset import Dataset
    from team.seeds.findings import Findings, Kind

TABLE = "crystals.npz"


@dataclass(frozen=True)
class Wishes:
    """What a person said of a new seed; None leaves it to the data."""

    source: str
    target: str | None = None
    kind: Kind | None = None
    metric: str | None = None
    unit: str | None = None
    skip_bad: bool = False


@dataclass(frozen=True)
class NewSeed:
    """A seed folder that was written, and what was found in its data."""

    folder: Path
    spec: TaskSpec
    findings: Findings
    provenance: str


def new_seed(folder: Path, wishes: Wishes, *, cache: Path | None, gpu: bool) -> NewSeed:
    """Look at a source and write a seed folder for a property of it.

    Args:
        folder: Where it goes; its last part names the task.
        wishes: What a person said.
        cache: Folder of downloads and converted tables.
        gpu: Whether trials will train on one.

    Raises:
        SeedError: The folder exists, or the metric does not fit.
        DataError, CrystalError: The source cannot be used; bad values are named, with what to do.
    """
    if folder.exists():
        raise SeedError(f"{folder} exists, and nothing is written over: choose another name, or remove it")
    source = full_source(wishes.source)
    column = wishes.target or _only_property(source)
    dataset = load_source(source, column, cache, skip_bad=wishes.skip_bad)
    findings = look_at(dataset, wishes.kind)
    spec = _task(folder.name, source, column, wishes, findings, gpu=gpu)
    with tempfile.TemporaryDirectory(prefix=".seed-", dir=_parent_of(folder)) as place:
        partial = Path(place) / folder.name
        partial.mkdir()
        if wishes.skip_bad:  # what was left out stays out: the run reads what is left, and not the source again
            spec = _with_table(spec, dataset, partial)
        lent = seed_file(SHIPPED, "train.py")
        assert lent is not None, "the shipped seed has a train.py"
        shutil.copyfile(lent, partial / "train.py")
        (partial / "task.toml").write_text(task_toml(spec), encoding="utf-8")
        (partial / "brief.md").write_text(brief_of(spec, dataset, findings), encoding="utf-8")
        load_task(partial)
        partial.rename(folder)
    return NewSeed(folder, spec, findings, dataset.provenance)


def task_toml(spec: TaskSpec) -> str:
    """Return the text of a `task.toml`, with a remark where a person may want another value."""
    split, caps = spec.split, spec.caps
    unit = f"unit = {_text(spec.unit)}\n" if spec.unit else ""
    leave_out = (
        f"leave_out = {json.dumps(list(spec.leave_out))} # families of its playbook that say nothing here\n"
        if spec.leave_out
        else ""
    )
    baselines = f"baselines = {_text(spec.baselines)} # published figures to show beside\n" if spec.baselines else ""
    if split.cross_validation:
        rows = (
            f"cross_validation = {split.cross_validation} # parts by reduced formula; every row judges\n"
            f"repeats = {split.repeats} # cuts: {split.n_trainings} trainings a trial, which share its budget\n"
        )
    else:
        rows = f"validation_fraction = {split.validation_fraction} # of the search's rows, by reduced formula\n"
    return f"""# The property that this seed folder is about; `team seed check` tries whether the folder works.
name = {_text(spec.name)}
title = {_text(spec.title)}
kind = {_text(spec.kind)}
target = {_text(spec.target)}
{unit}metric = {_text(spec.metric)} # {spec.score_metric.better} is better
source = {_text(spec.source)}
base = {_text(spec.base)} # lends the playbook
{leave_out}{baselines}check_batches = true # a prediction must not lean on the batch it came in

[split]
n_folds = {split.n_folds} # official folds; the search sees only the training rows of `fold`
fold = {split.fold}
{rows}
[caps] # of a whole trial; enforced from outside on its process tree
featurise_seconds = {caps.featurise_seconds:g}
train_seconds = {caps.train_seconds:g}
predict_seconds = {caps.predict_seconds:g}
memory_gib = {caps.memory_gib:g}
log_mib = {caps.log_mib:g}
"""


def _task(name: str, source: str, column: str, wishes: Wishes, findings: Findings, *, gpu: bool) -> TaskSpec:
    kind = findings.kind
    split = suggest_split(findings.summary.n)
    told = {
        "title": f"{column} from crystal structure",
        "target": column,
        "source": source,
        "unit": "",
    }
    if source.startswith("matbench:"):
        told |= matbench_task(source.partition(":")[2])
    metric = wishes.metric or default_metric(kind)
    if metric not in METRICS or METRICS[metric].kind != kind:
        fitting = ", ".join(known.name for known in METRICS.values() if known.kind == kind)
        raise SeedError(f"metric {metric!r} is none of a {kind}: use one of {fitting}, or write one (docs/seeds.md)")
    return TaskSpec.model_validate(
        told
        | {
            "name": task_name(name),
            "kind": kind,
            "metric": metric,
            "unit": told["unit"] if wishes.unit is None else wishes.unit,
            "base": SHIPPED.name,
            "leave_out": suggest_leave_out(findings, load_playbook(SHIPPED / "playbook")),
            "check_batches": True,
            "split": split,
            "caps": suggest_caps(findings.summary.n, findings.total_atoms, split, gpu=gpu),
        }
    )


def _only_property(source: str) -> str:
    """Return the name of the one property that a source offers.

    Raises:
        DataError: It offers several, and a person must choose.
    """
    names = properties_of(source)
    if len(names) > 1:
        raise DataError(f"{source} has {len(names)} properties ({', '.join(names)}): choose one with --target")
    return names[0] if names else "property"


def _with_table(spec: TaskSpec, dataset: Dataset, folder: Path) -> TaskSpec:
    target = task_name(spec.target).replace("-", "_")
    save_table(folder / TABLE, dataset, target)
    return spec.model_copy(update={"source": f"table:{TABLE}", "target": target})


def _parent_of(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.parent


def _text(value: str) -> str:
    """Return a TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(value, ensure_ascii=False)
