"""What a run is doing at this moment, in a small file that other processes read: `runs/<name>/now.json`.

The journal says what was done; this file says what is being done. The run's own listener writes it, never a trial. It
is a courtesy: it may be lost, and nothing is decided by it. Readers take no lock, and see the old file or the new one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from evaluation_locked.task import Strict
from graph.run_folder import write_atomically
from memory.run_lock import process_began

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graph.context import Event
    from graph.run_folder import RunFolder

Standing = Literal["working", "ended", "waiting", "interrupted", "killed", "unknown"]


class Now(Strict):
    """What the process that last worked on a run was doing.

    Attributes:
        process: Its number on `host`.
        process_began: When the kernel started it, in its own ticks, so that a later process of that number is not it.
        begun_at: When it began to work on the run, in seconds since 1970; so are the other times.
        number: The trial at work.
        node: The step of the round, such as `train`; empty while crystals are read.
        phase: Of the trial, empty outside one.
        since: When node or phase was entered.
        title: Of the idea at work, empty before one is chosen.
        over: Whether the process is done with the run.
        stopped: Why the run ended; empty where it was interrupted, and while it works.
        waits: Whether it ended with a question that a person has to answer.
    """

    process: int
    process_began: int
    host: str
    begun_at: float
    number: int = 0
    node: str = ""
    phase: str = ""
    since: float
    title: str = ""
    over: bool = False
    stopped: str = ""
    waits: bool = False

    @property
    def standing(self) -> Standing:
        """Whether the run is at work, ended, waits for a person, was interrupted or killed; unknown from elsewhere."""
        if self.over:
            return "ended" if self.stopped else "waiting" if self.waits else "interrupted"
        if self.host != socket.gethostname() or self.process_began < 0:
            return "unknown"
        return "working" if process_began(self.process) == self.process_began else "killed"


class Announcer:
    """Keeps `now.json` of a run current while its process works on it.

    Attributes:
        stopped: To be set to why the run ended; left empty, it counts as interrupted.
        waits: To be set where it ended with a question to a person.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.stopped = ""
        self.waits = False
        self._path = folder.now
        began = process_began(os.getpid())
        self._now = Now(
            process=os.getpid(),
            process_began=-1 if began is None else began,
            host=socket.gethostname(),
            begun_at=time.time(),
            since=time.time(),
        )
        self._write()

    def hear(self, listen: Callable[[Event], None]) -> Callable[[Event], None]:
        """Return a listener that takes in an event here and passes it on to `listen`."""

        def both(event: Event) -> None:
            self.listen(event)
            listen(event)

        return both

    def listen(self, event: Event) -> None:
        """Take in one event of the state machine."""
        if event.kind == "node" and event.node is not None:
            title = "" if event.node == "strategise" else self._now.title
            self._change(number=event.number, node=event.node, phase="", title=title)
        elif event.kind == "phase" and event.phase is not None:
            self._change(number=event.number, phase=event.phase)
        elif event.kind == "idea" and event.idea is not None:
            self._change(title=event.idea.title)

    def end(self) -> None:
        """Say that the process is done with the run."""
        if self._path.parent.is_dir():  # a run that could not be prepared has no folder any more
            self._change(node="", phase="", over=True, stopped=self.stopped, waits=self.waits)

    def _change(self, **changes: object) -> None:
        since = self._now.since if changes.keys() == {"title"} else time.time()
        self._now = self._now.model_copy(update={**changes, "since": since})
        self._write()

    def _write(self) -> None:
        write_atomically(self._path, self._now.model_dump_json() + "\n", durable=False)


@contextlib.contextmanager
def announce(folder: RunFolder) -> Iterator[Announcer]:
    """Keep `now.json` current while the block lasts, and say at its end, however it ends, that nobody is at work."""
    announcer = Announcer(folder)
    try:
        yield announcer
    finally:
        announcer.end()


def read_now(folder: RunFolder) -> Now | None:
    """Return what the run is doing; None where no file says so, or another version wrote it."""
    try:
        return Now.model_validate_json(folder.now.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
