"""Folded atoms: fewer nodes, and the same predictions as without."""

from __future__ import annotations

import os
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation_locked.crystals import Crystals, concatenate
from evaluation_locked.dataset import load_table
from evaluation_locked.folding import Nodes, fold
from evaluation_locked.neighbours import NeighbourTable, nearest_neighbours
from tests.crystal_seed.judge import SEED_FOLDER
from tests.evaluation_locked.test_neighbours import DIAMOND, FCC, HARD, crystal

REAL_DATA = os.environ.get("TEAM_TEST_DATA")
ROCK_SALT = [*FCC, *np.add(FCC, [0.5, 0, 0]).tolist()]
# Two sorts of sites of one element: corners and edge middles of a cube, as in rhenium trioxide without its metal.
CASES = {
    "diamond": (crystal((5.43, 5.43, 5.43, 90, 90, 90), DIAMOND), [8]),
    "one atom": (crystal((3, 3, 3, 60, 60, 60), [[0.3, 0.7, 0.1]]), [1]),
    "triclinic, no two alike": (HARD["triclinic"], [1] * 7),
    "corner and edges of a cube": (
        crystal((4, 4, 4, 90, 90, 90), [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]),
        [1, 3],
    ),
}


def with_elements(crystals: Crystals, elements: list[int]) -> Crystals:
    return Crystals.from_arrays(crystals.arrays() | {"atomic_numbers": np.array(elements)})


def unfolded(crystals: Crystals, table: NeighbourTable, *, n_threads: int = 1) -> Nodes:
    atoms = np.arange(int(crystals.n_atoms.sum()))
    ones = np.ones(len(atoms), dtype=np.int64)
    return Nodes(crystals.n_atoms, atoms, ones, table.index, table.distance, table.vector)


def outputs(crystals: Crystals, how_to_fold: object) -> np.ndarray:
    """What the seed's network says of each crystal, its weights drawn from one random seed."""
    seed = types.ModuleType("train")
    exec(compile((SEED_FOLDER / "train.py").read_text(encoding="utf-8"), "train.py", "exec"), vars(seed))
    vars(seed)["fold"] = how_to_fold
    torch.manual_seed(0)
    graphs = seed.Graphs(crystals, 1, torch.device("cpu"))
    network = seed.Network().eval()
    with torch.no_grad():
        network(graphs.batch(torch.arange(1)))  # lazy layers take their shapes
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape) / parameter.shape[-1] ** 0.5)
        return network(graphs.batch(torch.arange(len(crystals)))).double().numpy()


@pytest.mark.parametrize("name", CASES)
def test_how_many_atoms_a_node_stands_for(name: str) -> None:
    crystals, counts = CASES[name]
    nodes = fold(crystals, nearest_neighbours(crystals, 12))
    assert sorted(nodes.count.tolist()) == sorted(counts)
    assert nodes.n_nodes.tolist() == [len(counts)]
    assert nodes.atom[0] == 0


def test_elements_part_what_distances_do_not() -> None:
    cell = crystal((5.64, 5.64, 5.64, 90, 90, 90), ROCK_SALT)
    assert fold(cell, nearest_neighbours(cell, 6)).count.tolist() == [8]
    salt = with_elements(cell, [11] * 4 + [17] * 4)
    nodes = fold(salt, nearest_neighbours(salt, 6))
    assert nodes.count.tolist() == [4, 4]
    assert nodes.index.tolist() == [[1] * 6, [0] * 6]  # sodium sees chlorine alone, and the reverse
    np.testing.assert_allclose(nodes.distance, 2.82, atol=1e-5)


def test_what_differs_far_away_differs() -> None:
    """A chain of one element whose two ends see different atoms: no two of its atoms are alike."""
    z = np.arange(8) / 8
    chain = crystal((3, 3, 20, 90, 90, 90), np.column_stack([np.zeros(8), np.zeros(8), z + 0.02 * (z > 0.8)]))
    chain = with_elements(chain, [6, 6, 6, 6, 6, 6, 6, 8])
    nodes = fold(chain, nearest_neighbours(chain, 6))
    assert len(nodes.atom) == 8


def test_crystals_keep_to_themselves() -> None:
    alone = [crystals for crystals, _ in CASES.values()] + [HARD["444 atoms"]]
    together = concatenate([*alone, *alone])
    nodes = fold(together, nearest_neighbours(together, 12), n_threads=2)
    parts = [fold(one, nearest_neighbours(one, 12)) for one in [*alone, *alone]]
    first_node = np.cumsum([0, *(len(part.atom) for part in parts)])[:-1]
    assert nodes.n_nodes.tolist() == [len(part.atom) for part in parts]
    assert nodes.count.tolist() == np.concatenate([part.count for part in parts]).tolist()
    shifted = [part.index + first for part, first in zip(parts, first_node, strict=True)]
    np.testing.assert_array_equal(nodes.index, np.concatenate(shifted))
    assert fold(together.select([]), nearest_neighbours(together.select([]), 12)).atom.shape == (0,)


def test_the_seed_predicts_the_same_with_and_without() -> None:
    together = concatenate([*(crystals for crystals, _ in CASES.values()), *HARD.values()])
    np.testing.assert_allclose(outputs(together, fold), outputs(together, unfolded), rtol=0, atol=1e-4)


@pytest.mark.skipif(REAL_DATA is None, reason="TEAM_TEST_DATA is not set")
def test_real_crystals_fold_to_less_than_half_and_predict_the_same() -> None:
    crystals = load_table(Path(str(REAL_DATA)) / "matbench_mp_gap.npz", "gap_pbe").crystals
    sample = crystals.select(np.random.default_rng(5).permutation(len(crystals))[:400])
    folded = fold(sample, nearest_neighbours(sample, 12), n_threads=2)
    assert folded.count.sum() == sample.n_atoms.sum()
    assert len(folded.atom) < 0.5 * sample.n_atoms.sum()
    difference = np.abs(outputs(sample, fold) - outputs(sample, unfolded))
    spread = outputs(sample, fold).std()
    assert np.median(difference) < 1e-5 * spread
    assert difference.max() < 0.02 * spread  # atoms that agree to 0.005 angstrom are taken for equal
