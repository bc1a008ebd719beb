"""Accuracy at a budget: train.py files against each other, as trials, on one small set of real crystals.

    python -m benchmarks.accuracy                          # an hour on two quiet cores: make bench-accuracy
    python -m benchmarks.accuracy --seconds 5 --crystals 600 --seeds 0
    python -m benchmarks.accuracy crystal_seed/train.py mine.py --seconds 60

The protocol: of the training rows of official fold 0 of matbench_mp_gap, those of at most 60 atoms, 6,000 by
`default_rng(0).choice`; the first five sixths train, the rest validate; featurising is off the clock; two threads.
Every file is run by the judge's own runner (`evaluation_locked.trial`), with every seed and at every budget, file after
file so that a busy hour strikes all alike. A pair of files is compared on the same rows: the gain is the difference of
their errors, averaged over seeds, with its bootstrap interval over crystals.

Each trial's predictions are appended to a JSON Lines file, and a trial whose file, rows, budget, threads and seed stand
there is not run again: an interrupted bench goes on where it was. What a trial prints last (its steps) and the load of
the machine when it began are kept beside: a clock decides how far a training gets. It touches no official test row.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from evaluation_locked.dataset import Dataset
from evaluation_locked.metrics import METRICS, mae
from evaluation_locked.noise import Interval, bootstrap_differences, interval
from evaluation_locked.prepare import DECOY_FOLDER, TaskFacts, compute_seal, write_rows
from evaluation_locked.sources import load_source
from evaluation_locked.splits import official_folds
from evaluation_locked.task import load_task
from evaluation_locked.trial import TrialOrder, run_trial

ROOT = Path(__file__).parents[1]
SEED_FOLDER = ROOT / "crystal_seed"
FILES = (SEED_FOLDER / "train.py", SEED_FOLDER / "starts" / "cgcnn.py")
CRYSTALS, MAX_ATOMS, TRAIN_SHARE = 6000, 60, 5 / 6
SECONDS, SEEDS, THREADS = (60.0, 300.0), (0, 1, 2), 2

# MAE in eV on exactly these rows, 2 threads, measured with each project's own code by a third party.
PEERS = {
    60.0: {"CGCNN, tuned": "0.537", "PyG CGConv": "0.570", "random forest on Magpie features (27 s)": "0.541"},
    300.0: {
        "CGCNN, tuned": "0.448 +- 0.021",
        "PyG CGConv": "0.458",
        "MegNet": "0.562",
        "coGN port": "0.607",
        "ALIGNN": "0.812",
    },
}


@dataclass(frozen=True)
class Protocol:
    """The rows of the bench.

    Attributes:
        train: Crystals with labels to train on.
        validation: Crystals with labels that judge.
        official: Whether these are the rows that `PEERS` were measured on.
    """

    train: Dataset
    validation: Dataset
    official: bool


@dataclass(frozen=True)
class Result:
    """One trial.

    Attributes:
        file: Its path as it was given.
        digest: sha256 of its text and of the rows, 16 digits.
        mae_ev: On the validation rows.
        said: The last line that it printed, which tells its steps.
        load: The machine's load average when it began; 0 is a quiet machine.
        predictions: [n_validation].
    """

    file: str
    digest: str
    seconds: float
    seed: int
    threads: int
    mae_ev: float
    train_seconds: float
    featurise_seconds: float
    peak_memory_gib: float
    said: str
    load: float
    predictions: list[float]

    @property
    def key(self) -> tuple[str, float, int, int]:
        """What makes a trial the same."""
        return self.digest, self.seconds, self.seed, self.threads


def choose_rows(dataset: Dataset, n_crystals: int = CRYSTALS) -> Protocol:
    """Return the protocol's rows of the whole official data set, in the order in which they were drawn."""
    rows = np.sort(official_folds(len(dataset))[0][0])
    rows = rows[dataset.crystals.n_atoms[rows] <= MAX_ATOMS]
    chosen = np.random.default_rng(0).choice(rows, n_crystals, replace=False)
    n_train = round(TRAIN_SHARE * n_crystals)
    official = len(dataset) == 106_113 and n_crystals == CRYSTALS
    return Protocol(dataset.select(chosen[:n_train]), dataset.select(chosen[n_train:]), official)


def write_locked(protocol: Protocol, folder: Path) -> None:
    """Write the locked folder of the rows, as `evaluation_locked.prepare` describes it."""
    spec = load_task(SEED_FOLDER)
    train, validation = protocol.train, protocol.validation
    write_rows(folder, train, validation.crystals)
    np.save(folder / "validation_labels.npy", validation.target)
    (folder.parent / DECOY_FOLDER).mkdir(exist_ok=True)
    facts = TaskFacts(
        name=spec.name,
        kind=spec.kind,
        target=spec.target,
        unit=spec.unit,
        metric=spec.metric,
        source=train.name,
        provenance=train.provenance,
        seal=compute_seal(spec, folder),
        data_hash=train.content_hash(),
        n_source=len(train) + len(validation),
        n_search=len(train) + len(validation),
        n_train=len(train),
        n_validation=len(validation),
        mean_predictor=mae(validation.target, np.full(len(validation), train.target.mean())),
    )
    (folder / "facts.json").write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")


def digest_of(file: Path, protocol: Protocol) -> str:
    """Return 16 digits that change with a file's text or with the rows."""
    rows = protocol.train.content_hash() + protocol.validation.content_hash()
    return hashlib.sha256(file.read_bytes() + rows.encode()).hexdigest()[:16]


def train_once(file: Path, protocol: Protocol, locked: Path, seconds: float, seed: int, threads: int) -> Result:
    """Run one trial of `file` and return what came of it.

    Raises:
        RuntimeError: The trial did not finish; the message says why, with the end of what it printed.
    """
    spec = load_task(SEED_FOLDER)
    caps = spec.caps.model_copy(update={"train_seconds": seconds, "featurise_seconds": 900.0})
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-accuracy-") as scratch:
        order = TrialOrder(
            train_py=file.resolve(),
            locked=locked,
            folder=Path(scratch) / "trial",
            caps=caps,
            seed=seed,
            n_threads=threads,
            check_batches=spec.check_batches,
        )
        outcome = run_trial(order)
        log = (order.folder / "train.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if outcome.status != "finished":
            raise RuntimeError("\n".join([f"{file}: {outcome.status}: {outcome.message}", *log[-5:]]))
        predictions = np.load(order.folder / "predictions.npy", allow_pickle=False)
    return Result(
        file=str(file),
        digest=digest_of(file, protocol),
        seconds=seconds,
        seed=seed,
        threads=threads,
        mae_ev=round(mae(protocol.validation.target, predictions), 6),
        train_seconds=outcome.train_seconds,
        featurise_seconds=outcome.featurise_seconds,
        peak_memory_gib=outcome.peak_memory_gib,
        said=log[-1] if log else "",
        load=round(load, 2),
        predictions=[round(float(value), 6) for value in predictions],
    )


def read_results(path: Path) -> list[Result]:
    """Return the trials that a results file holds; a last line that was torn by an interrupt is left out."""
    if not path.exists():
        return []
    results = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            results.append(Result(**json.loads(line)))
        except json.JSONDecodeError:
            continue
    return results


def append_result(path: Path, result: Result) -> None:
    """Add a trial to a results file, on a line of its own even where an interrupt tore the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as stream:
        stream.write(("\n" if torn else "") + json.dumps(asdict(result)) + "\n")


def gain(labels: np.ndarray, challenger: list[Result], champion: list[Result]) -> Interval:
    """Return how much lower the challenger's error is than the champion's on the same rows, seeds averaged."""
    sides = [[np.array(result.predictions) for result in side] for side in (challenger, champion)]
    before, after = (float(np.mean([mae(labels, p) for p in side])) for side in (sides[1], sides[0]))
    return interval(before - after, bootstrap_differences(METRICS["mae"], labels, sides[0], sides[1]))


def show(protocol: Protocol, files: list[Path], results: list[Result], threads: int) -> str:
    """Return the tables: a file's error at each budget, and the gain of the first file over each other."""
    labels = protocol.validation.target
    digests = {file: digest_of(file, protocol) for file in files}
    lines = []
    constant = mae(labels, np.full(len(labels), np.median(protocol.train.target)))
    for seconds in sorted({result.seconds for result in results}):
        of = {
            file: sorted(
                (r for r in results if r.key[:2] == (digests[file], seconds) and r.threads == threads),
                key=lambda r: r.seed,
            )
            for file in files
        }
        lines.append(f"\n{seconds:g} s, {threads} threads, {len(protocol.train):,} train, {len(labels):,} validate")
        lines.append(f"  {'the median of the training labels':42s} {constant:.4f} eV")
        for file, own in of.items():
            if own:
                errors = [result.mae_ev for result in own]
                each = " ".join(f"{error:.4f}" for error in errors)
                load = max(result.load for result in own)
                lines.append(
                    f"  {file!s:42s} {np.mean(errors):.4f} eV   seeds {', '.join(str(r.seed) for r in own)}: {each}"
                    f"   {own[-1].said.split(';')[0]}   load {load:g}"
                )
        first = files[0]
        for other in files[1:]:
            shared = {r.seed for r in of[first]} & {r.seed for r in of[other]}
            if shared:
                found = gain(labels, *([r for r in of[file] if r.seed in shared] for file in (first, other)))
                lines.append(
                    f"  gain of {first.name} over {other.name}: {found.value:+.4f} eV "
                    f"[{found.low:+.4f}, {found.high:+.4f}], paired, {len(shared)} seeds"
                )
        for name, value in PEERS.get(seconds, {}).items() if protocol.official else ():
            lines.append(f"  {name + ' (measured elsewhere)':42s} {value} eV")
    return "\n".join(lines)


def default_source() -> str:
    """Return the real task where its file is at hand, and else the shipped crystals."""
    folder = os.environ.get("TEAM_TEST_DATA")
    return f"table:{folder}/matbench_mp_gap.npz" if folder else "tight-binding"


def main() -> int:
    """Run what is missing and print the tables; 1 where a trial failed."""
    parser = argparse.ArgumentParser(description="Accuracy of train.py files at a budget of seconds.")
    parser.add_argument("files", nargs="*", type=Path, default=[path.relative_to(ROOT) for path in FILES])
    parser.add_argument("--seconds", type=float, nargs="+", default=list(SECONDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--crystals", type=int, default=CRYSTALS)
    parser.add_argument("--source", default=default_source(), help="the shipped crystals where TEAM_TEST_DATA is unset")
    parser.add_argument("--target", default=None, help="name of the label; gap_pbe for the real task's table")
    parser.add_argument("--results", type=Path, default=Path("runs/bench-accuracy.jsonl"))
    given = parser.parse_args()

    target = given.target or ("gap_ev" if given.source == "tight-binding" else "gap_pbe")
    protocol = choose_rows(load_source(given.source, target), given.crystals)
    if not protocol.official:
        print(f"{given.source}, {given.crystals} crystals: not the protocol, so no peer's figure stands beside")
    done = {result.key: result for result in read_results(given.results)}
    failed = []
    with tempfile.TemporaryDirectory(prefix="bench-accuracy-") as place:
        locked = Path(place) / "locked"
        write_locked(protocol, locked)
        for seconds in given.seconds:
            for seed in given.seeds:
                for file in given.files:
                    if (digest_of(file, protocol), seconds, seed, given.threads) in done:
                        continue
                    began = time.monotonic()
                    try:
                        result = train_once(file, protocol, locked, seconds, seed, given.threads)
                    except RuntimeError as error:  # the border of a child process: the other files go on
                        failed.append(str(error))
                        print(error, file=sys.stderr, flush=True)
                        continue
                    done[result.key] = result
                    append_result(given.results, result)
                    print(
                        f"{seconds:g} s, seed {seed}, {file}: {result.mae_ev:.4f} eV; {result.said}; "
                        f"{time.monotonic() - began:.0f} s in all, load {result.load:g}",
                        flush=True,
                    )
    print(show(protocol, given.files, list(done.values()), given.threads))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
