"""Two hundred recorded coder answers with the flaws that such answers have: applied as meant, refused, or wrongly?

    python -m benchmarks.coder_answers --json        # read the recorded answers
    python -m benchmarks.coder_answers --record      # write them anew, from the seed and its playbook

An answer is recorded beside what it means: the playbook's edit that it was made of. `FLAWS` says how each flaw was
made. What is wrong with an answer is its form; that a well-formed edit is a bad idea, or lacks a part,
is for trials to find.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from benchmarks.flaws import FLAWS
from memory.answers import apply_answer
from memory.crowding import code_fingerprint
from memory.edits import Edit, EditError, apply_edits
from memory.techniques import load_playbook

ROOT = Path(__file__).resolve().parent.parent
RECORDED = Path(__file__).resolve().parent / "recorded"
ANSWERS, FILE = RECORDED / "coder_answers.jsonl", RECORDED / "train.py.txt"
N_ANSWERS = 200


def record() -> None:
    """Write the recorded answers from the seed and its playbook: the flaws in turn, on the next technique that fits."""
    source = (ROOT / "crystal_seed" / "train.py").read_text()
    usable = []
    for technique in load_playbook(ROOT / "crystal_seed" / "playbook"):
        try:
            if technique.edits:
                apply_edits(source, technique.edits)
                usable.append(technique)
        except EditError:
            continue  # it requires another technique first
    draw = random.Random(0)
    rows: list[dict[str, Any]] = []
    turn = {flaw: itertools.cycle(draw.sample(usable, len(usable))) for flaw in FLAWS}
    for flaw in itertools.cycle(FLAWS):
        if len(rows) == N_ANSWERS:
            break
        for technique in itertools.islice(turn[flaw], len(usable)):
            answer = flaw(source, technique.edits, draw)
            if answer is not None:
                meant = code_fingerprint(apply_edits(source, technique.edits))
                about = [_lines_of(source, edit) for edit in technique.edits]
                rows.append(
                    {"flaw": flaw.__name__, "technique": technique.id, "meant": meant, "lines": about, "answer": answer}
                )
                break
    RECORDED.mkdir(exist_ok=True)
    FILE.write_text(source)
    ANSWERS.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))


def read_answers() -> dict[str, Any]:
    """Apply every recorded answer and return what became of them."""
    source = FILE.read_text()
    became: Counter[str] = Counter()
    by_flaw: dict[str, Counter[str]] = defaultdict(Counter)
    wrong, no_lines = [], []
    near = 0
    with ANSWERS.open(encoding="utf-8", newline="\n") as file:
        rows = [json.loads(line) for line in file]
    for number, row in enumerate(rows):
        try:
            result = "as meant" if code_fingerprint(apply_answer(source, row["answer"])) == row["meant"] else "wrongly"
        except EditError as error:
            result = "refused"
            named = {int(n) for n in re.findall(r"^ *(\d+) \| ", str(error), re.MULTILINE)}
            if not named:
                no_lines.append([number, row["flaw"], str(error).splitlines()[0]])
            near += any(named & set(range(first - 2, last + 3)) for first, last in row["lines"])
        if result == "wrongly":
            wrong.append([number, row["flaw"], row["technique"]])
        became[result] += 1
        by_flaw[row["flaw"]][result] += 1
    return {
        "answers": len(rows),
        "applied_as_meant": became["as meant"],
        "refused": became["refused"],
        "refused_naming_lines": became["refused"] - len(no_lines),
        "refused_naming_lines_within_two_of_those_meant": near,
        "applied_wrongly": became["wrongly"],
        "wrong": wrong,
        "without_lines": no_lines,
        "by_flaw": {flaw: dict(counts) for flaw, counts in by_flaw.items()},
    }


def _lines_of(source: str, edit: Edit) -> tuple[int, int]:
    lines, search = source.split("\n"), edit.search.split("\n")
    at = next((i for i in range(len(lines)) if lines[i : i + len(search)] == search), 0)
    return at + 1, at + len(search)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the recorded answers anew first")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.record:
        record()
    found = read_answers()
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for flaw, counts in found["by_flaw"].items():
        print(f"{flaw:30} " + ", ".join(f"{n} {result}" for result, n in counts.items()))
    print("\n" + "\n".join(f"{name:48} {value}" for name, value in found.items() if name != "by_flaw"))


if __name__ == "__main__":
    main()
