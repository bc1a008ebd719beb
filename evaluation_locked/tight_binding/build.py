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

OWN_PER_PROTOTYPE = 15
SHARED_PER_PROTOTYPE = 14
ELEMENTS_PER_PROTOTYPE = 8  # nearly all elements are metals, and one zero tells as much as another
SEED = 20240607

LATTICE_DECIMALS = 5  # angstrom and degrees
GAP_DECIMALS = 6
LARGEST_GAP_EV = 12.0  # solid argon has 14 eV: above lies what only this model's cutoffs make
VOLUME_PER_ATOM_A3 = (4.0, 100.0)  # diamond has 5.7, caesium 115
CHUNK = 16
# Prototype, elements on its kinds of sites, measured gap in eV to a digit or two (Kittel; Strehlow and Cook 1973).
KNOWN = (
    ("A_cF8_227_a C", ("C",), 5.5),
    ("A_cF8_227_a C", ("Si",), 1.1),
    ("A_cF8_227_a C", ("Ge",), 0.7),
    ("AB_cF8_216_c_a ZnS", ("B", "N"), 6.4),
    ("AB_cF8_216_c_a ZnS", ("Si", "C"), 2.4),
    ("AB_cF8_216_c_a ZnS", ("Ga", "As"), 1.4),
    ("AB_cF8_216_c_a ZnS", ("In", "Sb"), 0.2),
    ("AB_cF8_216_c_a ZnS", ("Zn", "S"), 3.7),
    ("AB_hP4_186_b_b ZnS", ("Zn", "O"), 3.4),
    ("AB_hP4_186_b_b ZnS", ("Ga", "N"), 3.4),
    ("AB_cF8_225_a_b NaCl", ("Li", "F"), 13.6),
    ("AB_cF8_225_a_b NaCl", ("Na", "Cl"), 8.5),
    ("AB_cF8_225_a_b NaCl", ("K", "Cl"), 8.7),
    ("AB_cF8_225_a_b NaCl", ("Mg", "O"), 7.8),
    ("AB_cF8_225_a_b NaCl", ("Pb", "S"), 0.4),
    ("AB_cF8_225_a_b NaCl", ("Ti", "N"), 0.0),
    ("AB_cF8_225_a_b NaCl", ("Ti", "C"), 0.0),
    ("AB_cF8_225_a_b NaCl", ("Ni", "O"), 4.0),
    ("AB2_cF12_225_a_c CaF2", ("Ca", "F"), 11.8),
    ("A2B_tP6_136_f_a TiO2", ("Ti", "O"), 3.0),
    ("A2B_hP9_152_c_a SiO2", ("Si", "O"), 9.0),
    ("A2B3_hR10_167_c_e Al2O3", ("Al", "O"), 8.8),
    ("AB3C_cP5_221_a_c_b CaTiO3", ("Sr", "Ti", "O"), 3.2),
    ("AB2_hP6_194_c_f MoS2", ("Mo", "S"), 1.3),
    ("A_hP4_186_ab C", ("C",), 0.0),
    ("A_cF4_225_a Cu", ("Cu",), 0.0),
    ("A_cF4_225_a Cu", ("Al",), 0.0),
    ("A_cI2_229_a W", ("Na",), 0.0),
    ("A_cI2_229_a W", ("W",), 0.0),
    ("A_hP2_194_c Mg", ("Mg",), 0.0),
    ("AB_cP2_221_b_a CsCl", ("Al", "Ni"), 0.0),
)
SYMPREC_A = 0.1


def build(
    *,
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
    keys = zip(
        crystals.formula_keys().tolist(),
        crystals.space_group.tolist(),
        volume_per_atom.round(2).tolist(),
        gap_ev.round(2).tolist(),
        strict=True,
    )
    first: dict[tuple[float, ...], int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    rows = np.array(sorted(first.values()), dtype=np.int64)
    return rows[gap_ev[rows] <= LARGEST_GAP_EV]


def known_compounds() -> list[tuple[str, str, float, float]]:
    """Return formula, prototype, the model's gap and the measured one in eV, at the volume that a table entry has."""
    by_name = {prototype.name: prototype for prototype in small_prototypes()}
    found = []
    for name, elements, measured_ev in KNOWN:
        request = Draw(by_name[name], elements)
        for _, gap_ev in solve([request]):
            formula = "".join(
                f"{e}{n if n > 1 else ''}" for e, n in zip(elements, request.prototype.counts, strict=True)
            )
            found.append((formula, name, gap_ev, measured_ev))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Build the table and write it to `--out`, or print known compounds."""
    parser = argparse.ArgumentParser(prog="python -m evaluation_locked.tight_binding.build", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="the .npz file to write")
    what.add_argument("--known", action="store_true", help="print the gaps of known compounds instead")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=int, default=None, help="build only so many, for a quick look")
    options = parser.parse_args(arguments)
    if options.known:
        print("| compound | prototype | gap here, eV | measured, eV |\n|---|---|---|---|")
        for formula, name, gap_ev, measured_ev in known_compounds():
            print(f"| {formula} | {name} | {gap_ev:.2f} | {measured_ev} |")
        return
    dataset = build(seed=options.seed, processes=options.processes, limit=options.limit)
    save_table(options.out, dataset, TARGET)
    zeros = float((dataset.target == 0).mean())
    print(f"{options.out}: {len(dataset)} crystals, {zeros:.1%} metals, content hash {dataset.content_hash()}")


if __name__ == "__main__":
    main(sys.argv[1:])
