"""What the executors' tests share: a key in the environment before a place is opened, and clusters to run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.graph.executors.conformance import KEY, KEY_NAME
from tests.graph.executors.slurm_cluster import running_slurm, slurm

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["running_slurm", "slurm"]


@pytest.fixture(scope="session", autouse=True)
def key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_NAME, KEY)
        yield
