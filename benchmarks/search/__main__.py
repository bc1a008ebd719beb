"""Compare strategies in replays of recorded trials.

    python -m benchmarks.search --replays 500

For each strategy: the mean true MAE of the champion after 10, 20, 40 and 80 trials with its 95 % interval over replays,
keeps, keeps that were truly no better, trainings wasted on repeats, and the number of trials after which its mean is at
greedy's mean after 80. The lines below `ours` are ours without one of its parts. docs/search.md has the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os

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
GREEDY = "greedy keep/reset"
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
    parser.add_argument("--only", nargs="*", default=[], help="names of strategies; greedy's is always the first")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    unknown = set(arguments.only) - set(STRATEGIES)
    if unknown:
        parser.error(f"no strategy is called {sorted(unknown)[0]!r}: {', '.join(STRATEGIES)}")
    names = [name for name in STRATEGIES if not arguments.only or name in {GREEDY, *arguments.only}]
    head = "".join(f"{f'after {n}':>17}" for n in SHOWN)
    print(f"{'true MAE in eV':20}{head}{'keeps':>7}{'false':>14}{'repeats':>9}{'as greedy 80':>14}{'replays':>9}")
    results: dict[str, dict[str, object]] = {}
    goal = None
    with multiprocessing.get_context("fork").Pool(arguments.processes) as pool:
        for name in names:
            jobs = [(arguments.table, name, seed, N_TRIALS) for seed in range(arguments.replays)]
            done = pool.map(_run, jobs, chunksize=4)
            curve = np.array([d[0] for d in done])  # [n_replays, n_trials]
            counts = np.array([d[1:] for d in done], dtype=float)  # [n_replays, 3]
            mean, half = curve.mean(0), 1.96 * curve.std(0, ddof=1) / np.sqrt(len(curve))
            kept, false, repeats = counts.mean(0)
            false_half = 1.96 * counts[:, 1].std(ddof=1) / np.sqrt(len(counts))
            if name == GREEDY:
                goal = mean[-1]
            reached = "" if goal is None else next((str(n) for n, value in enumerate(mean, 1) if value <= goal), "-")
            results[name] = {
                "mean_mae_ev": mean.tolist(),
                "half_interval_ev": half.tolist(),
                "keeps": kept,
                "false_keeps": false,
                "false_keeps_half_interval": false_half,
                "repeats": repeats,
                "as_greedy_80": reached,
                "replays": len(done),
            }
            cells = "".join(f"{mean[n - 1]:.4f} ±{half[n - 1]:.4f}".rjust(17) for n in SHOWN)
            print(
                f"{name:20}{cells}{kept:7.2f}{f'{false:.2f} ±{false_half:.2f}':>14}{repeats:9.2f}{reached:>14}"
                f"{len(done):9d}",
                flush=True,
            )
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
