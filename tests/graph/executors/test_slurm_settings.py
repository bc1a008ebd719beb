"""What follows from settings and from the state of a job, where no Slurm is needed to see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from evaluation_locked.task import Caps
from evaluation_locked.trial import TrialOrder
from graph.errors import RunError
from graph.executors.slurm import outcome_of
from graph.executors.slurm_jobs import JobState
from graph.executors.slurm_node import Word, read_words
from graph.executors.slurm_settings import SlurmSettings, drop_variables
from graph.executors.slurm_submission import job_name, make_job_folder, submit

CAPS = Caps(featurise_seconds=300, train_seconds=1500, predict_seconds=120, memory_gib=8)


def order(**changes: object) -> TrialOrder:
    values = {"train_py": Path("train.py"), "locked": Path("locked"), "folder": Path("trial"), "caps": CAPS}
    return TrialOrder.model_validate(values | {"n_threads": 4} | changes)


def test_a_job_asks_for_what_the_caps_allow_and_a_margin() -> None:
    asked = SlurmSettings().parameters(order(), "team-r-0007-abc")
    assert asked["job_name"] == "team-r-0007-abc"
    assert asked["time"] == 42, "1920 s of caps and 600 s are 42 minutes"
    assert asked["mem"] == "10240M"
    assert asked["cpus_per_task"] == 5, "a core is left free for what holds the trial"
    assert asked["additional_parameters"] == {
        "requeue": True,
        "export": "PATH,LANG,LC_ALL,LD_LIBRARY_PATH,CUDA_HOME",
        "chdir": "/",
    }
    assert not {"partition", "account", "qos", "constraint", "gpus_per_node"} & set(asked), "the cluster's own defaults"


def test_settings_become_options_of_sbatch() -> None:
    settings = SlurmSettings(
        partition="gpu", account="chem", gpus="a100:1", cpus=8, time_minutes=90, options={"reservation": "mine"}
    )
    asked = settings.parameters(order(), "n")
    assert (asked["partition"], asked["account"], asked["gpus_per_node"]) == ("gpu", "chem", "a100:1")
    assert (asked["cpus_per_task"], asked["time"]) == (8, 90)
    assert asked["additional_parameters"]["reservation"] == "mine"


@pytest.mark.parametrize("name", ["export", "--export", "job_name", "no-requeue", "mem"])
def test_options_that_would_overrule_ours_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is set by the team itself"):
        SlurmSettings(options={name: "x"})


@pytest.mark.parametrize(("minutes", "cut_short"), [(None, False), (32, False), (31, True)])
def test_a_limit_below_the_caps_cuts_a_trial_short(minutes: int | None, cut_short: bool) -> None:
    assert SlurmSettings(time_minutes=minutes).cuts_short(CAPS) is cut_short  # 1920 s are 32 minutes


@pytest.mark.parametrize(
    ("state", "cut_short", "printed", "status", "words"),
    [
        (JobState("CANCELLED"), False, "", "lost", "somebody cancelled it"),
        (JobState("TIMEOUT"), False, "", "lost", "the node stood still"),
        (JobState("TIMEOUT"), True, "", "overtime", "raise time_minutes"),
        (JobState("PREEMPTED"), False, "", "lost", "another job took its place"),
        (JobState("NODE_FAIL"), False, "", "lost", "its node failed"),
        (JobState("BOOT_FAIL"), False, "", "lost", "its node did not start"),
        (JobState("OUT_OF_MEMORY"), False, "", "memory", "raise caps.memory_gib"),
        (JobState("FAILED"), False, "slurmstepd: error: Exceeded job memory limit", "memory", "raise caps.memory_gib"),
        (
            JobState("FAILED"),
            False,
            "No module named graph",
            "lost",
            "before the trial was over: No module named graph",
        ),
        (JobState("COMPLETED"), False, "", "lost", "without a result"),
        (JobState("GONE"), False, "", "lost", "knows nothing of it"),
        (JobState("DEADLINE"), False, "", "lost", "Slurm says DEADLINE"),
        (JobState("PENDING", "PartitionTimeLimit"), False, "", "lost", "does not start it (PartitionTimeLimit)"),
    ],
)
def test_each_end_of_a_job_is_an_outcome(
    state: JobState, cut_short: bool, printed: str, status: str, words: str
) -> None:
    outcome = outcome_of(state, "12", Word(node="n7"), cut_short=cut_short, printed=printed)
    assert outcome.status == status
    assert words in outcome.message
    assert outcome.message.startswith("job 12 on n7: ")


@pytest.mark.parametrize(
    ("state", "over", "stuck"),
    [
        (JobState("RUNNING"), False, False),
        (JobState("COMPLETING"), False, False),  # its processes may still be there
        (JobState("PENDING", "Priority"), False, False),
        (JobState("PENDING", "BeginTime"), False, False),  # requeued
        (JobState("PENDING", "JobHeldUser"), False, False),  # somebody held it, and can release it
        (JobState("PENDING", "launch failed requeued held"), False, True),
        (JobState("PENDING", "PartitionTimeLimit"), False, True),
        (JobState("REQUEUED"), False, False),
        (JobState("TIMEOUT"), True, False),
    ],
)
def test_which_states_are_waited_for(state: JobState, over: bool, stuck: bool) -> None:
    assert (state.over, state.stuck) == (over, stuck)


def test_only_harmless_variables_are_left_of_a_login_environment() -> None:
    around = {
        "PATH": "/usr/bin:/bin",
        "OPENAI_API_KEY": "sk-1",
        "MY_SECRET": "2",
        "SLURM_JWT": "3",
        "SLURM_JOB_ID": "4",
        "CUDA_VISIBLE_DEVICES": "1",
        "BASH_FUNC_module%%": "() { echo 5; }",
    }
    script = (
        f"{drop_variables()}\nexport SUBMITIT_EXECUTOR=slurm\nexec {sys.executable} -c 'import os; print(*os.environ)'"
    )
    left = subprocess.run(["bash", "-c", script], env=around, capture_output=True, text=True, check=True)
    assert left.stderr == ""
    names = set(left.stdout.split()) - {"LC_CTYPE", "SHLVL", "_"}  # Python and the shell add these
    assert names == {"PATH", "SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES", "SUBMITIT_EXECUTOR"}


def test_a_job_is_named_after_run_and_trial_and_ends_with_its_folders_token(tmp_path: Path) -> None:
    folder = make_job_folder(tmp_path / "runs" / "gap, 2" / "trials" / "41xxx" / "41234-wider" / "smoke")
    token = folder.name.removeprefix("slurm-")
    assert "-" not in token, "the token is what follows the last dash of a name"
    assert job_name(folder) == f"team-gap__2-41234-{token}"


def test_words_of_a_job_are_read_as_far_as_they_are_written(tmp_path: Path) -> None:
    assert read_words(tmp_path) == []
    (tmp_path / "words.jsonl").write_text('{"phase": "training", "restarts": 1, "node": "n7"}\n{"phase": "pre')
    assert read_words(tmp_path) == [Word("training", 1, "n7")]


def test_without_submitit_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RunError, match=r"pip install 'crystal-research-team\[slurm\]'"):
        submit(tmp_path, SlurmSettings().parameters(order(), "n"), print)
