"""What each change of the playbook is worth on the seed, measured: writes `docs/effects.md`.

    python -m benchmarks.search.record TB --balanced 8 --trials 120 --train-seconds 10
    python -m benchmarks.search.record MP --balanced 8 --trials 120 --train-seconds 20 \\
        --source table:$TEAM_TEST_DATA/matbench_mp_gap.npz --target gap_pbe --limit 6000
    python -m benchmarks.effects tight-binding=TB matbench_mp_gap=MP

Every trial holds eight changes, so a hundred trials measure eighty changes as well as eight hundred would, one at a
time: the log of the MAE is taken for a sum of what its changes gain (ridge regression, the noise from the residuals, so
that interactions between changes count as noise). The budget is CPU time: a change that slows a step down pays for it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.search.record import N_BASELINE, SEED_FOLDER, changes
from memory.techniques import load_playbook

PAGE = Path(__file__).resolve().parent.parent / "docs" / "effects.md"
PRIOR_SPREAD = 0.10  # of a change's effect on log MAE: weak beside the data
ROUNDS = 50  # of the noise estimate, which settles in ten


@dataclass(frozen=True)
class Effects:
    """What changes do to the log of the MAE, below 0 for better.

    Attributes:
        mean: Of each change.
        error: Standard error of each.
        count: Trainings that held it.
        seed_mae_ev: Mean over the trainings of the seed, and their standard deviation.
        noise: Standard deviation of one trial about the sum of its changes.
        crashed: Changes of the trials that gave no score.
        n_trials: Trainings with a score.
    """

    mean: dict[str, float]
    error: dict[str, float]
    count: dict[str, int]
    seed_mae_ev: tuple[float, float]
    noise: float
    crashed: list[list[str]]
    n_trials: int


def fit(rows: list[dict]) -> Effects:
    """Fit main effects to the rows of a `benchmarks.search.record` folder."""
    done = [row for row in rows if row["mae_ev"] is not None]
    names = sorted({name for row in done for name in row["changes"]})
    design = np.array([[1.0, *(name in row["changes"] for name in names)] for row in done], dtype=float)
    logs = np.log([row["mae_ev"] for row in done])
    prior = np.diag([1e-6, *[PRIOR_SPREAD**-2] * len(names)])
    variance = float(logs.var())
    for _ in range(ROUNDS):  # the residuals' variance, over what the fit leaves free (MacKay 1992)
        covariance = np.linalg.inv(design.T @ design / variance + prior)
        mean = covariance @ design.T @ logs / variance
        free = len(logs) - float(np.trace(design @ covariance @ design.T)) / variance
        variance = float(((logs - design @ mean) ** 2).sum()) / free
    seeds = [row["mae_ev"] for row in done if not row["changes"]]
    return Effects(
        mean=dict(zip(names, mean[1:].tolist(), strict=True)),
        error=dict(zip(names, np.sqrt(np.diag(covariance))[1:].tolist(), strict=True)),
        count={name: sum(name in row["changes"] for row in done) for name in names},
        seed_mae_ev=(float(np.mean(seeds)), float(np.std(seeds, ddof=1))),
        noise=variance**0.5,
        crashed=[row["changes"] for row in rows if row["mae_ev"] is None],
        n_trials=len(done),
    )


def page(measured: dict[str, Effects]) -> str:
    """Return the page."""
    playbook = {technique.id: technique for technique in load_playbook(SEED_FOLDER / "playbook")}
    offered = changes(tuple(playbook.values()))
    last = list(measured.values())[-1]
    lines = [
        "# What each change is worth",
        "",
        "Change of the MAE in per cent with 95 % intervals, each change among seven random others; negative is",
        "better, bold where the interval leaves out zero (of eighty, four do so by chance). Made by",
        "`python -m benchmarks.effects`, whose text says how.",
        "",
    ]
    for name, effects in measured.items():
        mae, spread = effects.seed_mae_ev
        lines.append(
            f"- **{name}**: {effects.n_trials} trainings with a score, {len(effects.crashed)} without; the seed has "
            f"{mae:.4f} eV (seed noise {spread:.4f} over {N_BASELINE}); a trial scatters by {100 * effects.noise:.1f} "
            "% about the sum of its changes."
        )
    lines += ["", f"| change | axis | {' | '.join(measured)} |", f"|---|---|{'---|' * len(measured)}"]
    for name in sorted(offered, key=lambda name: last.mean.get(name, np.inf)):
        cells = [_cell(effects, name) for effects in measured.values()]
        lines.append(f"| {name} | {playbook[offered[name][0]].axis} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(effects: Effects, name: str) -> str:
    if name not in effects.mean:
        return "-"
    low, high = (100 * np.expm1(effects.mean[name] + z * 1.96 * effects.error[name]) for z in (-1, 1))
    middle = 100 * np.expm1(effects.mean[name])
    text = f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low * high > 0 else text


def main() -> None:
    """Fit the folders named, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="NAME=FOLDER")
    measured = {}
    for word in parser.parse_args().folders:
        name, _, folder = word.partition("=")
        lines = (Path(folder) / "trials.jsonl").read_text(encoding="utf-8").splitlines()
        measured[name] = fit([json.loads(line) for line in lines])
    PAGE.write_text(page(measured), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
