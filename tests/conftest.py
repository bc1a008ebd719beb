"""What all tests share: the tiny seed folder, and the `team` command as a real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

TINY_SEED = Path(__file__).parent / "tiny_seed"


@pytest.fixture
def team(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs `team` with its runs below tmp_path and its cache too."""

    def run(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            team_command(*arguments), cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def team_command(*arguments: object) -> list[str]:
    """Return the command line of `team` in this environment."""
    return [str(Path(sys.executable).with_name("team")), *map(str, arguments)]
