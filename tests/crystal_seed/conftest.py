"""The seed's source, and a few shipped crystals to train it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from evaluation_locked import tight_binding
from tests.crystal_seed.judge import SEED_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evaluation_locked.dataset import Dataset


@pytest.fixture(scope="session")
def seed_source() -> str:
    return (SEED_FOLDER / "train.py").read_text()


@pytest.fixture(scope="session")
def few() -> Dataset:
    """64 shipped crystals, gapped and metallic."""
    return tight_binding.load().select(np.random.default_rng(3).choice(5000, 64, replace=False))


@pytest.fixture(autouse=True)
def _restore_torch() -> Iterator[None]:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
