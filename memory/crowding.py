"""Crowding: how near an idea is to what was tried, seen in its text, in its code and in its errors.

That crowding of ideas is worth measuring is from arXiv 2606.29717. The three definitions below are ours, exact, and
not those of that paper. Each is 0 for what stands alone and 1 for a duplicate. Nothing here reads a file or decides.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from memory.behaviour_index import BehaviourIndex
from memory.code_index import CodeIndex, diff_features
from memory.edits import EditError, normalised

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class Texts(Protocol):
    """What `text_crowding` needs of `memory.idea_memory.IdeaMemory`."""

    def similar(self, text: str, k: int, exclude: Collection[int] = ()) -> Sequence[_Hit]:
        """Return the k most similar texts, the nearest first."""


class _Hit(Protocol):
    @property
    def label(self) -> int | str: ...

    @property
    def similarity(self) -> float: ...


@dataclass(frozen=True)
class Crowd:
    """One view of crowding.

    Attributes:
        value: From 0 (alone) to 1 (a duplicate).
        nearest: What it was found near to, the nearest first: a trial's number, or `run/number` of another run; empty
            where nothing was near.
    """

    value: float
    nearest: tuple[int | str, ...] = ()


def text_crowding(text: str, memory: Texts, k: int = 5, exclude: Collection[int] = ()) -> Crowd:
    """Return how near the text of an idea is to those that were tried.

    Our definition, inspired by the idea of crowding in arXiv 2606.29717: the mean cosine similarity to the k nearest
    ideas of the memory, each clipped at 0, over as many as there are; 0 where the memory is empty.

    Args:
        text: `Idea.text`.
        memory: The ideas tried so far.
        k: Neighbours to average, at least 1.
        exclude: Trials to leave out, such as the idea's own.
    """
    hits = memory.similar(text, k, exclude)
    if not hits:
        return Crowd(0.0)
    mean = sum(min(max(hit.similarity, 0.0), 1.0) for hit in hits) / len(hits)
    return Crowd(mean, tuple(hit.label for hit in hits))


def code_crowding(
    diff: str, earlier: CodeIndex | Mapping[int, str], exclude: Collection[int | str] = (), n_nearest: int = 3
) -> Crowd:
    """Return how near a change of code is to those that were tried.

    Our definition, inspired by the idea of crowding in arXiv 2606.29717: the greatest weighted Jaccard similarity,
    sum of minima over sum of maxima, between the multisets of the diff's and an earlier diff's features. The features
    of a diff are, for every added or removed line without comments and white space, the trigrams of its tokens with a
    mark at either end and every number as one placeholder, and beside them each number itself; all are marked as
    added or removed. So another value of the same knob is near, and only the same value is a duplicate. Lines that
    are both removed and added, being moved or indented, do not count, and a diff that changes no other line is at 0.
    Lines inside a text of several lines count as code.

    Args:
        diff: Unified diff.
        earlier: Unified diffs by trial; an index of them where there are many, or more than one question.
        exclude: Labels to leave out, such as the idea's own.
        n_nearest: How many to name.
    """
    index = earlier if isinstance(earlier, CodeIndex) else CodeIndex(earlier.items())
    at, values = index.similarities(diff)
    return _crowd(values, at, index.labels, exclude, n_nearest)


def behaviour_crowding(
    residuals: np.ndarray,
    earlier: BehaviourIndex | Mapping[int, np.ndarray],
    floor: float | None = None,
    exclude: Collection[int | str] = (),
    n_nearest: int = 3,
) -> Crowd:
    """Return how near the errors of a trial are to those of earlier trials on the same crystals.

    Our definition, inspired by the idea of crowding in arXiv 2606.29717: with rho the greatest Pearson correlation
    between the signed square roots sign(r) sqrt|r| of the trial's residuals and of an earlier trial's, the value is
    (rho - floor) / (1 - floor), clipped to [0, 1]. The form is Cohen's kappa: agreement beyond what any two trials
    show. It is corrected in two ways, each for a reason:

    - Hard crystals are hard for every network, so that all residuals correlate. The floor is that common part, see
      `BehaviourIndex`. To subtract the mean residual of all trials instead would also remove what a crowded family
      shares, so that its next member would look alone.
    - The worst 1 % of crystals hold half of the squared error, so that a plain correlation is decided by a few of
      them. Between ten published models on matbench_mp_gap, the square root makes the differences between pairs 1.4
      times as large against their scatter over draws of 500 crystals.

    Args:
        residuals: Prediction minus label, [n].
        earlier: Residuals by trial, each [n]; an index of them where there are many.
        floor: What any two trials share; that of `earlier` where it is None.
        exclude: Labels to leave out, such as replicates of the trial; the floor is of all that is held.
        n_nearest: How many trials to name.

    Raises:
        ValueError: Residuals differ in length or are not finite.
    """
    index = earlier if isinstance(earlier, BehaviourIndex) else BehaviourIndex(earlier.items())
    if not len(index):
        return Crowd(0.0)
    correlations = index.correlations(residuals)
    if floor is None:
        floor = index.floor
    values = np.clip((correlations - floor) / (1 - floor), 0.0, 1.0) if floor < 1 else (correlations >= 1).astype(float)
    return _crowd(values, np.arange(len(index)), index.labels, frozenset(exclude), n_nearest)


@lru_cache(maxsize=4096)
def code_fingerprint(source: str) -> str:
    """Return the sha256 of a file without comments and layout; of the file as it is where it does not parse."""
    try:
        code = normalised(source)
    except (EditError, RecursionError):
        code = source
    return hashlib.sha256(code.encode()).hexdigest()


@lru_cache(maxsize=4096)
def diff_fingerprint(diff: str) -> str:
    """Return the sha256 of what `code_crowding` sees of a diff: equal where that is 1; empty where the diff is idle."""
    features = diff_features(diff)
    return hashlib.sha256(repr(sorted(features.items())).encode()).hexdigest() if features else ""


def _crowd(
    values: np.ndarray, at: np.ndarray, labels: Sequence[int | str], exclude: Collection[int | str], n_nearest: int
) -> Crowd:
    """Return the greatest similarity and the nearest by label; of equal ones the first that was held.

    Args:
        values: Similarities from 0 to 1, [k]; those at 0 are not near.
        at: Position in `labels` of each, ascending, [k].
        labels: Of all that is held.
        exclude: Labels to leave out.
        n_nearest: How many to name.
    """
    last = min(n_nearest + len(exclude), len(values))
    if not last:
        return Crowd(0.0)
    few = np.flatnonzero((values >= np.partition(values, -last)[-last]) & (values > 0))
    few = few[np.argsort(-values[few], kind="stable")]
    near = [(float(values[i]), label) for i in few if (label := labels[at[i]]) not in exclude][:n_nearest]
    return Crowd(near[0][0], tuple(label for _, label in near)) if near else Crowd(0.0)
