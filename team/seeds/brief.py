"""`brief.md` of a new seed folder: the task and what was found in its data.

How the file to edit is made, what is off limits and what a good idea is, the brief of its `base` says: those sections
are lent when a run copies the seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from team.seeds.findings import FAR_OUT, QUANTILES

if TYPE_CHECKING:
    from evaluation_locked.dataset import Dataset
    from evaluation_locked.task import TaskSpec
    from team.seeds.findings import Findings

KNOWN = """## What is known
Nothing yet of this property: write here what you know of it. Of the file to edit it is known that steps are accuracy
under a budget of seconds, and that few crystals are learned by heart, so that weight decay matters more than design.
"""


def brief_of(spec: TaskSpec, dataset: Dataset, findings: Findings) -> str:
    """Return the text of a brief."""
    return "\n".join([f"# Brief: {spec.title}\n", _task(spec, dataset), _data(spec, findings), KNOWN])


def _task(spec: TaskSpec, dataset: Dataset) -> str:
    unit = f" in {spec.unit}" if spec.unit else ""
    said = f"`{spec.target}`{unit}" if spec.kind == "regression" else f"the class `{spec.target}` (0 or 1)"
    answer = "a number" if spec.kind == "regression" else "the probability of 1"
    return (
        "## The task\n"
        f"Predict {said} from the structure of a crystal; the prediction is {answer}. The score is {spec.metric}, "
        f"{spec.score_metric.better} is better. Labels: {dataset.provenance}.\n"
        f"{_judging(spec)}\n"
    )


def _judging(spec: TaskSpec) -> str:
    split = spec.split
    if not split.cross_validation:
        share = f"{split.validation_fraction:.0%}"
        return f"Of the search's rows {share} judge; none of their formulas is among those to learn from."
    cuts = f" in each of {split.repeats} cuts" if split.repeats > 1 else ""
    return (
        f"The data are few, so every row judges: `train.py` is run {split.n_trainings} times, once for each of "
        f"{split.cross_validation} parts{cuts}, learns from the other parts and predicts its own, and no formula is in "
        f"two parts. The {spec.caps.train_seconds:g} s are for all of them together: each has "
        f"{spec.caps.train_seconds / split.n_trainings:g} s to train."
    )


def _data(spec: TaskSpec, findings: Findings) -> str:
    s, unit = findings.summary, f" {spec.unit}" if spec.unit else ""
    atoms = dict(s.atoms_percentiles)
    lines = [
        f"{s.n:,} crystals of {s.n_formulas:,} formulas with {s.n_elements} elements; most often "
        + ", ".join(f"{symbol} ({share:.0%})" for symbol, share in findings.elements)
        + ".",
        f"Atoms in a cell: half have {atoms[50]:g} at most, 95 % {atoms[95]:g}, the largest {s.atoms_max}.",
        *_labels(findings, unit),
        f"{s.shared_formula_share:.1%} of the crystals share their formula with another. Of the official test rows of "
        f"fold 0, {findings.formula_across:.1%} have a formula that is trained on, and {findings.structure_across:.1%} "
        "a structure (formula, space group, volume per atom within 1 %); the search's own split keeps formulas apart.",
    ]
    if findings.n_doubles and findings.doubles_differ is not None:
        how = (
            f"{findings.doubles_differ:.1%} of them disagree in their label"
            if spec.kind == "classification"
            else f"half of them differ by {findings.doubles_differ:.3g}{unit} or more: how sure a label is"
        )
        lines.append(f"{findings.n_doubles:,} pairs are one structure by that measure; {how}.")
    return "## What is in the data\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _labels(findings: Findings, unit: str) -> list[str]:
    s = findings.summary
    if findings.kind == "classification":
        return [f"{s.target_mean:.1%} of the labels are 1."]
    shown = ", ".join(f"{share:.0%} {value:.4g}" for share, value in zip(QUANTILES, findings.quantiles, strict=True))
    lines = [
        f"Labels from {s.target_min:.4g} to {s.target_max:.4g}{unit}, mean {s.target_mean:.4g}; quantiles: {shown}.",
        f"{s.zero_share:.1%} of the labels are exactly 0. Always saying the median has a mean absolute error of "
        f"{s.median_predictor_mae:.4g}{unit}.",
    ]
    if findings.n_outliers:
        lines.append(
            f"{findings.n_outliers:,} labels lie more than {FAR_OUT:g} interquartile ranges beyond a quartile: look at "
            "them before a squared error is used."
        )
    return lines
