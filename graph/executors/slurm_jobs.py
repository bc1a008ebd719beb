"""Talking to Slurm: what became of our jobs, and ending them. What follows from it for a trial is not decided here.

The controller is asked by `squeue` and `scancel` alone, since accounting (`sacct`) is not kept everywhere. One question
for all jobs of the user serves every trial of this process, however many there are.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

ASK_SECONDS = 5.0  # between two questions to the controller, for all trials together
COMMAND_SECONDS = 60.0  # clients give up by themselves after the cluster's MessageTimeout, a few times over
# What a job may be in before it is over, and come back to when it is requeued.
UNDER_WAY = frozenset(
    "PENDING CONFIGURING RUNNING SUSPENDED STOPPED RESIZING SIGNALING STAGE_OUT COMPLETING REQUEUED REQUEUE_FED".split()
)
# Why a job may wait that no node will ever end: something is wrong with what was asked for, or with a node.
NEVER = (
    "launchfailedrequeuedheld badconstraints partitiontimelimit partitionnodelimit invalidaccount invalidqos "
    "qosnotallowed accountnotallowed accountingpolicy"
).split()


class SlurmSilentError(RuntimeError):
    """The controller did not answer; the message holds the command's words. Jobs may be well all the same."""


@dataclass(frozen=True)
class JobState:
    """A job as `squeue` shows it.

    Attributes:
        state: Long name of the state, such as RUNNING.
        reason: Why it waits or ended, in Slurm's words.
        nodes: Where it runs or ran, empty before.
    """

    state: str
    reason: str = ""
    nodes: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state not in UNDER_WAY

    @property
    def stuck(self) -> bool:
        """Whether it waits for what no node will ever give it."""
        return self.state == "PENDING" and re.sub(r"[ _]", "", self.reason).lower() in NEVER

    def vanished(self) -> JobState:
        """Return the state of a job that the controller has forgotten, as it does minutes after the end."""
        return JobState("GONE", self.reason, self.nodes)


class SlurmQueue:
    """What the controller says of this user's jobs, asked once for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, JobState] = {}
        self._asked_at = float("-inf")
        self._silence = ""

    def find(self, name: str, since: float = 0.0) -> JobState | None:
        """Return the state of a job, None where the controller does not know it, or not any more.

        Args:
            name: The job's.
            since: Time (monotonic) that the answer must not be older than.

        Raises:
            SlurmSilentError: It did not answer when it was asked last.
        """
        with self._lock:
            if self._asked_at < max(since, time.monotonic() - ASK_SECONDS):
                self._ask()
            if self._silence:
                raise SlurmSilentError(self._silence)
            return self._seen.get(name)

    def _ask(self) -> None:
        self._asked_at = time.monotonic()  # what changes while it answers may be in the answer or not
        try:
            self._seen, self._silence = list_jobs(), ""
        except SlurmSilentError as error:
            self._silence = str(error)


def list_jobs() -> dict[str, JobState]:
    """Return this user's jobs by name, those that have ended lately among them.

    Raises:
        SlurmSilentError: The controller did not answer.
    """
    words = ["--noheader", "--states=all", f"--user={os.getuid()}", "--sort=i", "--format=%T|%r|%N|%j"]
    jobs = {}
    for line in _run("squeue", *words).splitlines():
        parts = line.split("|", 3)
        if len(parts) == 4:  # a heading names the cluster, where there are several
            jobs[parts[3]] = JobState(*parts[:3])
    return jobs


def end_jobs(names: Collection[str]) -> None:
    """Have jobs ended, whatever they are doing; those that are not there are no error.

    Raises:
        SlurmSilentError: The controller did not answer.
    """
    for name in names:
        _run("scancel", f"--user={os.getuid()}", f"--name={name}")


def _run(*words: str) -> str:
    # A person's defaults for these commands, such as a partition to show, would hide jobs.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SCANCEL_"))}
    try:
        done = subprocess.run(
            words,
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmSilentError(f"{words[0]} had no answer within {COMMAND_SECONDS:g} s") from error
    except OSError as error:
        raise SlurmSilentError(f"{words[0]} cannot be run here ({error}): trials on Slurm want a host of it") from error
    if done.returncode != 0:
        raise SlurmSilentError((done.stderr.strip().splitlines() or [f"{words[0]} ended with {done.returncode}"])[-1])
    return done.stdout
