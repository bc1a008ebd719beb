"""Compare strategies in replays of recorded trials.

    python -m benchmarks.search --replays 500

For each strategy: the mean true MAE of the champion after 10, 20, 40 and 80 trials with its 95 % interval over replays,
keeps, keeps that were truly no better, and trainings wasted on repeats. The last column is the number of trials after
which the mean is at greedy's mean after 80.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small, and replays run side by side

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.search.peers import BestFirstTree, Greedy, RandomSets
from benchmarks.search.record import SEED_FOLDER
from benchmarks.search.replay import House, Searcher, replay
from benchmarks.search.world import TABLE, World, load_table
from memory.edits import knobs
from memory.techniques import load_playbook
from team.offline.strategist import OfflineStrategist

if TYPE_CHECKING:
    from collections.abc import Callable

N_TRIALS = 80
SHOWN = (10, 20, 40, 80)
OURS = OfflineStrategist()


@cache
def _world(table: Path) -> World:
    return World(load_table(table))


@cache
def _playbook() -> dict:
    return {technique.id: technique for technique in load_playbook(SEED_FOLDER / "playbook")}


@cache
def _seed_knobs() -> dict:
    return knobs((SEED_FOLDER / "train.py").read_text(encoding="utf-8"))


def _house(strategist: OfflineStrategist, **options: object) -> Callable[[World, int], Searcher]:
    def build(world: World, seed: int) -> Searcher:
        return House(strategist, _playbook(), _seed_knobs(), world, seed, **options)  # type: ignore[arg-type]

    return build


STRATEGIES: dict[str, Callable[[World, int], Searcher]] = {
    "greedy keep/reset": lambda world, seed: Greedy(world.names, _playbook(), seed),
    "greedy, no margin": lambda world, seed: Greedy(world.names, _playbook(), seed, margin=0.0),
    "greedy, forgetful": lambda world, seed: Greedy(world.names, _playbook(), seed, forgetful=True),
    "random sets": lambda world, seed: RandomSets(world.names, _playbook(), seed),
    "best-first tree": lambda world, seed: BestFirstTree(world.names, _playbook(), seed),
    "ours": _house(OURS),
    "no crowding": _house(replace(OURS, crowding_cost=0.0), text_view=False),
    "no behaviour view": _house(replace(OURS, overlap_cost=0.0)),
    "no noise rule": _house(replace(OURS, luck_rounds=1_000), noise_rule=False),
    "explore only": _house(replace(OURS, modes=frozenset({"explore"}))),
    "one change a trial": _house(replace(OURS, max_changes=1)),
    "champion only": _house(replace(OURS, other_parents=0)),
    "never learning": _house(replace(OURS, learns=False)),
    "no refused repeats": _house(OURS, refuse_repeats=False),
}


def _run(job: tuple[Path, str, int, int]) -> tuple[list[float], int, int, int]:
    table, name, seed, n_trials = job
    world = _world(table)
    steps = replay(STRATEGIES[name](world, seed), world, seed, n_trials)
    return (
        [step.champion_mae for step in steps],
        sum(step.kept for step in steps),
        sum(step.false_keep for step in steps),
        sum(step.repeat for step in steps),
    )


def main() -> None:
    """Replay and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--replays", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=[], help="strategies whose name contains one of these")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    names = [n for n in STRATEGIES if not arguments.only or any(part in n for part in arguments.only)]
    print(f"{'':22}{''.join(f'{n:>16}' for n in SHOWN)}{'keeps':>7}{'false':>7}{'repeats':>9}{'s':>7}")
    results = {}
    with multiprocessing.get_context("fork").Pool(arguments.processes) as pool:
        for name in names:
            began = time.monotonic()
            jobs = [(arguments.table, name, seed, N_TRIALS) for seed in range(arguments.replays)]
            done = pool.map(_run, jobs, chunksize=4)
            curve = np.array([d[0] for d in done])
            counts = np.array([d[1:] for d in done], dtype=float)
            results[name] = {"mean_mae_ev": curve.mean(0).tolist(), "counts": counts.mean(0).tolist()}
            cells = "".join(
                f"{curve[:, n - 1].mean():>10.4f} ±{1.96 * curve[:, n - 1].std() / np.sqrt(len(curve)):.4f}"[:17].rjust(
                    17
                )
                for n in SHOWN
            )
            kept, false, repeats = counts.mean(0)
            seconds = (time.monotonic() - began) / len(done)
            print(f"{name:22}{cells}{kept:7.2f}{false:7.2f}{repeats:9.2f}{seconds:7.2f}", flush=True)
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
