"""What the trials so far say of each change: a linear model of scores, with the literature as its prior.

A trial's file is the seed's with a set of changes (`History.changes_in`), so that every trial says something of each
change that it holds, whoever its parent was. It knows scores alone; it decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memory.history import History
    from memory.records import TrialRecord

BASE_SPREAD = 0.3
OWN_SPREAD = 0.02
AXIS_SPREAD = 0.01
MAX_FILES = 600  # the posterior is cubic in it; beyond, the oldest files that nobody built on are left out


@dataclass(frozen=True)
class Prior:
    """What is expected of a change before it is tried.

    Attributes:
        mean: Gain in log score: 0.03 is about 3 % of the score.
        spread: Standard deviation of what is left open.
        axis: Changes of one axis share a part of their gain.
    """

    mean: float
    spread: float
    axis: str


def log_score(trial: TrialRecord) -> float | None:
    """Return minus the logarithm of a score's distance from a perfect one; larger is better, None without a score."""
    if trial.score is None:
        return None
    return -float(np.log(max(abs(trial.score.perfect - trial.score.value), 1e-9)))


class Belief:
    """The posterior of what changes gain.

    The model is `y = base + sum of the gains of the changes held + own + noise`, with y the log score of a file. Gains
    are normal around their priors, and those of one axis share an offset; `own` is what a file is worth beyond the sum
    of its changes, and its children inherit it. All of it is normal, so the posterior is exact (Rasmussen and Williams,
    Gaussian Processes for Machine Learning, 2006, section 2.2).

    Attributes:
        files: The first trial of each file that it can speak of, in the order recorded.
    """

    def __init__(self, history: History, keys: Sequence[str], prior: Callable[[str], Prior], seed_noise: float):
        """Fit to all finished trials.

        Args:
            history: The trials.
            keys: Changes to speak of, beside those that the trials hold.
            prior: What is expected of a change.
            seed_noise: Standard deviation of a log score between seeds.
        """
        files: dict[str, list[int]] = {}
        for trial in history.trials.values():
            if trial.score is not None:
                files.setdefault(trial.code_sha or f"trial {trial.number}", []).append(trial.number)
        groups = list(files.values())
        if len(groups) > MAX_FILES:
            built_on = {trial.idea.parent for trial in history.trials.values()}
            built_on.add(history.champion.number if history.champion is not None else None)
            old = [group for group in groups[:-MAX_FILES] if not built_on & set(group)]
            dropped = {group[0] for group in old[: len(groups) - MAX_FILES]}
            groups = [group for group in groups if group[0] not in dropped]
        self.files = [group[0] for group in groups]
        self._row = {number: row for row, group in enumerate(groups) for number in group}
        held = [history.changes_in(group[0]) for group in groups]
        self._column = {key: i for i, key in enumerate(dict.fromkeys((*keys, *(k for ks in held for k in ks))))}
        priors = [prior(key) for key in self._column]
        axes = np.array([p.axis for p in priors])
        spread = np.array([p.spread for p in priors])
        self._covariance = np.diag(spread**2) + AXIS_SPREAD**2 * ((axes[:, None] == axes) & (axes != "-"))
        self._mean = np.array([p.mean for p in priors])
        n = len(groups)
        if not n:
            return
        design = np.zeros((n, len(self._column)))  # [n_files, n_changes]
        shared = np.zeros((n, n))  # [n_files, n_files] whose lineage a file belongs to
        for row, (group, changes) in enumerate(zip(groups, held, strict=True)):
            design[row, [self._column[key] for key in changes]] = 1.0
            lineage = {self._row[number] for number in history.lineage(group[0]) if number in self._row}
            shared[row, [*lineage, row]] = 1.0
        scores = [[s for number in group if (s := log_score(history.trials[number])) is not None] for group in groups]
        y = np.array([np.mean(values) for values in scores])
        noise = seed_noise**2 / np.array([len(values) for values in scores])
        cross = design @ self._covariance  # [n_files, n_changes]
        of_files = cross @ design.T + OWN_SPREAD**2 * shared @ shared.T + BASE_SPREAD**2
        inverse = np.linalg.inv(of_files + np.diag(noise))
        expected = y[0] + design @ self._mean
        self._value = expected + of_files @ inverse @ (y - expected)  # [n_files]
        self._value_covariance = of_files - of_files @ inverse @ of_files
        self._mean = self._mean + cross.T @ inverse @ (y - expected)  # [n_changes]
        self._covariance = self._covariance - cross.T @ inverse @ cross

    def value(self, number: int, against: int) -> tuple[float, float]:
        """Return by how much a file is better than another in log score, and how uncertain that is.

        Raises:
            KeyError: One of the trials has no score, or is too old to be in `files`.
        """
        a, b = self._row[number], self._row[against]
        covariance = self._value_covariance
        variance = covariance[a, a] + covariance[b, b] - 2 * covariance[a, b]
        return float(self._value[a] - self._value[b]), float(np.sqrt(max(variance, 0.0)))

    def gain(self, keys: Sequence[str]) -> tuple[float, float]:
        """Return the expected gain in log score of making these changes together, and its standard deviation."""
        columns = [self._column[key] for key in keys]
        variance = self._covariance[np.ix_(columns, columns)].sum()
        return float(self._mean[columns].sum()), float(np.sqrt(max(variance, 0.0)))

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Return one joint draw of the gains of all changes."""
        jitter = 1e-9 * np.eye(len(self._mean))  # rounding leaves a posterior covariance a little indefinite
        drawn = self._mean + np.linalg.cholesky(self._covariance + jitter) @ rng.standard_normal(len(self._mean))
        return dict(zip(self._column, drawn.tolist(), strict=True))
