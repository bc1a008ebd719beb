"""What others do, in the world of recorded trials: greedy keep or reset, random sets, best-first trees.

Each is written after its public description. All know the playbook and how much evidence its techniques have (a change
with more of it is drawn more often), and all know what they tried; what they lack is a test of noise, and a model of
what the trials say together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graph.roles import RoleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memory.techniques import Technique

WEIGHT = {2: 4.0, 1: 2.0, 0: 1.0, -1: 0.5}
MARGIN = 0.002 / 0.155  # of the score; 0.002 eV near 0.155 eV in arXiv 2606.29717
N_DRAFTS = 5


class _Peer:
    """What the peers share: the changes that may be added to a file, and a memory of scores."""

    def __init__(self, names: Sequence[str], techniques: Mapping[str, Technique], seed: int):
        self._names = list(names)
        self._weights = {name: WEIGHT[techniques[name.partition("=")[0]].evidence] for name in names}
        self._rng = np.random.default_rng([7, seed])
        self._tried: set[frozenset[str]] = set()
        self._refused: set[frozenset[str]] = set()
        self._last: frozenset[str] = frozenset()
        self._best: tuple[float, frozenset[str]] | None = None
        self._margin = 0.0

    @property
    def champion(self) -> frozenset[str]:
        assert self._best is not None
        return self._best[1]

    def refuse(self) -> None:
        self._refused.add(self._last)

    def take(self, residuals: np.ndarray) -> None:
        mae = float(np.abs(residuals).mean())
        self._tried.add(self._last)
        if self._best is None or mae < self._best[0] * (1 - self._margin):
            self._best = (mae, self._last)

    def _step(self, parent: frozenset[str], *, forget: bool = False) -> frozenset[str]:
        """Return the parent with one change more, or another value of a knob, or (1 of 10) one change less."""
        seen = self._refused if forget else self._refused | self._tried
        if parent and self._rng.random() < 0.1:
            less = [child for name in sorted(parent) if (child := parent - {name}) not in seen]
            if less:
                return less[int(self._rng.integers(len(less)))]
        children, weights = [], []
        for name in self._names:
            if name in parent:
                continue
            technique = name.partition("=")[0] + "="
            child = frozenset(n for n in parent if not ("=" in name and n.startswith(technique))) | {name}
            if child not in seen:
                children.append(child)
                weights.append(self._weights[name])
        if not children:
            raise RoleError("nothing left")
        share = np.array(weights) / sum(weights)
        return children[int(self._rng.choice(len(children), p=share))]


class Greedy(_Peer):
    """Keep or reset (karpathy/autoresearch, arXiv 2606.29717): one change to the champion, kept above a margin.

    Args:
        forgetful: Whether it may try again what it tried before, as the published journal shows.
        margin: Share of the score that a gain must exceed; autoresearch itself asks for none.
    """

    def __init__(
        self,
        names: Sequence[str],
        techniques: Mapping[str, Technique],
        seed: int,
        *,
        forgetful: bool = False,
        margin: float = MARGIN,
    ):
        super().__init__(names, techniques, seed)
        self._forgetful = forgetful
        self._margin = margin

    def propose(self) -> tuple[frozenset[str], bool]:
        self._last = frozenset() if self._best is None else self._step(self._best[1], forget=self._forgetful)
        return self._last, False


class RandomSets(_Peer):
    """Sets of one to six changes at random; the best score wins."""

    def propose(self) -> tuple[frozenset[str], bool]:
        self._last = frozenset()
        if self._best is not None:
            for _ in range(int(self._rng.integers(1, 7))):
                self._last = self._step(self._last, forget=True)
        return self._last, False


class BestFirstTree(_Peer):
    """AIDE's policy (2502.13138): a few drafts, then always a change to the best node, whatever its parent."""

    def __init__(self, names: Sequence[str], techniques: Mapping[str, Technique], seed: int):
        super().__init__(names, techniques, seed)
        self._n_drafts = 0

    def propose(self) -> tuple[frozenset[str], bool]:
        if self._best is None:
            self._last = frozenset()
        elif self._n_drafts < N_DRAFTS:
            self._n_drafts += 1
            self._last = self._step(self._step(frozenset(), forget=True), forget=True)
        else:
            self._last = self._step(self._best[1])
        return self._last, False
