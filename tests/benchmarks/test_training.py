"""The bench of training speed: our layout is the textbook's function, and the bench runs on a bare machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.textbook import textbook_data
from benchmarks.training import SEED, choose_crystals, differences, load_file
from evaluation_locked.neighbours import nearest_neighbours

ROOT = Path(__file__).parents[2]
NOT_THERE = "pymatgen matminer matbench chromadb langgraph pydantic typer".split()


def test_our_layout_is_the_textbooks_function() -> None:
    found = differences(choose_crystals(None, 60).crystals)
    assert found.layout < 1e-4 and found.folded < 1e-2 * found.spread
    assert found.spread > 0.1


def test_the_textbooks_edges_are_the_neighbours_within_its_radius() -> None:
    crystals = choose_crystals(None, 20).crystals
    table = nearest_neighbours(crystals, 12)
    made = textbook_data(crystals)
    assert sum(data.num_edges for data in made) == (table.distance <= 5.0).sum()
    assert all(int(data.edge_index.max()) < data.num_nodes for data in made)
    assert max(float(data.distance.max()) for data in made) <= 5.0
    centres = np.bincount(made[0].edge_index[1].numpy(), minlength=made[0].num_nodes)
    assert (centres == (table.distance[: made[0].num_nodes] <= 5.0).sum(1)).all()


def test_settings_reach_a_file_that_has_them_and_no_other() -> None:
    module = load_file(SEED, {"WIDTH": 16, "NO_SUCH_KNOB": 3})
    assert module.WIDTH == 16 and not hasattr(module, "NO_SUCH_KNOB")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_it_runs_where_there_is_torch_geometric_and_little_else(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    arguments = [
        "--seconds",
        "0.2",
        "--turns",
        "1",
        "--crystals",
        "150",
        "--threads",
        "1",
        "--device",
        device,
        "--json",
    ]
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['training', *{[*arguments, '--files', str(SEED)]}]\n"
        "runpy.run_module('benchmarks.training', run_name='__main__')\n"
        f"print(sorted(set({NOT_THERE}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == "[]", done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert rows[0]["name"] == "textbook" and rows[-1]["name"] == "seed, as it is"
    assert all(row["crystals_per_second"] > 0 for row in rows)
    assert rows[0]["parameters"] == 119 * 64 + 4 * 2 * (160 * 64 + 64) + (64 * 64 + 64) + 65
