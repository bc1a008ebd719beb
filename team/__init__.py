"""Who? The roles of the research team, the offline team, and the `team` command.

In a notebook, `team.open_run` opens a run, finished or at work, as data frames, graph and figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from team.frames import OpenRun


def open_run(name: str | Path | None = None, runs: str | Path = "runs") -> OpenRun:
    """Open a run for reading; it may be at work, and is not disturbed.

    Args:
        name: Its name, or the path of its folder; the run that was written to last where it is left out.
        runs: Folder that holds the runs.

    Raises:
        RunError, JournalError: There is no such run, or its journal is damaged.
    """
    from team.frames import OpenRun  # pandas and the rest are imported where they are used

    return OpenRun.open(name, runs)
