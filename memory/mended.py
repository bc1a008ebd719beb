"""Which crystals a change mends: the behaviour view of a change, kept current as trials are recorded.

It is derived from the history and from the residuals of trials, and is asked for in every round: so it takes in each
trial once, and holds sums and not residuals.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from memory.history import changes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from memory.history import History


class MendedCrystals:
    """For each technique or constant that was trained, by how much each crystal gained where it was made.

    Args:
        history: Of the run; it only grows.
        residuals: Gives [n_validation] of a trial, None where there are none.
    """

    def __init__(self, history: History, residuals: Callable[[int], np.ndarray | None]) -> None:
        self._history = history
        self._residuals = residuals
        self._n_seen = 0
        self._sums: dict[str, np.ndarray] = {}
        self._profiles: dict[str, np.ndarray] = {}

    def profiles(self) -> dict[str, np.ndarray]:
        """Return a profile [n_validation] by change.

        It is the mean over the change's trials of the parent's less the trial's absolute residuals, each divided by
        the number of changes that the trial made, centred and of length one.
        """
        trials = self._history.trials
        newest = list(islice(reversed(trials.values()), len(trials) - self._n_seen))
        for trial in reversed(newest):
            if trial.score is None or trial.idea.parent is None or trial.idea.mode == "replicate":
                continue
            keys = changes_of(trial.idea)
            # It only took something out, or nobody can make the change again.
            if not keys or keys[0] == f"trial {trial.number}":
                continue
            before, after = self._residuals(trial.idea.parent), self._residuals(trial.number)
            if before is not None and after is not None:
                gains = (np.abs(before) - np.abs(after)) / len(keys)
                for key in keys:
                    self._sums[key] = gains + self._sums.get(key, 0.0)
                    # The direction of a mean is that of the sum.
                    centred = self._sums[key] - self._sums[key].mean()
                    self._profiles[key] = centred / max(float(np.linalg.norm(centred)), 1e-12)
        self._n_seen = len(trials)
        return self._profiles
