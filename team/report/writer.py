"""Writes `report.html`: once for the command, and after each trial beside a run, where it must cost the run next to
nothing.

The run only sets a flag; a thread of low priority reads the journal from the disk, as any other reader would. Writing
takes at most a fiftieth of the time, and the last state is always written.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from graph.run_folder import write_atomically
from team.report.build import Gatherer
from team.report.page import report_html

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from graph.context import Event
    from graph.run_folder import RunFolder

SHARE_OF_TIME = 50.0  # a report that took a second is not written again for fifty
NICENESS = 10
POLL_SECONDS = 0.5


def write_report(folder: RunFolder, path: Path | None = None, gatherer: Gatherer | None = None) -> Path:
    """Write the report of a run and return where it lies.

    Args:
        folder: A prepared run, finished or not.
        path: The file to write; `report.html` in the run's folder where None.
        gatherer: Keeps what does not change between two reports of one run.

    Raises:
        RunError, JournalError, DataError: The run cannot be read.
        OSError: The file cannot be written.
    """
    page = report_html((gatherer or Gatherer(folder)).payload())
    path = folder.report if path is None else path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page)
    return path


class ReportWriter:
    """Keeps the report of a run current while the block lasts, and leaves the last state behind.

    Args:
        folder: The run.
        say: Told once, at the end, where a report could not be written.
    """

    def __init__(self, folder: RunFolder, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._say = say
        self._gatherer = Gatherer(folder)
        self._wanted, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="report", daemon=True)
        self._trouble = ""

    def __enter__(self) -> ReportWriter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self.folder.journal.exists():
            self._write()
        if self._trouble:
            self._say(self._trouble)

    def listen(self, event: Event) -> None:
        """Take in one event of the state machine: a record wants a new report."""
        if event.kind == "record":
            self._wanted.set()

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # of this thread alone, on Linux
        rest_until = 0.0
        while not self._over.wait(POLL_SECONDS):
            if self._wanted.is_set() and time.monotonic() >= rest_until:
                self._wanted.clear()
                begun = time.monotonic()
                self._write()
                rest_until = time.monotonic() + SHARE_OF_TIME * (time.monotonic() - begun)

    def _write(self) -> None:
        try:
            write_report(self.folder, gatherer=self._gatherer)
            self._trouble = ""
        except Exception as error:  # a border: a picture of a run must never end the run
            self._trouble = (
                f"the report could not be written ({type(error).__name__}: {error}); `team report` tries again"
            )
