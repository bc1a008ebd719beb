"""What a Slurm job does on its node: it runs one trial and leaves word of its phase, and nothing when it is ended.

It is called by submitit in a process that knows no key. A job that Slurm ends or takes back hears SIGTERM: the trial is
ended then, and the process leaves without a result, since what became of the job is Slurm's to say.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from graph.executors.far import Errand, Result, hold

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evaluation_locked.trial import Phase

ROWS = "rows"  # the name of the only bundle of a job's folder
WORDS_FILE = "words.jsonl"
ENDED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Word:
    """What a job says of its trial while it runs.

    Attributes:
        phase: The trial's, None before it has one.
        restarts: How often Slurm had begun the job before.
        node: Where it runs.
    """

    phase: Phase | None = None
    restarts: int = 0
    node: str = ""


def rows_of(folder: Path) -> Path:
    """Return where a job of a folder finds the rows of its trial."""
    return folder / "bundles" / ROWS


def hold_trial(folder: Path, errand: Errand) -> Result:
    """Run a trial, and return its result for submitit to store in the job's folder.

    Args:
        folder: The job's; it holds the rows.
        errand: What to run.
    """
    cancel = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: cancel.set())  # in place of submitit's, which goes on
    for partial in folder.glob(
        "*.save_tmp"
    ):  # of the same job on an earlier node, where submitit would refuse to write
        partial.unlink()
    restarts, node = int(os.environ.get("SLURM_RESTART_COUNT", "0")), os.environ.get("SLURMD_NODENAME", "")

    def say(phase: Phase | None) -> None:
        with (folder / WORDS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(Word(phase, restarts, node))) + "\n")

    def fetch() -> Mapping[str, bytes]:
        raise FileNotFoundError(f"{rows_of(folder)} is gone")

    say(None)
    result = hold(errand, fetch, say, cancel, cache=folder)
    if result.outcome is None and not result.refused:
        sys.exit(ENDED)
    return result


def read_words(folder: Path) -> list[Word]:
    """Return all that a job has said so far, of every beginning; a line that is half written comes next time."""
    try:
        lines = (folder / WORDS_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError:
        return []
    return [Word(**json.loads(line)) for line in lines if line.endswith("\n")]
