"""The layout of landmarks is made in a process of its own, and a report is written without it where that fails."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from memory.history import History
from memory.techniques import load_playbook
from team.report import build, ideas_map, landmarks
from team.running import shipped_seed_folder
from tests.memory.builders import trial


def test_two_far_crowds_stay_apart_and_neighbourhoods_are_kept() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.1, (10, 5)), rng.normal(3, 0.1, (10, 5))])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    places, faithfulness = landmarks.place(distances)
    assert places.shape == (20, 2) and abs(places.mean()) < 1e-6 and places.std() == pytest.approx(1, abs=1e-3)
    inside = [np.linalg.norm(half - half.mean(0), axis=1).max() for half in (places[:10], places[10:])]
    assert max(inside) < np.linalg.norm(places[:10].mean(0) - places[10:].mean(0)) / 2
    assert 0.7 < faithfulness <= 1
    again, _ = landmarks.place(distances)
    assert (again == places).all(), "the layout of a playbook stays as it is"


def test_a_run_and_its_report_do_not_load_scikit_learn() -> None:
    program = (
        "import sys, team.running\n"
        "from memory.history import History\n"
        "from memory.techniques import load_playbook\n"
        "from team.report import ideas_map\n"
        "from tests.memory.builders import trial\n"
        "playbook = list(load_playbook(team.running.shipped_seed_folder() / 'playbook'))\n"
        "history = History([trial(0, 0.5, 'kept'), trial(1, 0.4, 'kept', parent=0)])\n"
        "assert ideas_map.lay_out(history, playbook) is not None\n"
        "print([name for name in ('sklearn', 'pandas', 'torch', 'pymatgen') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_without_a_layout_the_panel_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "LONGEST_SECONDS", 0.01)
    ideas_map._landmark_places.cache_clear()
    history = History([trial(0, 0.5, "kept"), trial(1, 0.4, "kept", parent=0)])
    (panel,) = build._crowding_panel(history, list(load_playbook(shipped_seed_folder() / "playbook")))
    assert panel["figures"] == [] and "not laid out in 0.01 s" in panel["teaches"]
