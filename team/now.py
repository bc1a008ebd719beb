"""What a run is doing at this moment, in a small file that other processes read: `runs/<name>/now.json`.

The journal says what was done; this file says what is being done. The run's own listener writes it, never a trial. It
is a courtesy: it may be lost, and nothing is decided by it. Readers take no lock, and see the old file or the new one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from evaluation_locked.task import Strict
from graph.run_folder import write_atomically
from memory.records import TrialRecord
from memory.run_lock import process_began

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graph.context import Event
    from graph.run_folder import RunFolder

REST_SECONDS = 0.2  # the shortest time between two writings; a round without a training takes less

Standing = Literal["working", "ended", "waiting", "interrupted", "killed", "unknown"]


class AtWork(Strict):
    """A trial that is begun, and neither recorded nor given up.

    Attributes:
        number: Its number.
        node: The step of its round, such as `train`.
        phase: Of the trial, empty outside one.
        since: When node or phase was entered, in seconds since 1970.
        title: Of its idea, empty before one is chosen.
        player: The model that plays the role whose turn it is; empty for the offline team.
    """

    number: int
    node: str
    phase: str = ""
    since: float
    title: str = ""
    player: str = ""


class Now(Strict):
    """What the process that last worked on a run was doing.

    Attributes:
        process: Its number on `host`.
        process_began: When the kernel started it, in its own ticks, so that a later process of that number is not it.
        begun_at: When it began to work on the run, in seconds since 1970; so are the other times.
        at_work: The trials in flight by their numbers; none while crystals are read.
        since: When something of this changed last.
        over: Whether the process is done with the run.
        stopped: Why the run ended; empty where it was interrupted, and while it works.
        waits: Whether it ended with a question that a person has to answer.
    """

    process: int
    process_began: int
    host: str
    begun_at: float
    at_work: tuple[AtWork, ...] = ()
    since: float
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


def follow(at_work: tuple[AtWork, ...], event: Event) -> tuple[AtWork, ...]:
    """Return the trials at work after an event, by their numbers."""
    trials = {trial.number: trial for trial in at_work}
    held = trials.get(event.number)
    title = event.idea.title if event.idea is not None else ""
    if event.kind == "over" or isinstance(event.entry, TrialRecord):
        trials.pop(event.number, None)
    elif event.kind == "node" and event.node is not None:
        if held is not None and event.node != "strategise":
            title = title or held.title
        trials[event.number] = AtWork(
            number=event.number, node=event.node, since=time.time(), title=title, player=event.text
        )
    elif held is not None and event.kind == "phase" and event.phase is not None:
        trials[event.number] = held.model_copy(update={"phase": event.phase, "since": time.time()})
    elif held is not None and event.kind == "idea":
        trials[event.number] = held.model_copy(update={"title": title})
    return tuple(trials[number] for number in sorted(trials))


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
        self._threads = threading.Lock()
        self._rest_until = 0.0
        self._late: threading.Timer | None = None  # writes what came while it rested
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
        """Take in one event of the state machine; from any thread."""
        with self._threads:
            at_work = follow(self._now.at_work, event)
            if at_work != self._now.at_work:
                self._change(at_work=at_work)

    def end(self) -> None:
        """Say that the process is done with the run."""
        with self._threads:
            self._rest_until = 0.0
            if self._late is not None:
                self._late.cancel()
                self._late = None
            if self._path.parent.is_dir():  # a run that could not be prepared has no folder any more
                self._change(at_work=(), over=True, stopped=self.stopped, waits=self.waits)

    def _change(self, **changes: object) -> None:
        self._now = self._now.model_copy(update={**changes, "since": time.time()})
        rest = self._rest_until - time.monotonic()
        if rest <= 0:
            self._write()
        elif self._late is None:
            self._late = threading.Timer(rest, self._write_late)
            self._late.daemon = True
            self._late.start()

    def _write(self) -> None:
        write_atomically(self._path, self._now.model_dump_json() + "\n", durable=False)
        self._rest_until = time.monotonic() + REST_SECONDS

    def _write_late(self) -> None:
        with (
            self._threads,
            contextlib.suppress(OSError),
        ):  # the run learns of a full disk where it has something to lose
            if self._late is not None:
                self._late = None
                self._write()


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
