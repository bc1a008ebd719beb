"""Whether models of one family come together by their errors."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.published_models import FAMILIES, measure, read_residuals


def made_up(shared: float) -> dict[str, np.ndarray]:
    """Return six models' residuals: each family shares a part of its errors."""
    rng = np.random.default_rng(0)
    residuals = {}
    for own in FAMILIES.values():
        common = rng.laplace(size=2000)
        for name in own:
            residuals[name] = (shared * common + rng.laplace(size=2000)).astype(np.float32)
    return residuals


def test_families_that_share_errors_come_together() -> None:
    report = measure(made_up(shared=1.5))
    assert report.together == {"composition": True, "graph": True}
    assert min(report.margin.values()) > 0.4
    assert {frozenset(join.members) for join in report.joins} >= {frozenset(own) for own in FAMILIES.values()}


def test_families_that_share_nothing_do_not() -> None:
    report = measure(made_up(shared=0.0))
    assert not all(report.together.values())
    assert max(report.margin.values()) < 0


@pytest.mark.skipif("TEAM_TEST_DATA" not in os.environ, reason="TEAM_TEST_DATA is not set")
def test_published_models_come_together() -> None:
    report = measure(read_residuals(Path(os.environ["TEAM_TEST_DATA"])))
    assert report.together == {"composition": True, "graph": True}
    at = {name: number for number, name in enumerate(report.models)}
    assert set(report.joins[0].members) == {"automatminer_expressv2020", "rf"}
    known = {("rf", "automatminer_expressv2020"): 0.76, ("coNGN", "DeeperGATGNN"): 0.63, ("coNGN", "alignn"): 0.62,
             ("CrabNet", "automatminer_expressv2020"): 0.68, ("cgcnnv2019", "CrabNet"): 0.32}  # fmt: skip
    for (one, other), correlation in known.items():
        assert report.correlation[at[one]][at[other]] == pytest.approx(correlation, abs=0.006)
