"""What a page needs to know of a run, read from the run's files alone, and read once however many pages are open."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from graph.run_folder import last_words
from memory.journal import Journal
from memory.person import PersonLog
from memory.records import Idea
from team.at_work import doing
from team.now import read_now
from team.report.build import Gatherer
from team.report.page import json_for_html

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from graph.run_folder import RunFolder

FRESH_SECONDS = 0.5
LOG_LINES = 24
MAX_DIFF_CHARACTERS = 200_000  # a person approves what is seen, so all of any change that is one


@dataclass(frozen=True)
class Asked:
    """The change that a run with --approve asks a person about."""

    trial: int
    title: str
    why: str
    review: str
    diff: str


@dataclass(frozen=True)
class TrialNow:
    """A trial at work; `doing` is its phase or whose turn it is, in a word or two."""

    number: int
    doing: str
    title: str


@dataclass(frozen=True)
class Now:
    """A run at this moment.

    Attributes:
        version: Changes with the journal: a page whose panels are of another version asks for them anew.
        state: `working`, `pausing` (after the trials at work), or `stopped`.
        trials: At work, by their numbers.
        log_of: The trial whose log is shown, None where none has one: the first one at work that trains, or else the
            newest of all.
        log: The end of what it printed.
        trouble: Why a resume that was asked for here did not go on; empty where it did.
        question: What waits for a person's answer, None where nothing does.
    """

    version: str
    state: str
    trials: tuple[TrialNow, ...] = ()
    log_of: int | None = None
    log: tuple[str, ...] = ()
    trouble: str = ""
    question: Asked | None = None

    def as_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self))


class RunWatch:
    """Reads a run for all open pages.

    Args:
        folder: The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.resumed: subprocess.Popen[bytes] | None = None
        self._gatherer = Gatherer(folder)
        self._lock = threading.Lock()
        self._now: tuple[float, Now] | None = None
        self._payload: tuple[str, bytes] | None = None
        self._recorded: tuple[str, frozenset[int]] = ("", frozenset())

    def now(self) -> Now:
        """Return the run's state, at most half a second old."""
        with self._lock:
            if self._now is None or time.monotonic() - self._now[0] > FRESH_SECONDS:
                self._now = (time.monotonic(), self._read())
            return self._now[1]

    def payload(self) -> bytes:
        """Return the report's data as JSON, gathered anew where the journal has grown.

        Raises:
            RunError, JournalError, DataError: The run cannot be read.
        """
        with self._lock:
            version = self._version()
            if self._payload is None or self._payload[0] != version:
                data: dict[str, Any] = self._gatherer.payload() | {"version": version}
                self._payload = (version, json_for_html(data).encode())
            return self._payload[1]

    def _read(self) -> Now:
        working = bool(Journal(self.folder.journal).writer())
        state = ("pausing" if self.folder.pause.exists() else "working") if working else "stopped"
        version = self._version()
        trials = self._at_work(version) if working else ()
        log_of, log = self._log(trials)
        return Now(version, state, trials, log_of, tuple(log), self._trouble(), self._question(version))

    def _at_work(self, version: str) -> tuple[TrialNow, ...]:
        now = read_now(self.folder)
        if now is None or now.standing != "working":
            return ()
        trials = [trial for trial in now.at_work if trial.number not in self._recorded_trials(version)]
        return tuple(TrialNow(trial.number, doing(trial, trials), trial.title) for trial in trials)

    def _log(self, trials: tuple[TrialNow, ...]) -> tuple[int | None, list[str]]:
        for trial in trials:
            place = self.folder.trial_folders.find(trial.number)
            if place is not None and (log := _newest_log(place)):
                return trial.number, log
        newest = self.folder.trial_folders.newest()
        return (None, []) if newest is None or trials else (newest[0], _newest_log(newest[1]))

    def _question(self, version: str) -> Asked | None:
        asked = PersonLog(self.folder.person).read().open_question(self._recorded_trials(version))
        if asked is None:
            return None
        place = self.folder.trial(asked.trial)
        idea = Idea.model_validate_json((place / "idea.json").read_text(encoding="utf-8"))
        review = place / "review.json"
        notes = json.loads(review.read_text(encoding="utf-8"))["reasons"] if review.exists() else []
        diff = (place / "change.diff").read_text(encoding="utf-8")
        return Asked(asked.trial, idea.title, idea.why, "; ".join(notes), diff[:MAX_DIFF_CHARACTERS])

    def _recorded_trials(self, version: str) -> frozenset[int]:
        if self._recorded[0] != version:
            entries = Journal(self.folder.journal).read()
            self._recorded = version, frozenset(entry.number for entry in entries if entry.kind == "trial")
        return self._recorded[1]

    def _version(self) -> str:
        try:
            found = self.folder.journal.stat()
        except OSError:
            return "0"
        return f"{found.st_size}-{found.st_mtime_ns}"

    def _trouble(self) -> str:
        """Return the last words of a resume that failed, such as a seal that no longer fits."""
        if self.resumed is None or self.resumed.poll() in (
            None,
            0,
            130,
            3,
        ):  # at work, done, stopped, waits for a person
            return ""
        lines = (self.folder.path / "resume.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1][:500] if lines else f"team resume ended with code {self.resumed.returncode}"


def _newest_log(trial: Path) -> list[str]:
    """Return the end of the trial's log, or of its smoke trial's while that is the newer one."""
    logs = [path for path in (trial / "train.log", trial / "smoke" / "train.log") if path.exists()]
    return last_words(max(logs, key=lambda path: path.stat().st_mtime).parent, LOG_LINES) if logs else []
