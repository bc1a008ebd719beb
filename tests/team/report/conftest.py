"""Runs that are made once and looked at by many tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.team.report.runs import make_run

if TYPE_CHECKING:
    from graph.run_folder import RunFolder


@pytest.fixture(scope="package")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("runs"), 24, name="hostile", hostile=True)


@pytest.fixture(scope="package")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("runs"), 1_000, name="long")
