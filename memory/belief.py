"""What the trials so far say of each change: a linear model of scores, with the literature as its prior.

A trial's file is the seed's with a set of changes (`History.changes_in`), so that every trial says something of each
change that it holds, whoever its parent was. It takes in each trial once. It knows scores alone; it decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from memory.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memory.history import History
    from memory.records import TrialRecord

BASE_SPREAD = 0.3
OWN_SPREAD = 0.02
AXIS_SPREAD = 0.01
MAX_SHARED = 192  # unknowns that several files share, beside the changes asked for; the time of a fit is cubic in it
MAX_RIVALS = 256  # files from which the best are told; the worse half of more goes


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


@dataclass
class _File:
    """What is known of a file before the fit.

    Attributes:
        design: How often each unknown is in its worth, by place.
        offset: What it is worth beside them, by what is taken as known.
        private: Variance of what no other file shares.
        y: Its score, where something is private to it.
    """

    design: dict[int, float]
    offset: float
    private: float
    y: float


class Belief:
    """The posterior of what changes gain.

    The model is `y = base + sum of the gains of the changes held + own + noise`, with y the log score of a file. Gains
    are normal around their priors, and those of one axis share an offset; `own` is what a file is worth beyond the sum
    of its changes, and its children inherit it. All of it is normal, so the posterior is exact (Rasmussen and Williams,
    Gaussian Processes for Machine Learning, 2006, section 2.2).

    The unknowns are the base, the axes, the changes, and of files what others share: the `own` of a file that was built
    on or trained twice, and the gain of a change that `keys` does not have and more than one file holds. What is one
    file's alone is noise to all others, so that the unknowns are few however many files there are.

    Two things are cut where a history is long. Of more than `MAX_SHARED` shared unknowns, those that no trial touched
    for longest are taken at their mean, as if they were certain. And `rivals` tells of the `MAX_RIVALS` files of which
    most was to be expected as they were last compared.

    Args:
        history: The trials; those added later are taken in by `update`.
        keys: Changes to speak of.
        prior: What is expected of a change.
        seed_noise: Standard deviation of a log score between seeds.
    """

    def __init__(self, history: History, keys: Sequence[str], prior: Callable[[str], Prior], seed_noise: float):
        self._history = history
        self._prior = prior
        self._evidence = Evidence()
        self._base = self._evidence.add_unknown(BASE_SPREAD**2)
        self._axes: dict[str, int] = {}
        self._priors: dict[str, Prior] = {}
        self._place: dict[str, int] = {}  # of the changes asked for
        # The other unknowns: a file, for its own worth, or a change. What is in neither dict is one file's alone.
        self._shared: dict[int | str, int] = {}  # its place; the one last touched is at the end
        self._settled: dict[int | str, float] = {}
        self._holder: dict[str, int] = {}  # change that is one file's alone -> that file
        self._first: int | None = None
        self._rivals: dict[int, _File] = {}
        self._n_seen = 0
        self._noise = seed_noise**2
        for key in dict.fromkeys(keys):
            self._place[key] = self._evidence.add_unknown(self._prior_of(key).spread ** 2)
        self._column = {key: column for column, key in enumerate(self._place)}
        axes = [self._axis(self._priors[key]) for key in self._place]
        self._at = np.array(list(self._place.values()), int)
        self._axis_at = np.array([0 if at is None else at for at in axes], int)
        self._has_axis = np.array([at is not None for at in axes], float)
        self._expected = np.array([self._priors[key].mean for key in self._place])
        self.update(seed_noise)

    def update(self, seed_noise: float) -> None:
        """Take in the trials that were recorded since, under this standard deviation between seeds."""
        self._noise = seed_noise**2
        n_new = len(self._history.trials) - self._n_seen
        newest = list(islice(reversed(self._history.trials.values()), n_new))
        self._n_seen += n_new
        for trial in reversed(newest):
            if (y := log_score(trial)) is not None:
                self._add(trial.number, y)
        self._solve()

    def value(self, number: int, against: int) -> tuple[float, float]:
        """Return by how much a file is better than another in log score, and how uncertain that is.

        Raises:
            KeyError: One of the trials has no score.
        """
        one, other = self._file_of(number), self._file_of(against)
        if one == other:
            return 0.0, 0.0
        values, deviations = self._compare([self._describe(one)], self._describe(other))
        return float(values[0]), float(deviations[0])

    def rivals(self, against: int) -> list[tuple[float, float, int]]:
        """Return the better files: by how much each is better than another, how uncertain that is, its first trial.

        Raises:
            KeyError: The trial compared with has no score.
        """
        other = self._file_of(against)
        numbers = [number for number in self._rivals if number != other]
        if not numbers:
            return []
        values, deviations = self._compare([self._rivals[number] for number in numbers], self._describe(other))
        return list(zip(values.tolist(), deviations.tolist(), numbers, strict=True))

    def gain(self, keys: Sequence[str]) -> tuple[float, float]:
        """Return the expected gain in log score of making these changes together, and its standard deviation.

        Raises:
            KeyError: A change that was not asked for.
        """
        columns = [self._column[key] for key in keys]
        variance = self._covariance[np.ix_(columns, columns)].sum()
        return float(self._mean[columns].sum()), float(np.sqrt(max(variance, 0.0)))

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Return one joint draw of the gains of all changes asked for."""
        drawn = self._mean + self._factor @ rng.standard_normal(len(self._mean))
        return dict(zip(self._place, drawn.tolist(), strict=True))

    def _add(self, number: int, y: float) -> None:
        """Take in a training with its log score."""
        file = self._file_of(number)
        if self._first is None:
            self._first, self._zero = file, y
        if file != number:
            self._share(file)
            self._observe(file, y, 0.0)
            return
        for key in self._unknowns(file):
            if key in self._shared:
                self._shared[key] = self._shared.pop(key)  # touched
            elif key not in self._settled:
                holder = key if isinstance(key, int) else self._holder.setdefault(key, file)
                if holder != file:
                    self._share(holder)
        if len(self._shared) > MAX_SHARED:
            self._settle()
        described = self._describe(file)
        self._evidence.observe(described.design, described.y, described.private)
        self._rivals[file] = described
        if len(self._rivals) > MAX_RIVALS:
            self._solve()
            self._drop_rivals()

    def _share(self, file: int) -> None:
        """Make what is private to a file unknowns of their own, since another training says something of them."""
        before = self._describe(file)
        private = [key for key in self._unknowns(file) if self._is_private(key)]
        if not private:
            return
        self._evidence.observe(before.design, before.y, before.private, times=-1)
        for key in private:
            self._shared[key] = self._evidence.add_unknown(self._spread(key) ** 2)
            if isinstance(key, str):
                self._holder.pop(key, None)
        y = log_score(self._history.trials[file])
        assert y is not None
        self._observe(file, y, 0.0)
        self._rivals[file] = self._describe(file)

    def _observe(self, file: int, y: float, private: float) -> None:
        described = self._describe(file)
        self._evidence.observe(described.design, y - self._zero - described.offset, private)

    def _settle(self) -> None:
        """Take the shared unknowns that no trial touched for longest as certain, an eighth of them at once."""
        self._solve()
        for key in list(islice(self._shared, MAX_SHARED // 8)):
            at = self._shared.pop(key)
            self._settled[key] = value = self._evidence.settle(at)
            for rival in self._rivals.values():
                if at in rival.design:
                    del rival.design[at]
                    rival.offset += value
                    rival.y -= value

    def _drop_rivals(self) -> None:
        """Forget the half of the rivals of which least is to be expected."""
        numbers = list(self._rivals)
        values, deviations = self._compare(list(self._rivals.values()), self._rivals[numbers[0]])
        best = np.sort(np.argsort(-(values + deviations), kind="stable")[: MAX_RIVALS // 2])
        self._rivals = {numbers[i]: self._rivals[numbers[i]] for i in best}

    def _file_of(self, number: int) -> int:
        """Return the first scored trial of a trial's file."""
        return self._history.replicates_of(number)[0] if self._history.trials[number].score else _no_score(number)

    def _unknowns(self, file: int) -> tuple[int | str, ...]:
        """Return what a file's worth hangs on beside base, axes and changes asked for: files, and changes."""
        history = self._history
        scored = (n for n in history.lineage(file) if history.trials[n].score is not None)
        own = dict.fromkeys((*(self._file_of(n) for n in scored), file))
        return (*own, *(key for key in history.changes_in(file) if key not in self._place))

    def _is_private(self, key: int | str) -> bool:
        return key not in self._shared and key not in self._settled

    def _spread(self, key: int | str) -> float:
        return OWN_SPREAD if isinstance(key, int) else self._prior_of(key).spread

    def _describe(self, file: int) -> _File:
        design: dict[int, float] = {self._base: 1.0}
        offset, private = 0.0, 0.0
        for change in self._history.changes_in(file):
            prior = self._prior_of(change)
            offset += prior.mean
            if change in self._place:
                design[self._place[change]] = 1.0
            if (axis := self._axis(prior)) is not None:
                design[axis] = design.get(axis, 0.0) + 1.0
        for key in self._unknowns(file):
            if key in self._shared:
                design[self._shared[key]] = 1.0
            elif key in self._settled:
                offset += self._settled[key]
            else:
                private += self._spread(key) ** 2
        y = log_score(self._history.trials[file])
        assert y is not None, "a file has a score"
        return _File(design, offset, round(private, 15), y - self._zero - offset)

    def _compare(self, files: Sequence[_File], other: _File) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much files are better than another, and how uncertain that is, each [n_files].

        What is private to a file is told by its own score, so that the more of a file is private and the less noise
        there is, the more its worth is its score and the less it is the sum of its changes.
        """
        files = (*files, other)
        private, offset, y = np.array([(file.private, file.offset, file.y) for file in files]).T
        known = private / (private + self._noise)
        at = np.repeat(np.arange(len(files)), [len(file.design) for file in files])
        places = np.fromiter(chain.from_iterable(file.design for file in files), int)
        rows = np.zeros((len(files), self._evidence.room))
        rows[at, places] = np.fromiter(chain.from_iterable(file.design.values() for file in files), float)
        rows *= (1 - known)[:, None]
        beside, left = offset + known * y, private * (1 - known)
        gaps = rows[:-1] - rows[-1]
        values = gaps @ self._evidence.mean + beside[:-1] - beside[-1]
        variances = ((gaps @ self._evidence.covariance) * gaps).sum(1) + left[:-1] + left[-1]
        return values, np.sqrt(np.maximum(variances, 0.0))

    def _solve(self) -> None:
        trained = () if self._first is None else self._history.replicates_of(self._first)
        scores = [y for n in trained if (y := log_score(self._history.trials[n])) is not None]
        self._evidence.solve(self._noise, {self._base: float(np.mean(scores)) - self._zero} if scores else {})
        mean, covariance = self._evidence.mean, self._evidence.covariance
        at, axis, has = self._at, self._axis_at, self._has_axis
        self._mean = self._expected + mean[at] + has * mean[axis]
        crossed = covariance[at[:, None], axis] * has
        shared = covariance[axis[:, None], axis] * has * has[:, None]
        self._covariance = covariance[at[:, None], at] + crossed + crossed.T + shared
        jitter = 1e-9 * np.eye(len(at))  # rounding leaves a posterior covariance a little indefinite
        self._factor = np.linalg.cholesky(self._covariance + jitter)

    def _prior_of(self, key: str) -> Prior:
        if key not in self._priors:
            self._priors[key] = self._prior(key)
        return self._priors[key]

    def _axis(self, prior: Prior) -> int | None:
        """Return the place of what the changes of an axis share, None where it has no axis."""
        if prior.axis == "-":
            return None
        if prior.axis not in self._axes:
            self._axes[prior.axis] = self._evidence.add_unknown(AXIS_SPREAD**2)
        return self._axes[prior.axis]


def _no_score(number: int) -> int:
    raise KeyError(f"trial {number} has no score")
