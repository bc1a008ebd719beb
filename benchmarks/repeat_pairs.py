"""Where the likeness of words in `memory.changes` is from: pairs of descriptions made from the playbook, by threshold.

    python -m benchmarks.repeat_pairs

`repeat_pairs.tsv` holds pairs that are the same change in other words and pairs that are not; beside them, every two
titles of the playbook are two different changes. No pair is from the reference journal. Printed for each threshold:
same pairs that are missed, other pairs that are called the same, and pairs of titles that are called the same.
"""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path

from memory.changes import SAME_WORDS, are_same, read_changes
from memory.techniques import load_playbook

PAIRS = Path(__file__).with_name("repeat_pairs.tsv")
PLAYBOOK = Path(__file__).resolve().parent.parent / "crystal_seed" / "playbook"
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Pair:
    """Two descriptions, and whether they are the same change."""

    earlier: str
    later: str
    same: bool


def read_pairs(path: Path = PAIRS) -> list[Pair]:
    """Return the development pairs."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        return [Pair(row["earlier"], row["later"], row["kind"] == "same") for row in rows]


def misread(pairs: list[Pair], least: float = SAME_WORDS) -> list[Pair]:
    """Return the pairs on which the rule is wrong at a threshold."""
    return [p for p in pairs if are_same(read_changes(p.earlier), read_changes(p.later), least) != p.same]


def main() -> None:
    pairs = read_pairs()
    titles = [technique.title for technique in load_playbook(PLAYBOOK)]
    different = [Pair(one, other, same=False) for one, other in itertools.combinations(titles, 2)]
    n_same = sum(pair.same for pair in pairs)
    print(f"likeness  missed of {n_same}  false of {len(pairs) - n_same}  titles of {len(different)}")
    for least in THRESHOLDS:
        wrong = misread(pairs, least)
        missed = sum(pair.same for pair in wrong)
        chosen = "  <- chosen" if least == SAME_WORDS else ""
        print(f"{least:8}  {missed:12}  {len(wrong) - missed:11}  {len(misread(different, least)):14}{chosen}")
    for pair in misread(pairs):
        print(f"wrong at {SAME_WORDS}: {'same' if pair.same else 'other'}: {pair.earlier} | {pair.later}")


if __name__ == "__main__":
    main()
