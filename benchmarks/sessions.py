"""Sessions of a run, each a process of its own that does and says what `team` does, and is there to be killed."""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import TYPE_CHECKING

from team.cli import mendable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def fork_session(act: Callable[[], int], log: Path) -> int:
    """Fork a process that does `act`, with what it says in `log`, and return its number.

    It ends as `team` does: what it knows to say is one line and a code, anything else a traceback.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = act()
    except Exception as error:
        if (message := mendable(error)) is None:
            traceback.print_exc()
        else:
            code = 1
            print(f"team: {message}", flush=True)
    finally:
        os._exit(code)


def exit_code(session: int) -> int:
    """Wait for a session to end, and return its exit code, that of a signal negative."""
    return os.waitstatus_to_exitcode(os.waitpid(session, 0)[1])


def is_over(session: int) -> bool:
    """Say whether a session has ended, and leave its exit code to be asked for."""
    try:
        return os.waitid(os.P_PID, session, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def reap() -> None:
    """Take note of all children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
