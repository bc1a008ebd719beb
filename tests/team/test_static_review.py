"""The static half of the review: what it finds, and that it lets honest files through."""

from __future__ import annotations

import pytest

from team.running import shipped_seed_folder
from team.static_review import findings
from tests.conftest import TINY_SEED

HONEST = (TINY_SEED / "train.py").read_text()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("import os", "L1"),
        ("import subprocess", "L1"),
        ("from matminer.datasets import load_dataset", "L1"),
        ("from evaluation_locked.scorer import score", "L1"),
        ("from evaluation_locked import dataset", "L1"),
        ("from . import labels", "L1"),
        ("open('labels.npy')", "L2"),
        ("eval('1')", "L2"),
        ("__import__('os')", "L2"),
        ("np.load('labels.npy')", "L3"),
        ("().__class__.__base__.__subclasses__()", "L3"),
        ("task._channel", "L3"),
        (f"TABLE = {list(range(3000))}", "L4"),
        (f"TABLE = '{'x' * 30_000}'", "L4"),
        ("def (", "S0"),
    ],
)
def test_what_reaches_past_the_client_is_found_with_its_line(line: str, code: str) -> None:
    found = findings(HONEST + "\n" + line + "\n")
    assert [finding.code for finding in found] == [code]
    assert found[0].line == len(HONEST.splitlines()) + 2


def test_honest_files_pass() -> None:
    assert findings(HONEST) == ()
    assert findings((shipped_seed_folder() / "train.py").read_text()) == ()


def test_a_file_without_the_protocol_is_found() -> None:
    assert [f.code for f in findings("from evaluation_locked.client import Task\nTask.open().start_training()")] == [
        "P1"
    ]
