"""What a round costs beside its trials: the offline team on a seed that trains in a blink.

    python -m benchmarks.round_overhead --trials 40

It prints the median and the 95th percentile of a round's time outside smoke trial and trial, also for the first and
the last quarter of the run alone, so that growth with history would show.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MANY_VALUES = [round(10 ** (i / 16), 4) for i in range(96)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        seed = Path(temporary, "seed")
        seed.mkdir()
        for path in (ROOT / "tests" / "tiny_seed").glob("*.*"):
            (seed / path.name).write_bytes(path.read_bytes())
        (seed / "playbook").mkdir()
        knob = (ROOT / "tests" / "tiny_seed" / "playbook" / "ridge.md").read_text()
        (seed / "playbook" / "ridge.md").write_text(knob.replace("[1.0, 10.0, 1e6]", str(MANY_VALUES)))
        command = [str(Path(sys.executable).with_name("team")), "run", str(seed), "--runs", temporary, "--name", "r"]
        subprocess.run([*command, "--trials", str(arguments.trials), "--json"], check=True, capture_output=True)
        entries = [json.loads(line)["entry"] for line in Path(temporary, "r", "journal.jsonl").read_text().splitlines()]
    seconds = np.array([e["overhead_seconds"] for e in entries if e["kind"] == "trial" and e["status"] != "not run"])
    quarter = max(1, len(seconds) // 4)
    for name, part in {"all": seconds, "first quarter": seconds[:quarter], "last quarter": seconds[-quarter:]}.items():
        print(f"{name:14} {len(part):4d} rounds  median {np.median(part):.3f} s  95 % {np.quantile(part, 0.95):.3f} s")


if __name__ == "__main__":
    main()
