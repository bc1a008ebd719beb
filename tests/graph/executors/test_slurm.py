"""Trials as jobs of a real Slurm: what each of the ends of a job makes of its trial, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.process_tree import descendants
from evaluation_locked.task import Caps
from evaluation_locked.trial import TrialCancelled, TrialOrder, TrialOutcome
from graph.errors import RunError
from graph.executors import slurm as slurm_module
from graph.executors.slurm import SlurmExecutor
from graph.executors.slurm_settings import SlurmSettings
from graph.orphans import end_orphans
from graph.run_folder import RunFolder, read_history
from tests.conftest import TINY_SEED, team_command
from tests.graph.executors.conformance import CAPS, Conformance, locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.graph.executors.slurm_cluster import SlurmCluster

__all__ = ["locked"]

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

GIVEN = ("facts.json", "train.npz", "validation.npz")
KEY = "sk-not-a-key-but-long-enough-to-be-found"
TRAIN = """
import time
import numpy as np
from evaluation_locked.client import Task
task = Task.open()
labels = task.start_training()
time.sleep({seconds})
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
"""


class TestSlurm(Conformance):
    @pytest.fixture
    def executor(self, slurm: SlurmCluster) -> SlurmExecutor:
        return SlurmExecutor(SlurmSettings(cpus=1))


class Trial:
    """A trial under way in a thread."""

    def __init__(self, cluster: SlurmCluster, executor: SlurmExecutor, order: TrialOrder, threads: ThreadPoolExecutor):
        self.cluster, self.order, self.phases = cluster, order, list[str]()
        self.cancel = threading.Event()
        self.outcome: Future[TrialOutcome] = threads.submit(executor.run, order, self.phases.append, self.cancel)

    def wait_for_training(self, times: int = 1) -> str:
        """Return the number of the job whose trial trains."""
        self.cluster.wait_for(lambda: self.phases.count("training") == times or self.outcome.done(), "no training")
        assert not self.outcome.done(), self.outcome.result()
        return self.job

    @property
    def job(self) -> str:
        (folder,) = self.order.folder.glob("slurm-*")
        (number,) = (number for number, name in self.cluster.jobs().items() if name.endswith(folder.name[6:]))
        return number

    def processes(self) -> set[int]:
        """Return the living processes of the trial's job: those that know its number, and all below them."""
        mine = f"SLURM_JOB_ID={self.job}".encode()
        found = [pid for pid in self.cluster.processes() if mine in environment_of(pid).split(b"\0")]
        return {*found, *(below for pid in found for below in descendants(pid))}


@pytest.fixture
def begin(slurm: SlurmCluster, locked: Path, tmp_path: Path) -> Iterator[Callable[..., Trial]]:
    """Return a function that begins a trial which trains for some seconds."""
    begun: list[Trial] = []

    def begin_one(
        seconds: float = 0.2,
        executor: SlurmExecutor | None = None,
        settings: SlurmSettings | None = None,
        **caps: float,
    ) -> Trial:
        folder = tmp_path / "my run" / "trials" / f"{len(begun):04d}-idea"
        folder.mkdir(parents=True)
        (folder / "train.py").write_text(textwrap.dedent(TRAIN.format(seconds=seconds)))
        caps_ = Caps(**(CAPS.model_dump() | {"train_seconds": 30.0} | caps))
        order = TrialOrder(train_py=folder / "train.py", locked=locked, folder=folder, caps=caps_, seed=7)
        trial = Trial(slurm, executor or SlurmExecutor(settings or SlurmSettings(cpus=1)), order, threads)
        begun.append(trial)
        return trial

    with ThreadPoolExecutor(8) as threads:
        try:
            yield begin_one
        finally:
            for trial in begun:
                trial.cancel.set()


def environment_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def alive(pids: set[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()]


def assert_nothing_is_left(trial: Trial) -> None:
    assert not trial.cluster.jobs()
    assert not list(trial.order.folder.glob("slurm-*")), "the job's folder goes with it"


def test_a_trial_is_a_job_and_its_predictions_come_back(begin: Callable[..., Trial], slurm: SlurmCluster) -> None:
    trial = begin()
    outcome = trial.outcome.result(60)
    assert (outcome.status, outcome.message) == ("finished", "predictions submitted")
    assert "network namespace" in outcome.layers or any(layer.startswith("landlock") for layer in outcome.layers)
    assert trial.phases == ["starting", "featurising", "training", "predicting", "ending"]
    predictions = np.load(trial.order.folder / "predictions.npy")
    assert predictions.shape == (len(np.load(trial.order.locked / "validation_labels.npy")),)
    assert any(name.startswith("team-my_run-0000-") for name in slurm.jobs("COMPLETED").values()), "squeue says whose"
    assert_nothing_is_left(trial)


def test_a_job_that_is_requeued_begins_its_trial_again_and_counts_once(
    begin: Callable[..., Trial], slurm: SlurmCluster
) -> None:
    trial = begin(seconds=3)
    job = trial.wait_for_training()
    slurm.ask("scontrol", "requeue", job)
    slurm.wait_for(lambda: job in slurm.jobs("PENDING"), "not requeued")
    slurm.ask("scontrol", "update", f"jobid={job}", "StartTime=now")
    outcome = trial.outcome.result(90)
    assert outcome.status == "finished"
    assert "begun again 1 time by Slurm" in outcome.message
    assert trial.phases.count("training") == 2
    assert len(slurm.jobs("COMPLETED")) >= 1
    assert_nothing_is_left(trial)


def test_a_trial_that_is_preempted_waits_its_turn_and_begins_again(
    begin: Callable[..., Trial], slurm: SlurmCluster
) -> None:
    trial = begin(seconds=3, settings=SlurmSettings(cpus=1, partition="spare"))
    job = trial.wait_for_training()
    slurm.ask("sbatch", "--partition=main", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 2")
    slurm.wait_for(lambda: job in slurm.jobs("PENDING"), "not preempted")
    slurm.wait_for(lambda: "wrap" not in slurm.jobs().values(), "the other job does not end")
    slurm.ask("scontrol", "update", f"jobid={job}", "StartTime=now")
    outcome = trial.outcome.result(90)
    assert outcome.status == "finished"
    assert "begun again 1 time by Slurm" in outcome.message
    assert_nothing_is_left(trial)


def cancel_it(cluster: SlurmCluster, job: str) -> None:
    cluster.ask("scancel", job)


def preempt_it(cluster: SlurmCluster, job: str) -> None:
    cluster.ask("sbatch", "--partition=main", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 1")


def fail_its_node(cluster: SlurmCluster, job: str) -> None:
    cluster.ask("scontrol", "update", f"jobid={job}", "Requeue=0")
    cluster.ask("scontrol", "update", "nodename=localhost", "state=down", "reason=test")
    cluster.wait_for(lambda: job not in cluster.jobs(), "the job goes on")
    cluster.ask("scontrol", "update", "nodename=localhost", "state=resume")


@pytest.mark.parametrize(
    ("end", "partition", "words"),
    [
        (cancel_it, "main", "somebody cancelled it"),
        (preempt_it, "scrap", "another job took its place"),
        (fail_its_node, "main", "its node failed"),
    ],
)
def test_what_befalls_a_job_says_nothing_of_the_idea(
    begin: Callable[..., Trial],
    slurm: SlurmCluster,
    end: Callable[[SlurmCluster, str], None],
    partition: str,
    words: str,
) -> None:
    trial = begin(seconds=20, settings=SlurmSettings(cpus=1, partition=partition))
    end(slurm, trial.wait_for_training())
    outcome = trial.outcome.result(60)
    assert outcome.status == "lost"
    assert words in outcome.message
    slurm.wait_for(lambda: not slurm.jobs(), "jobs go on")
    assert_nothing_is_left(trial)


def test_a_trial_that_we_cancel_leaves_nothing_on_the_node(begin: Callable[..., Trial], slurm: SlurmCluster) -> None:
    trial = begin(seconds=25)
    job = trial.wait_for_training()
    processes = trial.processes()
    assert len(alive(processes)) >= 4, "its holder, the warden, the launcher and the trial"
    trial.cancel.set()
    with pytest.raises(TrialCancelled):
        trial.outcome.result(60)
    assert not alive(processes)
    assert job in slurm.jobs("CANCELLED")
    assert_nothing_is_left(trial)


def test_a_job_that_waits_is_cancelled_too(begin: Callable[..., Trial], slurm: SlurmCluster) -> None:
    slurm.ask("sbatch", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 100", "--job-name=other")
    slurm.wait_for(lambda: slurm.jobs("RUNNING"), "the other does not run")
    trial = begin()
    slurm.wait_for(lambda: slurm.jobs("PENDING"), "it does not wait")
    trial.cancel.set()
    with pytest.raises(TrialCancelled):
        trial.outcome.result(60)
    assert list(slurm.jobs().values()) == ["other"], "nobody else's job is ended"


def test_a_time_limit_below_the_caps_is_overtime_and_one_above_them_is_the_nodes_fault(
    begin: Callable[..., Trial], slurm: SlurmCluster
) -> None:
    minute = SlurmSettings(cpus=1, time_minutes=1)
    long = begin(seconds=200, settings=minute, train_seconds=300)
    still = begin(seconds=29, settings=minute, featurise_seconds=10, predict_seconds=10)
    still.wait_for_training()
    for pid in still.processes():
        os.kill(pid, signal.SIGSTOP)
    outcomes = long.outcome.result(200), still.outcome.result(200)
    assert [outcome.status for outcome in outcomes] == ["overtime", "lost"], outcomes
    assert "raise time_minutes" in outcomes[0].message
    assert "the node stood still" in outcomes[1].message
    assert_nothing_is_left(long)
    assert_nothing_is_left(still)


def test_memory_that_the_node_ends_a_job_for_is_the_trials(begin: Callable[..., Trial]) -> None:
    # The processes that hold the trial take more than the job is allowed here.
    little = SlurmSettings(cpus=1).model_copy(update={"spare_memory_gib": 0.1 - CAPS.memory_gib})
    outcome = begin(seconds=20, settings=little).outcome.result(60)
    assert outcome.status == "memory"
    assert "raise caps.memory_gib" in outcome.message


def test_a_job_that_no_node_will_ever_take_is_not_waited_for(begin: Callable[..., Trial]) -> None:
    trial = begin(settings=SlurmSettings(partition="short"))
    outcome = trial.outcome.result(60)
    assert outcome.status == "lost"
    assert "PartitionTimeLimit" in outcome.message
    assert_nothing_is_left(trial)


def test_a_job_that_slurm_refuses_ends_the_run_with_its_words(begin: Callable[..., Trial]) -> None:
    trial = begin(settings=SlurmSettings(partition="nowhere"))
    with pytest.raises(RunError, match="invalid partition"):
        trial.outcome.result(60)
    assert_nothing_is_left(trial)


def test_trials_run_at_the_same_time(begin: Callable[..., Trial], slurm: SlurmCluster) -> None:
    executor = SlurmExecutor(SlurmSettings(cpus=1))
    trials = [begin(seconds=5, executor=executor) for _ in range(2)]
    slurm.wait_for(lambda: all(len(trial.phases) == 3 for trial in trials), "they do not train together")
    assert [trial.outcome.result(60).status for trial in trials] == ["finished", "finished"]


def test_a_controller_that_is_away_costs_no_trial(begin: Callable[..., Trial], slurm: SlurmCluster) -> None:
    trial = begin(seconds=8)
    trial.wait_for_training()
    slurm.end_controller()
    try:
        time.sleep(10)
    finally:
        slurm.start_controller()
    assert trial.outcome.result(90).status == "finished"
    slurm.wait_for(lambda: not slurm.jobs(), "the job does not end")
    assert_nothing_is_left(trial)


def test_a_job_of_a_silent_controller_is_given_up_and_ended_when_it_answers(
    begin: Callable[..., Trial], slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = SlurmExecutor(SlurmSettings(cpus=1))
    trial = begin(seconds=29, executor=executor)
    job = trial.wait_for_training()
    monkeypatch.setattr(slurm_module, "PATIENCE_SECONDS", 3.0)
    slurm.end_controller()
    try:
        outcome = trial.outcome.result(60)
    finally:
        slurm.start_controller()
    assert outcome.status == "lost"
    assert "Unable to contact slurm controller" in outcome.message
    assert begin(executor=executor).outcome.result(90).status == "finished"
    slurm.wait_for(lambda: job in slurm.jobs("CANCELLED"), "it goes on")
    assert_nothing_is_left(trial)


SUBMITTER = """
import sys, threading
from evaluation_locked.trial import TrialOrder
from graph.executors.slurm import SlurmExecutor
from graph.executors.slurm_settings import SlurmSettings
from graph.orphans import end_orphans
from graph.run_folder import RunFolder, read_history
order = TrialOrder.model_validate_json(sys.argv[1])
SlurmExecutor(SlurmSettings(cpus=1)).run(order, lambda phase: print(phase, flush=True), threading.Event())
"""


def test_jobs_of_a_run_that_was_killed_are_ended_on_resume_and_no_others(
    begin: Callable[..., Trial], slurm: SlurmCluster, tmp_path: Path
) -> None:
    order = begin().order
    other = begin(seconds=25)
    other.wait_for_training()
    killed = order.model_copy(update={"folder": tmp_path / "killed" / "trials" / "0007-wider" / "smoke"})
    killed.train_py.write_text(textwrap.dedent(TRAIN.format(seconds=25)))
    submitter = subprocess.Popen([sys.executable, "-c", SUBMITTER, killed.model_dump_json()], stdout=subprocess.PIPE)
    assert submitter.stdout is not None
    with submitter.stdout:
        while submitter.stdout.readline().strip() != b"training":
            assert submitter.poll() is None
    submitter.kill()
    submitter.wait()
    assert len(slurm.jobs("RUNNING")) == 2, "a job does not end with its submitter"
    processes = set(slurm.processes()) - other.processes()
    processes = {pid for pid in processes if b"SLURM_JOB_ID=" in environment_of(pid)}
    processes |= {below for pid in processes for below in descendants(pid)}
    assert len(alive(processes)) >= 4
    (tmp_path / "killed").rename(tmp_path / "moved")
    moved = RunFolder(tmp_path / "moved")
    assert end_orphans(moved, recorded={7}) == 0, "nothing is left of what was recorded, and nothing is asked for it"
    assert end_orphans(moved, recorded={6}) == 1
    assert [name.rpartition("-")[0] for name in slurm.jobs("RUNNING").values()] == ["team-my_run-0001"]
    assert not alive(processes)
    assert not list(moved.path.glob("**/slurm-*"))
    assert end_orphans(moved, recorded=()) == 0


def test_no_key_of_the_submitting_shell_reaches_a_job_or_a_file(
    begin: Callable[..., Trial], slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("SBATCH_EXPORT", "ALL")  # a person's default, which would overrule what the file says
    trial = begin(seconds=4)
    job = trial.wait_for_training()
    seen = {pid: environment_of(pid) for pid in trial.processes()}
    assert sum(b"SLURM_JOB_ID" in around for around in seen.values()) >= 2, "the process that holds it and the warden"
    assert not [pid for pid, around in seen.items() if KEY.encode() in around]
    (folder,) = trial.order.folder.glob("slurm-*")
    script = slurm.ask("scontrol", "write", "batch_script", job, "-")
    assert "python" in script and KEY not in script
    written = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert any(name.endswith("_submitted.pkl") for name in written)
    assert {name for name in written if "/" in name} == {f"bundles/rows/{name}" for name in GIVEN}, (
        "no label that judges"
    )
    outcome = trial.outcome.result(60)
    assert outcome.status == "finished"
    assert not [name for name, held in written.items() if KEY.encode() in held]
    assert not [path for path in trial.order.folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_team_run_on_slurm_is_killed_and_resumed(slurm: SlurmCluster, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    shutil.copytree(TINY_SEED, seed)
    slow = "    import time\n\n    time.sleep(task.seconds_left() - 1)\n    rng ="
    (seed / "train.py").write_text((seed / "train.py").read_text().replace("    rng =", slow, 1))
    (tmp_path / "team.toml").write_text('[executor]\nkind = "slurm"\n[executor.slurm]\ncpus = 1\n')
    command = team_command("run", seed, "--name", "far", "--trials", 3, "--workers", 2, "--threads", 1)
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run = RunFolder(tmp_path / "runs" / "far")
    slurm.wait_for(
        lambda: (run.journal.exists() and slurm.jobs("RUNNING")) or process.poll() is not None, "no trial", seconds=120
    )
    process.kill()
    told, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, told
    left = slurm.jobs()
    assert left and all(name.startswith("team-far-") for name in left.values())
    done = subprocess.run(team_command("resume", "far"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(left)} processes or jobs of a run that was killed were ended" in done.stdout
    assert set(left) <= set(slurm.jobs("CANCELLED"))
    trials = read_history(run).trials.values()
    assert sum(trial.status == "finished" for trial in trials) == 3, done.stdout
    assert not slurm.jobs()
    assert not list(run.trials.glob("**/slurm-*"))
