"""Clusters that tests of executors run on."""

from tests.graph.executors.slurm_cluster import running_slurm, slurm

__all__ = ["running_slurm", "slurm"]
