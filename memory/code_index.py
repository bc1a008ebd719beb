"""The features of a diff, and the diffs that share them: what the code view of crowding is counted from.

The view itself is defined in `memory.crowding.code_crowding`. Here it is counted fast, and exactly: every diff that
shares a feature is counted.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

Feature = tuple[str, ...]


class CodeIndex:
    """Diffs, and how many features a new one shares with each.

    A multiset is held as the set of its occurrences (feature, 1), (feature, 2), and so on, since the sum of minima of
    two multisets is the number of occurrences that they share. For each occurrence a list says which diffs hold it, so
    a new diff is compared with all others by one count over the lists of its own occurrences.

    Args:
        diffs: Label and unified diff of each; a label is a trial's number, or `run/number` of another run.

    Attributes:
        labels: Of the diffs held, in the order taken in; a new one takes the place of one that was removed.
    """

    def __init__(self, diffs: Iterable[tuple[int | str, str]] = ()) -> None:
        self.labels: list[int | str] = []
        self._sizes = array("q")
        self._ids: dict[tuple[Feature, int], int] = {}
        self._holders: list[array[int]] = []  # by occurrence: the positions of the diffs that hold it
        self._free: list[int] = []  # positions
        for label, diff in diffs:
            self.add(label, diff)

    def __len__(self) -> int:
        return len(self.labels) - len(self._free)

    def add(self, label: int | str, diff: str) -> None:
        """Take in a diff; one that changes no line of code shares nothing, and is not held."""
        features = diff_features(diff)
        if not features:
            return
        if self._free:
            at = self._free.pop()
            self.labels[at], self._sizes[at] = label, features.total()
        else:
            at = len(self.labels)
            self.labels.append(label)
            self._sizes.append(features.total())
        for occurrence in _occurrences(features):
            known = self._ids.setdefault(occurrence, len(self._holders))
            if known == len(self._holders):
                self._holders.append(array("I"))
            self._holders[known].append(at)

    def remove(self, label: int | str, diff: str) -> None:
        """Forget a diff that was taken in under this label, in a time that grows with how many are held."""
        features = diff_features(diff)
        if not features:
            return
        at = self.labels.index(label)
        for occurrence in _occurrences(features):
            self._holders[self._ids[occurrence]].remove(at)
        self.labels[at] = ""
        self._free.append(at)

    def similarities(self, diff: str) -> tuple[np.ndarray, np.ndarray]:
        """Return which diffs share a feature with `diff`, and how similar they are.

        Returns:
            Positions in `labels`, ascending, [k]; weighted Jaccard similarities above 0, [k].
        """
        features = diff_features(diff)
        known = [self._ids[occurrence] for occurrence in _occurrences(features) if occurrence in self._ids]
        if not known:
            return np.empty(0, np.int64), np.empty(0)
        shared = np.bincount(np.concatenate([np.frombuffer(self._holders[at], np.uint32) for at in known]))
        near = np.flatnonzero(shared)
        sizes = np.frombuffer(self._sizes, np.int64)[near]
        return near, shared[near] / (features.total() + sizes - shared[near])


@lru_cache(maxsize=256)
def diff_features(diff: str) -> Counter[Feature]:
    """Return the features of a diff that `memory.crowding.code_crowding` names, and how often each occurs.

    One round asks half a dozen times for those of its diff, so they are kept: who changes them makes a copy.
    """
    lines: dict[str, Counter[Feature]] = {"-": Counter(), "+": Counter()}
    in_header = False
    for line in diff.splitlines():
        if line.startswith("--- "):
            in_header = True
        elif line.startswith("@@"):
            in_header = False
        elif not in_header and line[:1] in lines and (tokens := _line_tokens(line[1:])):
            lines[line[0]][tokens] += 1
    features: Counter[Feature] = Counter()
    for sign, other in (("-", "+"), ("+", "-")):
        for tokens in (lines[sign] - lines[other]).elements():
            features.update(_line_features(sign, tokens))
    return features


@lru_cache(maxsize=16_384)
def _line_features(sign: str, tokens: Feature) -> tuple[Feature, ...]:
    marked = ["^", *("0" if token[0] == "0" else token for token in tokens), "$"]
    trigrams = zip(marked, marked[1:], marked[2:], strict=False)
    return (*((sign, *trigram) for trigram in trigrams), *((sign, token) for token in tokens if token[0] == "0"))


def _occurrences(features: Counter[Feature]) -> Iterator[tuple[Feature, int]]:
    for feature, count in features.items():
        for nth in range(count):
            yield feature, nth


@lru_cache(maxsize=16_384)  # the lines of a file come up in many diffs
def _line_tokens(line: str) -> Feature:
    """Return the tokens of a line of code, each number with a `0` before it, which no other token starts with."""
    return tuple(
        f"0{match[0]}" if match.lastgroup == "number" else match[0]
        for match in _CODE_TOKEN.finditer(line)
        if match.lastgroup != "comment"
    )
