"""Crowding: how near an idea is to what was tried, seen in its text, in its code and in its errors.

That crowding of ideas is worth measuring is from arXiv 2606.29717. The three definitions below are ours, exact, and
not those of that paper. Each is 0 for what stands alone and 1 for a duplicate. Nothing here reads a file or decides.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from memory.edits import EditError, normalised

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_CODE_TOKEN = re.compile(
    r"""
    (?P<comment>\#.*)
    | (?P<text>[rbfuRBFU]{0,2}(?:\"\"\".*?(?:\"\"\"|$)|'''.*?(?:'''|$)|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
    | (?P<number>(?:\d[\d_]*\.?[\d_]*|\.\d+)(?:[eE][-+]?\d+)?)
    | (?P<name>\w+)
    | (?P<sign>\*\*|//|==|!=|<=|>=|->|:=|[-+*/@%&|^]=|\S)
    """,
    re.VERBOSE,
)
_MIN_EARLIER = 3


class Texts(Protocol):
    """What `text_crowding` needs of `memory.idea_memory.IdeaMemory`."""

    def nearest(self, text: str, k: int, exclude: Collection[int] = ()) -> Sequence[_Hit]:
        """Return the k most similar texts, the nearest first."""


class _Hit(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def similarity(self) -> float: ...


@dataclass(frozen=True)
class Crowd:
    """One view of crowding.

    Attributes:
        value: From 0 (alone) to 1 (a duplicate).
        nearest: The trials that it was measured against most closely, the nearest first; empty where none was near.
    """

    value: float
    nearest: tuple[int, ...] = ()


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
    hits = memory.nearest(text, k, exclude)
    if not hits:
        return Crowd(0.0)
    mean = sum(min(max(hit.similarity, 0.0), 1.0) for hit in hits) / len(hits)
    return Crowd(mean, tuple(hit.number for hit in hits))


def code_crowding(diff: str, earlier: Mapping[int, str], n_nearest: int = 3) -> Crowd:
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
        earlier: Unified diffs by trial.
        n_nearest: How many trials to name.
    """
    features = _diff_features(diff)
    if not features:
        return Crowd(0.0)
    near = sorted(
        ((value, number) for number, other in earlier.items() if (value := _jaccard(features, _diff_features(other)))),
        key=lambda item: (-item[0], item[1]),
    )
    return Crowd(near[0][0], tuple(number for _, number in near[:n_nearest])) if near else Crowd(0.0)


def behaviour_crowding(
    residuals: np.ndarray, earlier: Mapping[int, np.ndarray], floor: float | None = None, n_nearest: int = 3
) -> Crowd:
    """Return how near the errors of a trial are to those of earlier trials on the same crystals.

    Our definition, inspired by the idea of crowding in arXiv 2606.29717: with rho the greatest Pearson correlation
    between the signed square roots sign(r) sqrt|r| of the trial's residuals and of an earlier trial's, the value is
    (rho - floor) / (1 - floor), clipped to [0, 1]. The form is Cohen's kappa: agreement beyond what any two trials
    show. It is corrected in two ways, each for a reason:

    - Hard crystals are hard for every network, so that all residuals correlate. The floor is that common part, see
      `behaviour_floor`. To subtract the mean residual of all trials instead would also remove what a crowded family
      shares, so that its next member would look alone.
    - The worst 1 % of crystals hold half of the squared error, so that a plain correlation is decided by a few of
      them. Between ten published models on matbench_mp_gap, the square root makes the differences between pairs 1.4
      times as large against their scatter over draws of 500 crystals.

    Args:
        residuals: Prediction minus label, [n].
        earlier: Residuals by trial, each [n].
        floor: From `behaviour_floor(earlier)`, where it is already known.
        n_nearest: How many trials to name.

    Raises:
        ValueError: Residuals differ in length or are not finite.
    """
    if not earlier:
        return Crowd(0.0)
    numbers = list(earlier)
    directions = _directions([residuals, *earlier.values()], [-1, *numbers])  # [1 + m, n]
    correlations = directions[1:] @ directions[0]  # [m]
    if floor is None:
        floor = _floor(directions[1:])
    values = (
        np.clip((correlations - floor) / (1.0 - floor), 0.0, 1.0) if floor < 1 else (correlations >= 1).astype(float)
    )
    order = sorted(range(len(numbers)), key=lambda at: (-correlations[at], numbers[at]))
    near = tuple(numbers[at] for at in order[:n_nearest] if values[at] > 0)
    return Crowd(float(values.max()), near)


def behaviour_floor(earlier: Mapping[int, np.ndarray]) -> float:
    """Return the correlation that any two trials show: the least between two earlier trials, at least 0.

    It is the best known estimate of how far two unrelated networks agree because hard crystals are hard. Below three
    trials nothing is known of it, and it is 0. It falls as trials become more diverse, never because a family grows.

    Raises:
        ValueError: Residuals differ in length or are not finite.
    """
    return _floor(_directions(list(earlier.values()), list(earlier))) if len(earlier) >= _MIN_EARLIER else 0.0


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
    features = _diff_features(diff)
    return hashlib.sha256(repr(sorted(features.items())).encode()).hexdigest() if features else ""


@lru_cache(maxsize=4096)
def _diff_features(diff: str) -> Counter[tuple[str, ...]]:
    lines: dict[str, Counter[tuple[str, ...]]] = {"-": Counter(), "+": Counter()}
    in_header = False
    for line in diff.splitlines():
        if line.startswith("--- "):
            in_header = True
        elif line.startswith("@@"):
            in_header = False
        elif not in_header and line[:1] in lines and (tokens := _line_tokens(line[1:])):
            lines[line[0]][tokens] += 1
    features: Counter[tuple[str, ...]] = Counter()
    for sign, other in (("-", "+"), ("+", "-")):
        for tokens in (lines[sign] - lines[other]).elements():
            marked = ["^", *("0" if token[0] == "0" else token for token in tokens), "$"]
            features.update((sign, *trigram) for trigram in zip(marked, marked[1:], marked[2:], strict=False))
            features.update((sign, token) for token in tokens if token[0] == "0")
    return features


def _line_tokens(line: str) -> tuple[str, ...]:
    """Return the tokens of a line of code, each number with a `0` before it, which no other token starts with."""
    return tuple(
        f"0{match[0]}" if match.lastgroup == "number" else match[0]
        for match in _CODE_TOKEN.finditer(line)
        if match.lastgroup != "comment"
    )


def _jaccard(one: Counter[tuple[str, ...]], other: Counter[tuple[str, ...]]) -> float:
    small, large = (one, other) if len(one) < len(other) else (other, one)
    shared = sum(min(count, large[feature]) for feature, count in small.items() if feature in large)
    return shared / (one.total() + other.total() - shared) if shared else 0.0


def _directions(residuals: Sequence[np.ndarray], numbers: Sequence[int]) -> np.ndarray:
    """Return unit vectors whose dot products are the correlations, [m, n] float32; no variance gives zeros."""
    n = len(residuals[0])
    for number, values in zip(numbers, residuals, strict=True):
        if values.shape != (n,) or not np.isfinite(values).all():
            of = "the trial" if number < 0 else f"trial {number}"
            raise ValueError(f"residuals of {of} are {values.shape}; {n} finite numbers of the same crystals are due")
    table = np.stack(residuals).astype(np.float32)  # [m, n]
    table = np.sign(table) * np.sqrt(np.abs(table))
    table -= table.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.where(lengths > 1e-6 * np.sqrt(n), lengths, np.inf))


def _floor(directions: np.ndarray) -> float:
    if len(directions) < _MIN_EARLIER:
        return 0.0
    between = directions @ directions.T  # [m, m]
    return max(0.0, float(between[np.triu_indices(len(directions), 1)].min()))
