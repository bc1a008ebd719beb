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
        address: Of a cluster that runs, such as `auto` or `ray://head:10001`; a cluster of this machine where empty.
        gpus: GPUs of a trial; 1 where None and the cluster has any.
        cpus: CPU cores of a trial; its threads where None.
    """

    address: str = ""
    gpus: float | None = Field(None, ge=0)
    cpus: float | None = Field(None, ge=0)


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
