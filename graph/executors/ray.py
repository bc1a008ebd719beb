"""Trials on a Ray cluster: one that is there, or one of this host that begins and ends with the run.

Ray is spoken to by a process of its own (`graph.executors.ray_driver`): the run's process imports nothing of it, keeps
its signals and its terminal, and outlives a cluster that is gone. A driver that died took its trials with it: they are
lost, and the next trial starts another.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection
from typing import IO, TYPE_CHECKING

from evaluation_locked.trial import TrialCancelled, TrialOutcome
from graph.errors import RunError
from graph.executors.far import FarResult, bring_home
from graph.executors.ray_words import Opening, Word

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from evaluation_locked.trial import Phase, TrialOrder
    from graph.executors.settings import RaySettings

POLL_SECONDS = 0.1  # how long a stop may go unheard
START_SECONDS = 180.0  # for a cluster to start on a busy host, or a far one to answer
LEAVE_SECONDS = 20.0  # for a driver to leave once its line is closed; then it is killed
LOG_TAIL_BYTES = 2_000
PASSED = (
    "PATH LANG LC_ALL LD_LIBRARY_PATH HOME USER LOGNAME TMPDIR CUDA_VISIBLE_DEVICES CUDA_HOME ROCR_VISIBLE_DEVICES"
).split()
OURS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # a trial has a cap of its own; Ray would kill the worker that holds it
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # what Ray has for a host alone, by the systems where it must


class RayExecutor:
    """Runs each trial as a task of a Ray cluster; trials beyond what the cluster holds wait in its queue.

    Args:
        settings: Which cluster, and what a trial is given of it.
        workers: Trials at once.
        n_threads: CPU threads of a trial.

    Attributes:
        sent: How often a node was sent a bundle.
    """

    def __init__(self, settings: RaySettings, workers: int, n_threads: int) -> None:
        self._opening = Opening(settings, workers, n_threads)
        self._environment = _environment(bool(settings.address))
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._link: _Link | None = None
        self.sent = 0

    def __enter__(self) -> Self:
        """Start the driver, and with it a cluster where none is named.

        Raises:
            RunError: Ray is not installed, there is no such cluster, or no node of it can take a trial.
        """
        self._linked()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the driver, what it runs, and the cluster that it started."""
        with self._lock:
            if self._link is not None:
                self._link.close()
            self._link = None

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        """Run one trial to its end; see `Executor`."""
        if cancel.is_set():
            raise TrialCancelled
        number, asked = next(self._numbers), False
        link = self._linked()
        words = link.begin(number, order)
        while True:
            if cancel.is_set() and not asked:
                asked = True
                link.say(Word("cancel", number))
            try:
                word = words.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if word.kind == "phase":
                on_phase(word.about)
            elif word.kind == "no":
                raise RunError(word.about)
            elif word.kind == "gone":
                if asked:
                    raise TrialCancelled
                return TrialOutcome(status="lost", message=word.about)
            else:
                result: FarResult = word.about
                self.sent += result.fetched
                return bring_home(result, order)

    def _linked(self) -> _Link:
        """Return the link to the driver; a dead one is replaced."""
        with self._lock:
            if self._link is not None and not self._link.alive:
                self._link.close()
                self._link = None
            if self._link is None:
                self._link = _Link(self._opening, self._environment)
            return self._link


class _Link:
    """A driver process, and the words that go to it and come from it.

    Raises:
        RunError: It cannot serve.
    """

    def __init__(self, opening: Opening, environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the link
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "graph.executors.ray_driver", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C in the terminal is for the run, which then closes the line
        )
        theirs.close()
        self._line = Connection(ours.detach())
        self._sending = threading.Lock()
        self._words: dict[int, queue.SimpleQueue[Word]] = {}
        self._known = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self.alive = True
        try:
            self._line.send(opening)
            first = self._line.recv() if self._line.poll(START_SECONDS) else Word("refused", about=self._silence())
        except (EOFError, OSError):
            first = Word("refused", about=f"Ray could not be started: {self._last_words()}")
        if first.kind == "refused":
            self._process.terminate()  # it runs nothing; a cluster that it had begun to start ends with it
            self.close()
            raise RunError(first.about)
        self._reader.start()

    def begin(self, number: int, order: TrialOrder) -> queue.SimpleQueue[Word]:
        """Have the driver run a trial, and return what it will say of it."""
        words: queue.SimpleQueue[Word] = queue.SimpleQueue()
        with self._known:
            self._words[number] = words
            alive = self.alive
        if not alive:
            words.put(Word("gone", number, self._death()))
        self.say(Word("run", number, order))
        return words

    def say(self, word: Word) -> None:
        """Tell the driver something; one that is gone hears nothing, which its reader tells everybody."""
        with self._sending, contextlib.suppress(OSError):
            self._line.send(word)

    def close(self) -> None:
        """End the driver; nothing of it is left when this returns."""
        self.alive = False
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._line.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)  # which the reading thread hears too
        try:
            self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.terminate()  # its keeper then ends all of it
            self._process.wait()
        if self._reader.is_alive():
            self._reader.join()
        self._line.close()
        self._log.close()

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                word: Word = self._line.recv()
                with self._known:
                    done = word.kind in ("result", "no")
                    words = self._words.pop(word.trial) if done else self._words[word.trial]
                words.put(word)
        with self._known:
            self.alive = False
            left, self._words = self._words, {}
        for number, words in left.items():
            words.put(Word("gone", number, self._death()))

    def _death(self) -> str:
        return f"the process that speaks to Ray ended: {self._last_words()}"

    def _silence(self) -> str:
        return f"Ray did not answer for {START_SECONDS:g} s: {self._last_words()}"

    def _last_words(self) -> str:
        """Return the last line that Ray printed."""
        with contextlib.suppress(OSError, ValueError):
            size = os.fstat(self._log.fileno()).st_size
            tail = os.pread(self._log.fileno(), LOG_TAIL_BYTES, max(0, size - LOG_TAIL_BYTES))
            if lines := [line for line in tail.decode(errors="replace").splitlines() if line.strip()]:
                return lines[-1][:300]
        return "it said nothing"


def _environment(existing: bool) -> dict[str, str]:
    """Return a driver's environment; Ray's own variables, which may hold a token, go to a cluster that is named."""
    passed = {name: value for name, value in os.environ.items() if existing and name.startswith("RAY_")}
    own = {} if existing else LOOPBACK | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return passed | {name: os.environ[name] for name in PASSED if name in os.environ} | OURS | own
