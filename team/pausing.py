"""Pausing a run: a flag in its folder that a round reads before it begins, so that no trial is cut short.

Ctrl-C ends the running trial at once; a pause lets it finish, is recorded like any other, and then the run ends as at
the end of its budget. `team resume` takes the flag away and goes on. It works from any shell, and whether the run is
at work or not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from graph.errors import RunError
from graph.run_folder import utc_now, write_atomically
from memory.journal import Journal

if TYPE_CHECKING:
    from graph.run_folder import RunFolder

RESUME_LOG = "resume.log"


def pause(folder: RunFolder) -> str:
    """Ask a run to stop after the trials at work; return what follows, in words.

    Raises:
        RunError: It is not at work.
    """
    if not Journal(folder.journal).writer():
        raise RunError(f"run {folder.name} is not at work, so there is nothing to pause")
    write_atomically(folder.pause, f"asked at {utc_now()}\n")
    return f"run {folder.name} stops after what is at work; `team resume {folder.name}` goes on"


def unpause(folder: RunFolder) -> bool:
    """Take a pause back; return whether there was one."""
    asked = folder.pause.exists()
    folder.pause.unlink(missing_ok=True)
    return asked


def resume_beside(folder: RunFolder, trials: int | None = None) -> tuple[str, subprocess.Popen[bytes] | None]:
    """Let a run go on without a terminal: take back a pause that is not yet taken up, or start `team resume`.

    The new process outlives this one; what it prints is in `resume.log`.

    Returns:
        What follows, in words, and the process where one was started.

    Raises:
        RunError: It is at work already, and was not asked to pause.
    """
    if Journal(folder.journal).writer():
        if not unpause(folder):
            raise RunError(f"run {folder.name} is at work already")
        return f"run {folder.name} goes on; the pause is taken back", None
    command = [sys.executable, "-c", "from team.cli import main; main()", "resume", folder.name]
    command += ["--runs", str(folder.path.resolve().parent)]
    command += ["--trials", str(trials)] if trials is not None else []
    with (folder.path / RESUME_LOG).open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C here is not for it
            env=os.environ | {"TERM": "dumb"},
        )
    return f"run {folder.name} goes on", process
