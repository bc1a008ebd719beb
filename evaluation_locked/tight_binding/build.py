"""Makes the table that the project ships: draw prototypes, scale them, solve them, filter, shuffle.

It owns what is kept and in which order. Labels are computed from the rounded numbers of the table, not from the
structures that these came from, so that anyone can compute them again from the file.

    python -m evaluation_locked.tight_binding.build --out evaluation_locked/tight_binding/crystals.npz
    python -m evaluation_locked.tight_binding.build --known
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from evaluation_locked.crystals import Crystals, concatenate, wrap_frac_coords
from evaluation_locked.dataset import Dataset, save_table
from evaluation_locked.tight_binding import NAME, PROVENANCE, TARGET
from evaluation_locked.tight_binding.prototypes import Draw, build_structure, draw, small_prototypes
from evaluation_locked.tight_binding.solver import table_gaps_ev

OWN_PER_PROTOTYPE = 18
SHARED_PER_PROTOTYPE = 12
ELEMENTS_PER_PROTOTYPE = 8  # nearly all elements are metals, and one zero tells as much as another
SEED = 20240607

LATTICE_DECIMALS = 5  # angstrom and degrees
GAP_DECIMALS = 6
LARGEST_GAP_EV = 12.0  # solid argon has 14 eV: above lies what only this model's cutoffs make
VOLUME_PER_ATOM_A3 = (4.0, 100.0)  # diamond has 5.7, caesium 115
CHUNK = 16
SYMPREC_A = 0.1


def build(
    own: int = OWN_PER_PROTOTYPE,
    shared: int = SHARED_PER_PROTOTYPE,
    alone: int = ELEMENTS_PER_PROTOTYPE,
    seed: int = SEED,
    processes: int = 2,
    limit: int | None = None,
) -> Dataset:
    """Return crystals with band gaps in eV, in an order drawn from the seed.

    Args:
        own: Substitutions of each prototype's own elements.
        shared: Compositions that each prototype takes over from others.
        alone: Elements put into each prototype of one element.
        seed: Of the draw and of the order; equal arguments give equal tables on any number of processes.
        processes: Worker processes; 1 solves in this one.
        limit: Keep to the first so many draws after shuffling; for a quick look.
    """
    requests = draw(small_prototypes(), own, shared, alone, seed)
    order = np.random.default_rng([seed, 1]).permutation(len(requests))[:limit]
    chunks = [[requests[i] for i in order[at : at + CHUNK]] for at in range(0, len(order), CHUNK)]
    solved: list[tuple[Crystals, float]] = []
    started = time.monotonic()
    if processes == 1:
        for chunk in chunks:
            solved += solve(chunk)
    else:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # inherited by the workers: their matrices are too small for threads
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for done, part in enumerate(pool.map(solve, chunks), start=1):
                solved += part
                if done % 40 == 0 or done == len(chunks):
                    seconds = time.monotonic() - started
                    print(f"{done * CHUNK} of {len(order)} drawn, {len(solved)} solved, {seconds:.0f} s", flush=True)
    crystals = concatenate([crystal for crystal, _ in solved])
    gap_ev = np.array([gap for _, gap in solved])
    rows = _kept_rows(crystals, gap_ev)
    dataset = Dataset(NAME, crystals.select(rows), gap_ev[rows], PROVENANCE)
    dataset.check()
    return dataset


def solve(requests: list[Draw]) -> list[tuple[Crystals, float]]:
    """Return a table of one crystal and its gap in eV for each request whose volume is that of a solid."""
    solved = []
    for request in requests:
        structure = build_structure(request)
        if structure is None:
            continue
        if not VOLUME_PER_ATOM_A3[0] < structure.volume / len(structure) < VOLUME_PER_ATOM_A3[1]:
            continue
        crystal = Crystals(
            lattice_parameters=np.round([structure.lattice.parameters], LATTICE_DECIMALS),
            n_atoms=np.array([len(structure)], dtype=np.int64),
            atomic_numbers=np.array(structure.atomic_numbers, dtype=np.uint8),
            frac_coords_e8=wrap_frac_coords(structure.frac_coords),
            space_group=np.array(
                [SpacegroupAnalyzer(structure, symprec=SYMPREC_A).get_space_group_number()], dtype=np.int16
            ),
        )
        solved.append((crystal, float(np.round(table_gaps_ev(crystal)[0], GAP_DECIMALS))))
    return solved


def _kept_rows(crystals: Crystals, gap_ev: np.ndarray) -> np.ndarray:
    """Return rows without wild gaps and without a second copy of a crystal that two prototypes describe alike."""
    volume_per_atom = crystals.volumes() / crystals.n_atoms
    same = np.stack(
        [crystals.formula_keys().astype(np.float64), crystals.space_group, volume_per_atom.round(2), gap_ev.round(2)],
        axis=1,
    )
    _, first = np.unique(same, axis=0, return_index=True)
    kept = np.zeros(len(crystals), dtype=bool)
    kept[first] = True
    return np.flatnonzero(kept & (gap_ev <= LARGEST_GAP_EV))


def main(arguments: list[str] | None = None) -> None:
    """Build the table and write it to `--out`."""
    parser = argparse.ArgumentParser(prog="python -m evaluation_locked.tight_binding.build", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=int, default=None, help="build only so many, for a quick look")
    options = parser.parse_args(arguments)
    dataset = build(seed=options.seed, processes=options.processes, limit=options.limit)
    save_table(options.out, dataset, TARGET)
    zeros = float((dataset.target == 0).mean())
    print(f"{options.out}: {len(dataset)} crystals, {zeros:.1%} metals, content hash {dataset.content_hash()}")


if __name__ == "__main__":
    main(sys.argv[1:])
