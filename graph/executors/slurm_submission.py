"""Submitting a trial's job through submitit: the job's folder and name, and an `sbatch` that is given no key."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph.errors import RunError
from graph.executors.slurm_jobs import SlurmSilentError
from graph.executors.slurm_settings import JOB_FOLDER_PREFIX, PASSED, python_command

if TYPE_CHECKING:
    from collections.abc import Callable

NAME_PREFIX = "team-"
# Of the environment, what sbatch itself needs: how the cluster is found, and a token where it wants one.
FOR_SBATCH = (*PASSED, "HOME", "USER", "LOGNAME", "SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
# What sbatch says where another try may go well; anything else is wrong with what is asked for.
PASSING = (
    "slurm controller|zero bytes|timed out|temporarily|connection|communication|submit limit|try again|not respond"
)


@dataclass(frozen=True)
class Job:
    """A submitted job.

    Attributes:
        number: Slurm's own name for it.
        name: Ours.
        folder: Where it writes; gone when the trial is over.
        result: The file that it leaves last.
        log: What its processes printed, the trial's own words not among them.
    """

    number: str
    name: str
    folder: Path
    result: Path
    log: Path


def make_job_folder(place: Path) -> Path:
    """Make the folder of a job within a trial's, under a token of its own that stays when the run is moved."""
    place.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=JOB_FOLDER_PREFIX, dir=place.resolve()))


def job_name(folder: Path) -> str:
    """Return the name of the job of a folder: run and number of the trial, and the folder's token, which is its own."""
    found = re.search(r"([^/]+)/trials/(?:\d+xxx/)?(\d+)-[^/]*", str(folder.parent))
    shown = "-".join(found.groups()) if found else folder.parent.name
    return f"{NAME_PREFIX}{re.sub('[^A-Za-z0-9._-]', '_', shown)}-{token_of(folder)}"


def token_of(folder: Path) -> str:
    """Return the part of a job's folder that its name ends with."""
    return folder.name.removeprefix(JOB_FOLDER_PREFIX)


def submit(folder: Path, parameters: dict[str, Any], function: Callable[..., object], *arguments: object) -> Job:
    """Submit a job that calls a function on a node, and return it.

    Args:
        folder: The job's own.
        parameters: As submitit names them.
        function: Importable on the node; what it returns is pickled into the folder.
        arguments: Pickled there too, so no secrets.

    Raises:
        SlurmSilentError: It may go well another time; the job may have been taken all the same.
        RunError: Slurm refuses such a job, or submitit or sbatch are not here.
    """
    try:
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError
    except ImportError as error:
        raise RunError(
            f"trials on Slurm want a package that is missing ({error}): pip install 'crystal-research-team[slurm]'"
        ) from error
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise RunError("there is no sbatch on the PATH: trials on Slurm are submitted from a host of the cluster")
    complaints = folder / "sbatch.err"

    class Submitter(SlurmExecutor):
        def _make_submission_command(self, submission_file_path: Path) -> list[str]:
            # Without a person's SBATCH_ variables too, which would overrule what the file says.
            dropped = [word for name in os.environ if name not in FOR_SBATCH for word in ("-u", name)]
            shell = ["sh", "-c", 'exec sbatch "$1" 2>"$0"', str(complaints)]
            return ["env", *dropped, *shell, str(submission_file_path)]

    submitter = Submitter(folder, python=python_command())
    submitter.update_parameters(**parameters)
    try:
        job = submitter.submit(function, *arguments)
    except (FailedJobError, FailedSubmissionError) as error:
        words = " ".join(complaints.read_text(errors="replace").split()) if complaints.exists() else str(error)
        if re.search(PASSING, words, re.IGNORECASE):
            raise SlurmSilentError(words) from error
        raise RunError(f"Slurm refuses the job of a trial: {words} (see [executor.slurm] in team.toml)") from error
    return Job(
        number=job.job_id,
        name=parameters["job_name"],
        folder=folder,
        result=job.paths.result_pickle,
        log=job.paths.stdout,
    )
