"""What a person says of where trials run: the tables `[executor]` of team.toml, kept in run.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evaluation_locked.task import Strict
from graph.executors.slurm_settings import SlurmSettings

Kind = Literal["local", "ray", "slurm"]


class RaySettings(Strict):
    """`[executor.ray]`.

    Attributes:
        address: `auto` for the cluster that this host belongs to, or `host:port` of one; where empty, a cluster of this
            host alone is started, and ended with the run.
        gpus_per_trial: GPUs of a trial, which may be a share of one; 1 where None and the cluster has any.
        cpus_per_trial: CPU cores that are set aside for a trial; its threads where None.
    """

    address: str = ""
    gpus_per_trial: float | None = Field(None, ge=0)
    cpus_per_trial: float | None = Field(None, gt=0)


class ExecutorSettings(Strict):
    """`[executor]`.

    Attributes:
        kind: Where trials run.
        ray: Used where `kind` is `ray`.
        slurm: Used where `kind` is `slurm`.
    """

    kind: Kind = "local"
    ray: RaySettings = RaySettings()
    slurm: SlurmSettings = SlurmSettings()
