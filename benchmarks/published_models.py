"""Behaviour crowding of ten published models: does it bring known families together?

    python -m benchmarks.published_models [--json]

Residuals are each model's test-fold predictions less the labels of matbench_mp_gap, every row. The crowding of a pair
is `memory.crowding.behaviour_crowding` of the one against the other, with one floor for all pairs from
`BehaviourIndex.floor`; beside it stands the plain correlation of absolute errors. Models are joined by average linkage
on one less the crowding. A family has come together where the smallest branch of that tree that holds all of it holds
no member of the other.

The two families are known from how the models are built: CrabNet, Automatminer and the random forest see a composition
or descriptors of it (the latter two the same Magpie descriptors); coNGN, DeeperGATGNN and ALIGNN are graph networks
over the structure's edges. The other models belong to neither and are shown wherever they fall. The files are found
through TEAM_TEST_DATA, or --data.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from memory.behaviour_index import BehaviourIndex
from memory.crowding import behaviour_crowding

FAMILIES = {
    "composition": ("rf", "automatminer_expressv2020", "CrabNet"),
    "graph": ("coNGN", "DeeperGATGNN", "alignn"),
}
DISPLAY_CHARS = 11


@dataclass(frozen=True)
class Join:
    """One branch of the tree: two groups of models that are joined, and how crowded they are on average."""

    members: tuple[str, ...]
    crowding: float


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        models: Their names, in the order of the matrices.
        mae_ev: Of each model over all rows.
        floor: The correlation that any two of them show.
        crowding: [m, m], 1 on the diagonal.
        correlation: [m, m] Pearson correlation of absolute errors.
        joins: The tree, closest first.
        together: Family -> whether it has come together.
        margin: Family -> its least crowding inside less its greatest with a member of another family.
        margin_of_correlation: The same for the plain correlation of absolute errors.
    """

    models: tuple[str, ...]
    mae_ev: tuple[float, ...]
    floor: float
    crowding: tuple[tuple[float, ...], ...]
    correlation: tuple[tuple[float, ...], ...]
    joins: tuple[Join, ...]
    together: dict[str, bool]
    margin: dict[str, float]
    margin_of_correlation: dict[str, float]


def measure(residuals: dict[str, np.ndarray], families: dict[str, tuple[str, ...]] = FAMILIES) -> Report:
    """Return crowding, tree and families of models.

    Args:
        residuals: Prediction minus label by model, each [n] eV on the same rows.
        families: Models by family; every one of them is in `residuals`.
    """
    models = tuple(residuals)
    n = len(models)
    floor = BehaviourIndex((at, residuals[name]) for at, name in enumerate(models)).floor
    crowding = np.eye(n)
    for i in range(n):
        for j in range(i):
            crowding[i, j] = crowding[j, i] = behaviour_crowding(
                residuals[models[i]], {j: residuals[models[j]]}, floor
            ).value
    correlation = np.corrcoef(np.stack([np.abs(residuals[name]) for name in models]).astype(np.float64))
    joins = _join(models, crowding)
    members = set().union(*families.values())
    together = {}
    for family, own in families.items():
        branch = next(join for join in joins if set(own) <= set(join.members))
        together[family] = not (members - set(own)) & set(branch.members)
    return Report(
        models=models,
        mae_ev=tuple(round(float(np.abs(residuals[name]).mean()), 4) for name in models),
        floor=round(floor, 4),
        crowding=_rounded(crowding),
        correlation=_rounded(correlation),
        joins=joins,
        together=together,
        margin=_margins(models, crowding, families),
        margin_of_correlation=_margins(models, correlation, families),
    )


def read_residuals(folder: Path) -> dict[str, np.ndarray]:
    """Return model -> [n] float32 prediction minus label of the published test-fold predictions.

    Raises:
        FileNotFoundError: The folder lacks one of the two files.
    """
    with np.load(folder / "matbench_mp_gap.npz") as table:
        gap_ev = table["gap_pbe"]
    with np.load(folder / "published_predictions.npz") as table:
        return {name: (table[name] - gap_ev).astype(np.float32) for name in table.files}


def _join(models: tuple[str, ...], crowding: np.ndarray) -> tuple[Join, ...]:
    distances = squareform(1.0 - crowding, checks=False)
    groups = [(name,) for name in models]
    joins = []
    for first, second, distance, _ in linkage(distances, method="average"):
        groups.append((*groups[int(first)], *groups[int(second)]))
        joins.append(Join(groups[-1], round(1.0 - float(distance), 4)))
    return tuple(joins)


def _margins(models: tuple[str, ...], likeness: np.ndarray, families: dict[str, tuple[str, ...]]) -> dict[str, float]:
    at = {name: number for number, name in enumerate(models)}
    margins = {}
    for family, own in families.items():
        others = [name for other, names in families.items() if other != family for name in names]
        inside = min(likeness[at[a], at[b]] for a in own for b in own if a != b)
        outside = max(likeness[at[a], at[b]] for a in own for b in others)
        margins[family] = round(float(inside - outside), 4)
    return margins


def _rounded(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(value), 4) for value in row) for row in matrix)


def _print(report: Report) -> None:
    names = [
        name.replace("Finder_v1.2_", "Fin-").replace("automatminer", "AMM-")[:DISPLAY_CHARS] for name in report.models
    ]
    for title, matrix in (
        (f"behaviour crowding (floor {report.floor:.3f})", report.crowding),
        ("correlation of absolute errors", report.correlation),
    ):
        print(f"{title}\n{'':{DISPLAY_CHARS}}  MAE eV  " + " ".join(f"{name:>{DISPLAY_CHARS}}" for name in names))
        for name, mae_ev, row in zip(names, report.mae_ev, matrix, strict=True):
            print(f"{name:{DISPLAY_CHARS}} {mae_ev:7.4f}  " + " ".join(f"{value:{DISPLAY_CHARS}.2f}" for value in row))
        print()
    print("joined by average linkage, closest first")
    for join in report.joins:
        print(f"  {join.crowding:5.2f}  {', '.join(join.members)}")
    print()
    for family, together in report.together.items():
        print(
            f"{family:12} {'together' if together else 'NOT together'}; least inside less greatest outside: crowding "
            f"{report.margin[family]:+.2f}, correlation of absolute errors {report.margin_of_correlation[family]:+.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("TEAM_TEST_DATA"), help="default: TEAM_TEST_DATA")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("no data: set TEAM_TEST_DATA, or give --data, the folder with published_predictions.npz")
    report = measure(read_residuals(Path(arguments.data)))
    if arguments.json:
        print(json.dumps(asdict(report), indent=1))
    else:
        _print(report)


if __name__ == "__main__":
    main()
