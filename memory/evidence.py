"""Scores as linear observations of unknowns, summed up: what a belief needs of the trials, in the unknowns' own number.

An observation is `y = sum of some unknowns + what is private to it + noise`. The sums of observations that are as
private take no more room than the unknowns do, so that one more costs the same whatever went before, and the noise,
which all share, may be told anew at any time (Gauss 1809; Rasmussen and Williams 2006, section 2.1). It knows no trial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST_ROOM, _MORE_ROOM = 64, 32


class Evidence:
    """Unknowns that are normal around 0 beforehand, and what was observed of them.

    Attributes:
        mean: [room] of each unknown, as `solve` found it last.
        covariance: [room, room] of the unknowns.
    """

    def __init__(self) -> None:
        self._precision = np.ones(_FIRST_ROOM)  # beforehand; of a place that is free, 1
        self._free = list(range(_FIRST_ROOM))[::-1]
        self._sums: dict[float, tuple[np.ndarray, np.ndarray]] = {}  # by private variance: [room, room], [room]
        self.mean: np.ndarray = np.zeros(_FIRST_ROOM)
        self.covariance: np.ndarray = np.eye(_FIRST_ROOM)

    @property
    def room(self) -> int:
        """How many places there are; those of no unknown are alone and at 0."""
        return len(self._precision)

    def add_unknown(self, variance: float) -> int:
        """Return the place of a new unknown of this variance."""
        if not self._free:
            self._grow()
        at = self._free.pop()
        self._precision[at] = 1 / variance
        return at

    def observe(self, design: Mapping[int, float], y: float, private: float, times: int = 1) -> None:
        """Take in an observation, or take it back.

        Args:
            design: How often each unknown is in it, by place.
            y: What was observed.
            private: Variance of what is in this observation alone, beside the noise.
            times: -1 takes back what was taken in.
        """
        if private not in self._sums:
            self._sums[private] = np.zeros((self.room, self.room)), np.zeros(self.room)
        squares, products = self._sums[private]
        at, how_often = np.fromiter(design, int, len(design)), np.fromiter(design.values(), float, len(design))
        squares[at[:, None], at] += times * how_often[:, None] * how_often
        products[at] += times * y * how_often

    def settle(self, at: int) -> float:
        """Take an unknown at its mean from now on, give its place free, and return that mean."""
        value = float(self.mean[at])
        for squares, products in self._sums.values():
            np.subtract(products, squares[:, at] * value, out=products)
            squares[at, :] = squares[:, at] = products[at] = 0.0
        self._precision[at] = 1.0
        self._free.append(at)
        return value

    def solve(self, noise: float, expected: Mapping[int, float]) -> None:
        """Find mean and covariance of all unknowns.

        Args:
            noise: Variance of the noise of one observation.
            expected: Means beforehand that are not 0, by place.
        """
        information = np.diag(self._precision)
        weighed = np.zeros(self.room)
        for at, value in expected.items():
            weighed[at] = self._precision[at] * value
        for private, (squares, products) in self._sums.items():
            information += squares / (private + noise)
            weighed += products / (private + noise)
        self.covariance = np.linalg.inv(information)
        self.mean = self.covariance @ weighed

    def _grow(self) -> None:
        old, new = self.room, self.room + _MORE_ROOM
        more = (0, new - old)
        self._precision = np.pad(self._precision, more, constant_values=1.0)
        self._free = list(range(old, new))[::-1]
        self._sums = {key: (np.pad(s, (more, more)), np.pad(p, more)) for key, (s, p) in self._sums.items()}
        self.mean = np.pad(self.mean, more)
        self.covariance = np.pad(self.covariance, (more, more))
