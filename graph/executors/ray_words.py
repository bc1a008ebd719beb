"""What a run and the process that speaks to Ray for it say to each other, over a socket, pickled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph.executors.settings import RaySettings


@dataclass(frozen=True)
class Opening:
    """What a driver is told first.

    Attributes:
        settings: Of team.toml.
        workers: Trials at once.
        n_threads: CPU threads of a trial.
    """

    settings: RaySettings
    workers: int
    n_threads: int

    @property
    def cpus(self) -> float:
        """CPUs that are set aside for a trial."""
        return self.settings.cpus_per_trial or self.n_threads


@dataclass(frozen=True)
class Word:
    """What is said over the socket.

    Attributes:
        kind: To the driver: `run` or `cancel`. From it: `ready`, `refused`, and of a trial `phase`, `result` or `no`.
        trial: A number of the caller's choosing.
        about: The order, the phase, the result, or a sentence.
    """

    kind: str
    trial: int = 0
    about: Any = None
