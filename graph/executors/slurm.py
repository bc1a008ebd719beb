"""Trials as Slurm jobs: one trial is one job, and whatever becomes of the job is an outcome of the trial.

The run's folder lies on a file system that this host and the nodes share. A job's own folder, `slurm-<token>` within
the trial's, holds what submitit writes, the bundle and a word on the phase; the job reads nothing else of the run, so
that labels that judge are out of its reach. It is removed when the trial is over; one that is there belongs to a job
whose submitter was killed. A job is named after run and trial, and its name ends with the token.

What ends a job without a result, and what its trial then is:

    somebody cancelled it, its node failed, it was preempted    lost: it says nothing of the idea, and is run once more;
    and not requeued, it could not be launched, it failed       where that happens again, the run stops and says why
    its time limit, which allows more than the caps             lost: the warden ends a trial at its caps, so it was the
                                                                node that stood still
    its time limit, where `time_minutes` allows less            overtime: a person allows no more, now or next time
    its memory: the cap and `spare_memory_gib` beyond it        memory: it took that between two looks of the warden
    the controller does not answer for `PATIENCE_SECONDS`       lost; the job is ended when it answers again, or by its
                                                                time limit

A job that is requeued, by preemption, a failed node or a person, begins its trial again on its new node. It has one
folder and so one result: the first that is there counts, and says how often the trial was begun again.
"""

from __future__ import annotations

import contextlib
import pickle
import shutil
import threading
import time
from typing import TYPE_CHECKING

from evaluation_locked.trial import TrialCancelled, TrialOutcome
from graph.errors import RunError
from graph.executors.bundle import link
from graph.executors.far import Errand, bring_home, judge_code
from graph.executors.slurm_jobs import JobState, SlurmQueue, SlurmSilentError, end_jobs, list_jobs
from graph.executors.slurm_node import ROWS, Word, hold_trial, read_words, rows_of
from graph.executors.slurm_settings import SlurmSettings
from graph.executors.slurm_submission import (
    NAME_PREFIX,
    job_name,
    make_job_folder,
    submit,
    token_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from evaluation_locked.trial import Phase, TrialOrder, TrialStatus
    from graph.executors.slurm_submission import Job

POLL_SECONDS, MOST_SECONDS = 0.5, 5.0  # between two looks at a trial's files; the longer it takes, the fewer
RETRY_SECONDS = 10.0  # between two tries to submit
PATIENCE_SECONDS = 900.0  # for a controller that does not answer, and for a queue that takes no more jobs
RESULT_SECONDS = 10.0  # for a file of an ended job to show on this host
LEAVE_SECONDS = 10.0  # for a job that has handed in its result to end by itself
END_SECONDS = 120.0  # for a job to be gone once its end was asked for; what does not go is killed after KillWait
LAST_WORDS = 300
LOG_FILE = "job.log"
MEMORY_WORDS = "memory limit"  # of a node without control groups, where Slurm has no state of its own for it
ENDS = {
    "CANCELLED": "somebody cancelled it",
    "COMPLETED": "it ended without a result",
    "FAILED": "it failed before the trial was over",
    "GONE": "the controller knows nothing of it any more, and it left no result",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "PREEMPTED": "another job took its place",
    "TIMEOUT": "its time limit was over, which allows more than the caps: the node stood still",
}


class SlurmExecutor:
    """Runs each trial as a job of its own; trials may run at the same time, each in a Python thread."""

    def __init__(self, settings: SlurmSettings | None = None):
        self.settings = settings or SlurmSettings()
        self._code = judge_code()
        self._queue = SlurmQueue()
        self._unended: dict[str, Path] = {}  # jobs of which the controller did not hear that they are wanted no more

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        """Run one trial as a job to its end; whatever becomes of the job is an outcome.

        Raises:
            TrialCancelled: `cancel` was set; the job is over.
            RunError: Slurm refuses such a job, its node can hold no trial, or submitit is not installed.
        """
        if order.kept is not None:
            raise RunError("a stored training is used on this machine, not on Slurm")
        self._end_unended()
        folder = make_job_folder(order.folder)
        name, patience_seconds = job_name(folder), 0.0
        try:
            job = self._submit(order, folder, name, cancel)
            outcome = self._attend(job, order, on_phase, cancel)
            patience_seconds = 0.0 if outcome.status == "lost" else LEAVE_SECONDS
            return outcome
        except SlurmSilentError as error:
            return TrialOutcome(status="lost", message=f"no job could be submitted: {error}")
        finally:
            self._see_off(folder, name, patience_seconds)

    def _submit(self, order: TrialOrder, folder: Path, name: str, cancel: threading.Event) -> Job:
        """Submit the job of a trial, again and again where Slurm is not to be reached or takes no more jobs just now.

        Raises:
            SlurmSilentError: That went on for `PATIENCE_SECONDS`.
            RunError: Slurm refuses such a job.
            TrialCancelled: `cancel` was set.
        """
        errand = Errand(order, order.train_py.read_text(encoding="utf-8"), ROWS, self._code)
        link(order.locked, rows_of(folder))
        until, parameters, again = time.monotonic() + PATIENCE_SECONDS, self.settings.parameters(order, name), False
        while True:
            try:
                if again:
                    end_jobs([name])  # the last one may have been taken although no answer came
                return submit(folder, parameters, hold_trial, folder, errand)
            except SlurmSilentError:
                if time.monotonic() > until:
                    raise
            again = True
            if cancel.wait(RETRY_SECONDS):
                raise TrialCancelled

    def _attend(
        self, job: Job, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event
    ) -> TrialOutcome:
        """Wait for the end of a job and return what became of its trial.

        Raises:
            TrialCancelled: `cancel` was set.
        """
        began = heard_at = time.monotonic()
        state, over_since, n_heard = JobState("PENDING"), None, 0
        while True:
            handed_in = _is_there(job.result)
            words = read_words(job.folder)
            for word in words[n_heard:]:
                if word.phase is not None:
                    on_phase(word.phase)
            n_heard, word = len(words), words[-1] if words else Word()
            if handed_in:
                return _take(job, word, order.folder)
            if cancel.wait(min(MOST_SECONDS, max(POLL_SECONDS, (time.monotonic() - began) / 20))):
                raise TrialCancelled
            now = time.monotonic()
            try:
                state, heard_at = self._queue.find(job.name, since=began) or state.vanished(), now
            except SlurmSilentError as error:
                if now - heard_at > PATIENCE_SECONDS:
                    message = f"nothing was heard of job {job.number} for {now - heard_at:.0f} s: {error}"
                    return TrialOutcome(status="lost", message=message)
                continue
            over_since = (over_since or now) if state.over or state.stuck else None
            if over_since is not None and now - over_since > RESULT_SECONDS:
                printed = _keep_log(job, order.folder)
                cut_short = self.settings.cuts_short(order.caps)
                return outcome_of(state, job.number, word, cut_short=cut_short, printed=printed)

    def _see_off(self, folder: Path, name: str, patience_seconds: float) -> None:
        """See that a job is over, have it ended where it does not end by itself, and remove its folder."""
        if not self._is_over(name, patience_seconds, ("COMPLETING",)):
            try:
                end_jobs([name])
            except SlurmSilentError:
                self._unended[name] = folder
                return
            if not self._is_over(name, END_SECONDS, ()):
                return  # its folder stays, so that the next resume sees to it
        shutil.rmtree(folder, ignore_errors=True)

    def _is_over(self, name: str, patience_seconds: float, as_good: Collection[str]) -> bool:
        """Say whether a job is over, or in a state that is as good, within some time."""
        began = time.monotonic()
        while (now := time.monotonic()) < began + patience_seconds:
            with contextlib.suppress(SlurmSilentError):
                state = self._queue.find(name, since=max(began, now - 1))
                if state is None or state.over or state.state in as_good:
                    return True
            time.sleep(POLL_SECONDS)
        return False

    def _end_unended(self) -> None:
        """Have jobs ended of which the controller did not hear so while it was away."""
        for name, folder in list(self._unended.items()):
            with contextlib.suppress(SlurmSilentError):
                end_jobs([name])
                self._unended.pop(name, None)
                shutil.rmtree(folder, ignore_errors=True)


def end_orphan_jobs(folders: Collection[Path]) -> int:
    """End the jobs of a run that was killed, and remove their folders; return how many were not over.

    Args:
        folders: Those of the jobs, wherever they lie now.

    Raises:
        RunError: Slurm does not say what became of their jobs, or one does not end.
    """
    tokens = {token_of(folder) for folder in folders}
    try:
        left = names = _under_way(tokens)
        end_jobs(names)
        until = time.monotonic() + END_SECONDS
        while left and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            left = _under_way(tokens)
    except SlurmSilentError as error:
        raise RunError(
            f"jobs of this run may be left, and Slurm does not say ({error}): resume where it answers, or remove "
            f"{next(iter(folders))} if that job is over"
        ) from error
    if left:
        raise RunError(f"job {sorted(left)[0]} of this run does not end: see `squeue --name={sorted(left)[0]}`")
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return len(names)


def _under_way(tokens: Collection[str]) -> set[str]:
    jobs = list_jobs()
    return {
        name
        for name, state in jobs.items()
        if name.startswith(NAME_PREFIX) and name.rpartition("-")[2] in tokens and not state.over
    }


def outcome_of(state: JobState, number: str, word: Word, *, cut_short: bool, printed: str = "") -> TrialOutcome:
    """Return what a trial is whose job is over and has left no result; the module's docstring gives the reasons.

    Args:
        state: The job's last.
        number: The job's.
        word: The last that it said.
        cut_short: Whether its time limit allows less than the trial's caps.
        printed: The last line of it.
    """
    status: TrialStatus = "lost"
    where = f" on {word.node or state.nodes}" if word.node or state.nodes else ""
    if state.state == "OUT_OF_MEMORY" or MEMORY_WORDS in printed:
        status, said = "memory", "its node ended it for its memory: smaller batches, or raise caps.memory_gib"
    elif state.state == "TIMEOUT" and cut_short:
        status, said = "overtime", "its time limit was over, which is less than the caps: raise time_minutes"
    else:
        said = ENDS.get(state.state, f"Slurm says {state.state}")
        if state.stuck:
            said = f"Slurm does not start it ({state.reason})"
    last = f": {printed}" if printed and state.state in ("FAILED", "COMPLETED") else ""
    return TrialOutcome(status=status, message=_begun_again(f"job {number}{where}: {said}{last}", word))


def _take(job: Job, word: Word, folder: Path) -> TrialOutcome:
    """Bring home what a job has handed in, and return the outcome.

    Raises:
        RunError: Its node can hold no trial.
    """
    kind, held = pickle.loads(job.result.read_bytes())
    if kind != "success":  # the process that held the trial failed, and not the trial
        _keep_log(job, folder)
        last = str(held).strip().splitlines()[-1]
        return TrialOutcome(status="lost", message=f"job {job.number} on {word.node} failed: {last}")
    outcome = bring_home(held, folder)
    return outcome.model_copy(update={"message": _begun_again(outcome.message, word)})


def _begun_again(message: str, word: Word) -> str:
    if not word.restarts:
        return message
    return f"{message} (begun again {word.restarts} time{'s' if word.restarts > 1 else ''} by Slurm, on {word.node})"


def _is_there(path: Path) -> bool:
    """Say whether a file is there; its folder is listed, since a network file system may remember that it was not."""
    with contextlib.suppress(OSError):
        return path in path.parent.iterdir()
    return False


def _keep_log(job: Job, folder: Path) -> str:
    """Keep what a job printed that left no result, beside the trial's own log, and return its last words."""
    try:
        shutil.copyfile(job.log, folder / LOG_FILE)
        lines = job.log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:LAST_WORDS] if lines else ""
