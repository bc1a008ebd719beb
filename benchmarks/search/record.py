"""Record real trials of the offline team's space on `tight-binding`: the table that strategies are replayed against.

    python -m benchmarks.search.record OUT --trials 400 --train-seconds 10

A trial is one training of the seed with a set of the playbook's changes, on one thread. Its budget is counted in
seconds of its own CPU time, so that what else the machine does changes no score; the files are the playbook's own, so
that they run in a forked process without the sandbox, and a stand-in for the judge's end hands them the task. First the
seed several times and each change alone; then sets of two to eight changes, drawn by what the trials so far say of each
change (a draw from a ridge fit of main effects, and a third at random), so that the table is dense where a search would
go; every tenth trial trains an earlier set again with another seed.

It can be stopped and started again. `benchmarks.search.pack` turns the folder into the table that is shipped. With
`--balanced 8` every trial after the first eight holds eight random changes, each change as often as any other: such a
folder says what each change is worth beside others (`benchmarks.effects`), on `--source` and `--limit` of one's choice.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch_geometric.data
import torch_geometric.utils  # noqa: F401 (imported before the fork, so that no trial pays for it)

from evaluation_locked.client import Task, TaskFacts
from evaluation_locked.prepare import load_trial_input, prepare
from evaluation_locked.sources import load_source
from evaluation_locked.task import load_task
from memory.edits import EditError, apply_edits, set_knob
from memory.techniques import Technique, load_playbook

if TYPE_CHECKING:
    from collections.abc import Callable

    from evaluation_locked.crystals import Crystals
    from evaluation_locked.prepare import TrialInput

ROOT = Path(__file__).resolve().parent.parent.parent
SEED_FOLDER = ROOT / "crystal_seed"
N_BASELINE, REPLICATE_EVERY, RANDOM_SHARE = 8, 10, 0.33
SIZES = (2, 3, 4, 5, 6, 7, 8)


def changes(playbook: tuple[Technique, ...]) -> dict[str, tuple[str, object]]:
    """Return every single change that the playbook offers: name -> (technique, value or None)."""
    found: dict[str, tuple[str, object]] = {}
    for technique in playbook:
        if technique.knob is None:
            found[technique.id] = (technique.id, None)
        else:
            for value in technique.knob.values:
                found[f"{technique.id}={value}"] = (technique.id, value)
    return found


def compatible(chosen: list[str], offered: dict[str, tuple[str, object]], playbook: dict[str, Technique]) -> bool:
    """Say whether the changes can stand in one file: no conflict, no missing requirement, one value a knob."""
    ids = [offered[name][0] for name in chosen]
    if len(set(ids)) < len(ids):
        return False
    for name in ids:
        technique = playbook[name]
        if set(technique.conflicts) & set(ids) or not set(technique.requires) <= set(ids):
            return False
    return True


def write_train_py(
    chosen: list[str], offered: dict[str, tuple[str, object]], playbook: dict[str, Technique], source: str
) -> str:
    """Return the seed with the changes applied: edits by name first, then knobs.

    Raises:
        EditError: Two of the changes do not fit into one file.
    """
    for name in sorted(chosen, key=lambda n: (offered[n][1] is not None, n)):
        technique, value = offered[name]
        knob = playbook[technique].knob
        if knob is None:
            source = apply_edits(source, playbook[technique].edits)
        else:
            source = apply_edits(source, [set_knob(source, knob.name, value)])
    return source


def effects(rows: list[dict], names: list[str], rng: np.random.Generator) -> np.ndarray:
    """Return one draw [n_changes] from a ridge fit of log MAE on the changes; lower is better."""
    done = [row for row in rows if row["mae_ev"] is not None]
    design = np.array([[name in row["changes"] for name in names] for row in done], dtype=float)
    logs = np.log([row["mae_ev"] for row in done])
    base = np.mean([np.log(row["mae_ev"]) for row in done if not row["changes"]])
    spread, noise = 0.05, 0.04
    precision = design.T @ design / noise**2 + np.eye(len(names)) / spread**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ design.T @ (logs - base) / noise**2
    return rng.multivariate_normal(mean, covariance, method="cholesky")


def next_changes(
    number: int, rows: list[dict], offered: dict[str, tuple[str, object]], playbook: dict[str, Technique]
) -> list[str]:
    """Return the set of changes that trial `number` trains; it depends on the rows before it alone."""
    rng = np.random.default_rng([20261122, number])
    names = sorted(offered)
    singles = [n for n in names if compatible([n], offered, playbook)]
    if number < N_BASELINE:
        return []
    if number < N_BASELINE + len(singles):
        return [singles[number - N_BASELINE]]
    if number % REPLICATE_EVERY == 0:
        done = sorted((row for row in rows if row["mae_ev"] is not None), key=lambda row: row["mae_ev"])
        return list(done[int(rng.integers(0, len(done) // 2))]["changes"])
    failed = {row["changes"][0] for row in rows if row["mae_ev"] is None and len(row["changes"]) == 1}
    tried = {frozenset(row["changes"]) for row in rows}
    while True:
        size = int(rng.choice(SIZES))
        draw = effects(rows, names, rng)
        order = list(np.array(names)[np.argsort(draw)])
        chosen: list[str] = []
        while len(chosen) < size:
            if rng.random() < RANDOM_SHARE:
                name = names[int(rng.integers(len(names)))]
            else:
                name = str(order[min(int(rng.geometric(0.2)) - 1, len(order) - 1)])
            if name not in failed and name not in chosen and compatible([*chosen, name], offered, playbook):
                chosen.append(name)
        if frozenset(chosen) not in tried:
            return sorted(chosen)


def balanced_changes(
    number: int,
    size: int,
    rows: list[dict],
    offered: dict[str, tuple[str, object]],
    playbook: dict[str, Technique],
) -> list[str]:
    """Return `size` random changes that fit together, those that were trained least often first."""
    if number < N_BASELINE:
        return []
    rng = np.random.default_rng([20261122, number])
    count = Counter(name for row in rows for name in row["changes"])
    singles = [name for name in sorted(offered) if compatible([name], offered, playbook)]
    chosen: list[str] = []
    for name in sorted(singles, key=lambda name: count[name] + rng.random()):
        if len(chosen) < size and compatible([*chosen, name], offered, playbook):
            chosen.append(name)
    return sorted(chosen)


class StandIn(Task):
    """The task without a judge behind it: the clock is the CPU time of this process."""

    def __init__(self, given: TrialInput, seed: int, train_seconds: float):
        self.facts = TaskFacts(**given.facts, seed=seed, n_threads=1, train_seconds=train_seconds)
        self.crystals = given.train
        self.predictions: np.ndarray | None = None
        self._given = given
        self._started: float | None = None

    def start_training(self) -> np.ndarray:
        """Hand over the labels and start the clock."""
        self._started = time.process_time()
        return self._given.train_labels

    def seconds_left(self) -> float:
        """Return the CPU seconds that are left."""
        assert self._started is not None
        return self.facts.train_seconds - (time.process_time() - self._started)

    def finish_training(self) -> Crystals:
        """Hand over the crystals to predict."""
        return self._given.predict

    def submit(self, predictions: np.ndarray) -> None:
        """Take the predictions."""
        self.predictions = np.asarray(predictions, dtype=np.float64)

    def predict(self, function: Callable[[Crystals], np.ndarray]) -> None:
        """Take the predictions of `function`."""
        self.submit(function(self._given.predict))


def train(source: str, given: TrialInput, seed: int, train_seconds: float, folder: Path) -> str:
    """Run a train.py in a process of its own; return `finished`, or what went wrong."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with (folder / "train.log").open("w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                task = StandIn(given, seed, train_seconds)
                Task.open = classmethod(lambda cls: task)  # type: ignore[method-assign, assignment]
                time.monotonic = time.process_time  # the file measures its own steps by it
                exec(compile(source, "train.py", "exec"), {"__name__": "__main__"})
                assert task.predictions is not None and np.isfinite(task.predictions).all()
                np.save(folder / "predictions.npy", task.predictions)
                status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, code = os.waitpid(child, 0)
    return "finished" if code == 0 else "crashed"


def main() -> None:
    """Record until the folder holds as many trials as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--train-seconds", type=float, default=10.0)
    parser.add_argument("--source", help="another source than the seed folder's, as for `team run`")
    parser.add_argument("--target", help="the label in it")
    parser.add_argument("--limit", type=int, help="an even sample of its rows")
    parser.add_argument("--balanced", type=int, default=0, metavar="SIZE", help="random sets of this many changes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    task = load_task(SEED_FOLDER)
    locked = out / "locked"
    source, target = arguments.source or task.source, arguments.target or task.target
    if not (locked / "facts.json").exists():
        prepare(task, load_source(source, target, out / "cache"), locked, arguments.limit)
    playbook = {technique.id: technique for technique in load_playbook(SEED_FOLDER / "playbook")}
    offered = changes(tuple(playbook.values()))
    seed_train_py = (SEED_FOLDER / "train.py").read_text(encoding="utf-8")
    given = load_trial_input(locked, smoke=False)
    labels = np.load(locked / "validation_labels.npy")
    log = out / "trials.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    while len(rows) < arguments.trials:
        number = len(rows)
        if arguments.balanced:
            chosen = balanced_changes(number, arguments.balanced, rows, offered, playbook)
        else:
            chosen = next_changes(number, rows, offered, playbook)
        folder = out / "trials" / f"{number:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        row = {"number": number, "changes": chosen, "seed": number, "mae_ev": None, "status": "edit"}
        try:
            (folder / "train.py").write_text(write_train_py(chosen, offered, playbook, seed_train_py))
            source = (folder / "train.py").read_text()
            row["status"] = train(source, given, number, arguments.train_seconds, folder)
            if row["status"] == "finished":
                row["mae_ev"] = float(np.abs(np.load(folder / "predictions.npy") - labels).mean())
        except EditError as error:
            row["message"] = str(error)
        row["seconds"] = round(time.monotonic() - began, 2)
        rows.append(row)
        with log.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        print(number, row["status"], row["mae_ev"], row["seconds"], " ".join(chosen), flush=True)


if __name__ == "__main__":
    main()
