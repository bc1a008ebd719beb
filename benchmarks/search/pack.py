"""Turn a folder of `benchmarks.search.record` into the table that is shipped.

python -m benchmarks.search.pack FOLDER
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.search.record import SEED_FOLDER, changes, compatible, write_train_py
from benchmarks.search.world import TABLE
from graph.judging import code_lines
from memory.edits import EditError
from memory.techniques import load_playbook


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in (arguments.folder / "trials.jsonl").read_text().splitlines()]
    labels = np.load(arguments.folder / "locked" / "validation_labels.npy")
    playbook = {technique.id: technique for technique in load_playbook(SEED_FOLDER / "playbook")}
    offered = changes(tuple(playbook.values()))
    names = sorted(offered)
    done = [row for row in rows if row["mae_ev"] is not None]
    residuals = [
        np.load(arguments.folder / "trials" / f"{row['number']:04d}" / "predictions.npy") - labels for row in done
    ]
    seed = (SEED_FOLDER / "train.py").read_text(encoding="utf-8")
    base = code_lines(seed)
    lines = [code_lines(write_train_py([name], offered, playbook, seed)) - base for name in names]
    clashes = []
    for pair in combinations(names, 2):
        if offered[pair[0]][0] == offered[pair[1]][0]:
            continue
        try:
            fits = compatible(list(pair), offered, playbook)
            if fits and not all(playbook[offered[name][0]].knob for name in pair):
                write_train_py(list(pair), offered, playbook, seed)
        except EditError:
            fits = False
        if not fits:
            clashes.append(pair)
    np.savez_compressed(
        arguments.out,
        names=names,
        design=np.array([[name in row["changes"] for name in names] for row in done]),
        residuals=np.array(residuals, dtype=np.float16),
        clashes=np.array(clashes),
        lines=np.array(lines),
        failed=json.dumps([row for row in rows if row["mae_ev"] is None]),
    )
    print(f"{len(done)} of {len(rows)} trials, {len(clashes)} clashes, {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
