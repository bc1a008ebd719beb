"""A terminal of a given size for a child process, and what the child wrote to it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Terminal:
    """Runs a command in a pseudo-terminal; `screen` holds all that it wrote so far, escape codes and all."""

    def __init__(self, command: list[str], cwd: Path, columns: int = 80, lines: int = 24, **environment: str):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of a background job, which would hand it on
            signal.signal(signal.SIGINT, signal.default_int_handler)
        hidden = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI")
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm-256color", **environment},
            start_new_session=True,
        )
        os.close(theirs)
        self._fd = ours
        self.screen = ""

    def wait_for(self, seen: Callable[[str], bool], seconds: float = 120) -> str:
        """Read until `seen` holds of the screen's text without codes, or the process ends; return that text."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self._read(0.2) or seen(self.text):
                break
        return self.text

    def finish(self) -> int:
        """Read to the end and return the exit code."""
        self.wait_for(lambda text: False)
        code = self.process.wait(timeout=30)
        os.close(self._fd)
        return code

    @property
    def text(self) -> str:
        """What was written, without escape codes."""
        return CODES.sub("", self.screen).replace("\r\n", "\n")

    def _read(self, seconds: float) -> bool:
        if select.select([self._fd], [], [], seconds)[0]:
            try:
                data = os.read(self._fd, 65_536)
            except OSError:  # the other end is closed
                return False
            self.screen += data.decode(errors="replace")
            return bool(data)
        return True
