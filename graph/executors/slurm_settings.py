"""What a person says of trials on Slurm, and the options of `sbatch` that follow from it and from a trial's caps."""

from __future__ import annotations

import math
import shlex
import sys
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from evaluation_locked.task import Strict

if TYPE_CHECKING:
    from evaluation_locked.task import Caps
    from evaluation_locked.trial import TrialOrder

JOB_FOLDER_PREFIX = "slurm-"  # within a trial's folder, from before a job is submitted until after it is over
MARGIN_SECONDS = 600.0  # to start Python on a cold node, to read the bundle, and to write what came of it
SPARE_MEMORY_GIB = 2.0  # for the processes that hold the trial, and for a step between two looks at what it uses
# Values that a trial's own environment takes over (`evaluation_locked.warden`), and what Slurm says of the job's GPUs.
PASSED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_HOME")
KEPT = (*PASSED, "HOME", "USER", "TMPDIR", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "SUBMITIT_EXECUTOR")
OURS = (
    "export",
    "export-file",
    "job-name",
    "output",
    "error",
    "mem",
    "time",
    "requeue",
    "no-requeue",
    "array",
    "chdir",
    "wrap",
)


class SlurmSettings(Strict):
    """Where and how jobs are submitted: `[executor.slurm]` of team.toml.

    Attributes:
        partition: Of the cluster; its own default where None.
        account: That pays, where the cluster asks for one.
        qos: Quality of service.
        constraint: Features that a node must have.
        gpus: GPUs of one trial in Slurm's words: a number, or a type and a number such as `a100:1`.
        cpus: CPUs of one trial; its threads and one for the processes that hold it where None.
        time_minutes: Time limit of a job; what the caps allow and ten minutes where None.
        spare_memory_gib: Memory of a job beyond what the trial's cap allows.
        setup: Lines of the shell before the trial, such as `module load cuda`.
        options: Further options of sbatch, by their long name without dashes.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus: int | str | None = None
    cpus: int | None = Field(None, ge=1)
    time_minutes: int | None = Field(None, ge=1)
    spare_memory_gib: float = Field(SPARE_MEMORY_GIB, ge=0.5)
    setup: tuple[str, ...] = ()
    options: dict[str, str] = {}

    @field_validator("options")
    @classmethod
    def _options_are_not_ours(cls, options: dict[str, str]) -> dict[str, str]:
        if taken := sorted(name for name in options if name.lstrip("-").replace("_", "-") in OURS):
            raise ValueError(f"{taken[0]!r} is set by the team itself, and has a key of its own or none: leave it out")
        return options

    def minutes(self, caps: Caps) -> int:
        """Return the time limit of a job."""
        return self.time_minutes or math.ceil((_allowed_seconds(caps) + MARGIN_SECONDS) / 60)

    def cuts_short(self, caps: Caps) -> bool:
        """Say whether a trial could come to the time limit before it comes to its caps."""
        return self.minutes(caps) * 60 < _allowed_seconds(caps)

    def parameters(self, order: TrialOrder, name: str) -> dict[str, Any]:
        """Return what submitit is told of the job of one trial.

        A job that Slurm takes back from its node waits for another (`requeue`). It begins in no folder of the
        submitter's, which may not be there. Neither the submitting shell's
        environment nor what a login shell on the node would add reaches the trial's processes, since both may hold
        keys: `sbatch` is given names of harmless variables, and the job's first line drops all others.
        """
        chosen = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "gpus_per_node": self.gpus,
        }
        return {key: value for key, value in chosen.items() if value is not None} | {
            "job_name": name,
            "time": self.minutes(order.caps),
            "cpus_per_task": self.cpus or order.n_threads + 1,
            "mem": f"{math.ceil((order.caps.memory_gib + self.spare_memory_gib) * 1024)}M",
            "setup": [*self.setup, drop_variables()],
            "use_srun": False,  # one process on one node, which Slurm ends as well without a step of its own
            "signal_delay_s": 0,  # no word before the time limit: there is nothing that a trial could save
            "wckey": None,
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True, "export": ",".join(PASSED), "chdir": "/"} | self.options,
        }


def drop_variables() -> str:
    """Return the line of bash that takes every variable from the environment but those that are known to be harmless.

    SLURM_JWT, which lets its holder speak to the controller, goes too.
    """
    kept = "|".join((*KEPT, "SLURM_*"))
    return (
        "unset -f $(compgen -A function) 2>/dev/null; "
        'for name in $(compgen -e); do case "$name" in SLURM_JWT) unset "$name" ;; '
        f'{kept}) ;; *) unset "$name" ;; esac; done 2>/dev/null'
    )


def python_command() -> str:
    """Return the command of Python for a job; it takes the shell's place, whose own environment was not cleaned."""
    return f"exec {shlex.quote(sys.executable)} -P"


def _allowed_seconds(caps: Caps) -> float:
    return caps.featurise_seconds + caps.train_seconds + caps.predict_seconds
