"""The task that data suggests: split and caps from its size and the device, what of the playbook says nothing of it.

Figures that are guesses say from what they come. It writes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from evaluation_locked.task import Caps, SplitSpec, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memory.techniques import Technique
    from team.seeds.findings import Findings, Kind

SMALL_ROWS = 3000  # of the search: one split would leave some 500 to judge, an error of about 5 % of the score
SCARCE_ROWS = 1000  # and below this one cut does not do either
PARTS = 5
PASSES = 25  # over the training rows that a budget should allow; the reference work made 49 in 1,500 s
# Atoms a second in training: 1,538 steps of 32 crystals of 7 atoms in 20 s on one core (docs/decisions/0005), and
# 2,200 crystals of 30 atoms a second on one GPU (arXiv 2606.29717).
ATOMS_PER_SECOND_CORE, ATOMS_PER_SECOND_GPU = 17_000, 66_000
BUDGETS = (20, 30, 60, 120, 300, 600, 900, 1500)
FEW_ZEROS = 0.05


def suggest_split(n_rows: int) -> SplitSpec:
    """Return how the search's rows should judge, from the rows of the source."""
    n_search = n_rows - n_rows // 5
    if n_search >= SMALL_ROWS:
        return SplitSpec()
    return SplitSpec(cross_validation=PARTS, repeats=2 if n_search < SCARCE_ROWS else 1)


def suggest_caps(n_rows: int, total_atoms: int, split: SplitSpec, *, gpu: bool) -> Caps:
    """Return what a trial may use, from the size of the data and the device."""
    given = 0.8 * (1 - 1 / split.cross_validation if split.cross_validation else 1 - split.validation_fraction)
    atoms = PASSES * total_atoms * given * split.n_trainings
    wanted = atoms / (ATOMS_PER_SECOND_GPU if gpu else ATOMS_PER_SECOND_CORE)
    return Caps(
        featurise_seconds=_rounded(max(300, total_atoms / 5000, 20 * split.n_trainings)),
        train_seconds=next((seconds for seconds in BUDGETS if seconds >= wanted), BUDGETS[-1]),
        predict_seconds=_rounded(max(120, total_atoms / 20_000)),
        memory_gib=max(8, round(4 + 2.5e-6 * total_atoms)),
    )


def suggest_leave_out(findings: Findings, techniques: Iterable[Technique]) -> tuple[str, ...]:
    """Return the families of a playbook that say nothing of this property.

    Losses of the shipped playbook are those of a regression, and what it knows of zeros helps where labels hold many.
    """
    dropped = {"loss", "zero-inflation"} if findings.kind == "classification" else set()
    if findings.summary.zero_share < FEW_ZEROS:
        dropped |= {"zero-inflation"}
    return tuple(sorted(dropped & {technique.family for technique in techniques}))


def matbench_task(task: str) -> dict[str, Any]:
    """Return what MatBench says of a task as keys of a `TaskSpec`.

    Raises:
        DataError: There is no such structure task.
    """
    from evaluation_locked.baselines import load_baselines
    from evaluation_locked.sources.matbench_task import task_facts

    facts = task_facts(task)
    kind: Kind = "classification" if facts.is_classification else "regression"
    return {
        "name": task_name(task),
        "title": f"{facts.target} from crystal structure ({task})",
        "kind": kind,
        "target": re.sub(r"\W+", "_", facts.target).strip("_"),
        "unit": facts.unit,
        "metric": default_metric(kind),
        "source": f"matbench:{task}",
        "baselines": task if load_baselines(task) else "",
    }


def on_matbench(spec: TaskSpec, task: str) -> TaskSpec:
    """Return a seed's task turned to a MatBench task: its property, rows and split; caps stay those of the seed.

    Raises:
        DataError: There is no such structure task.
    """
    from evaluation_locked.sources.matbench_task import task_facts

    changes = matbench_task(task)
    if task in (spec.baselines, spec.source.partition(":")[2]):  # the seed is about this task: only its rows change
        return spec.model_copy(update={name: changes[name] for name in ("source", "target")})
    split = suggest_split(task_facts(task).n_rows)
    changes |= {"split": split, "own_metric": None, "set_aside_below": None}
    return TaskSpec.model_validate(spec.model_dump() | changes)


def default_metric(kind: Kind) -> str:
    """Return MatBench's metric of a kind of task."""
    return "roc_auc" if kind == "classification" else "mae"


def task_name(text: str) -> str:
    """Return a name that a task may have."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "task"


def _rounded(seconds: float) -> float:
    return float(10 * round(seconds / 10))
