"""The locked folder of a run: the rows that a search may use, split, with judge's labels in a file of their own.

    train.npz               crystals and labels of search-train; the warden hands them to the trial
    validation.npz          crystals of search-validation; handed over after training, shuffled
    validation_labels.npy   labels that judge; the scorer alone opens it
    facts.json              sizes, hashes, the seal, the score of the mean predictor
    ../labels/validation.npz  a decoy: the crystals that are judged, with wrong labels

The folder is closed to every trial by the sandbox. Official test rows are in none of these files. The decoy lies where
somebody who looks for labels would find it first; predictions that follow it are set aside (see `scorer`).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from evaluation_locked.crystals import Crystals
from evaluation_locked.dataset import DataError
from evaluation_locked.task import Strict, TaskSpec, explain

if TYPE_CHECKING:
    from evaluation_locked.dataset import Dataset

SMOKE_TRAIN, SMOKE_PREDICT = 48, 16
MIN_ROWS = 100
DECOY_FOLDER = "labels"
FORMAT = 1


class TaskFacts(Strict):
    """What was prepared, for people and for the seal.

    Attributes:
        seal: sha256 over the judge's code, the task and the rows; scores with different seals are not compared.
        data_hash: sha256 of all rows of the source, before any were chosen.
        n_source: Rows of the source.
        n_search: Rows that the search may see, after the limit.
        n_train: Of these, rows to train on.
        n_validation: Of these, rows that judge.
        mean_predictor: Score of predicting the mean of the training labels, on the validation rows.
        provenance: Where the labels come from.
    """

    name: str
    kind: str
    target: str
    unit: str
    metric: str
    source: str
    provenance: str
    seal: str
    data_hash: str
    n_source: int
    n_search: int
    n_train: int
    n_validation: int
    mean_predictor: float
    format: int = FORMAT


@dataclass(frozen=True)
class TrialInput:
    """What a warden needs of the locked folder: everything but the labels that judge."""

    facts: dict[str, Any]
    train: Crystals
    train_labels: np.ndarray
    predict: Crystals


def prepare(spec: TaskSpec, dataset: Dataset, folder: Path, limit: int | None = None) -> TaskFacts:
    """Choose and split the search's rows of `dataset` and write the locked folder.

    Args:
        spec: The task.
        dataset: All rows of the source, the official test rows among them.
        folder: Made where it is missing.
        limit: Use at most this many of the search's rows, evenly spaced over them.

    Raises:
        DataError, CrystalError: The data cannot be used.
    """
    from evaluation_locked.splits import even_sample, official_folds, search_split

    dataset.check()
    if spec.kind == "classification" and (strange := set(np.unique(dataset.target)) - {0.0, 1.0}):
        raise DataError(f"{dataset.name}: a class label is {min(strange):g}; classification needs labels 0 and 1")
    stratify = dataset.target if spec.kind == "classification" else None
    folds = official_folds(
        len(dataset), stratify_labels=stratify, n_folds=spec.split.n_folds, seed=spec.split.fold_seed
    )
    rows = np.sort(folds[spec.split.fold][0])
    if limit is not None:
        rows = even_sample(rows, limit)
    if len(rows) < MIN_ROWS:
        raise DataError(f"{dataset.name}: {len(rows)} rows for the search; {MIN_ROWS} at least are needed")
    split = search_split(
        dataset.crystals, rows, validation_fraction=spec.split.validation_fraction, seed=spec.split.seed
    )
    train, validation = dataset.select(split.train_rows), dataset.select(split.validation_rows)
    write_rows(folder, train, validation.crystals)
    np.save(folder / "validation_labels.npy", validation.target)
    decoy_folder = folder.parent / DECOY_FOLDER
    decoy_folder.mkdir(exist_ok=True)
    decoys = np.random.default_rng().permutation(validation.target)
    np.savez(decoy_folder / "validation.npz", labels=decoys, **validation.crystals.arrays())  # type: ignore[arg-type]
    mean = np.full(len(validation), train.target.mean())
    facts = TaskFacts(
        name=spec.name,
        kind=spec.kind,
        target=spec.target,
        unit=spec.unit,
        metric=spec.metric,
        source=dataset.name,
        provenance=dataset.provenance,
        seal=compute_seal(spec, folder),
        data_hash=dataset.content_hash(),
        n_source=len(dataset),
        n_search=len(rows),
        n_train=len(train),
        n_validation=len(validation),
        mean_predictor=spec.score_metric.function(validation.target, mean),
    )
    (folder / "facts.json").write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return facts


def write_rows(folder: Path, train: Dataset, predict: Crystals) -> None:
    """Write what a warden reads: the rows to train on with their labels, and the crystals to predict without."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "train.npz", labels=train.target, **train.crystals.arrays())  # type: ignore[arg-type]
    np.savez(folder / "validation.npz", **predict.arrays())  # type: ignore[arg-type]


def load_facts(folder: Path) -> TaskFacts:
    """Read the facts of a locked folder.

    Raises:
        DataError: The folder was not prepared, or by another version.
    """
    path = folder / "facts.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is no prepared task ({error}); start the run anew") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise DataError(f"{path} is not of format {FORMAT}, which this version reads")
    try:
        return TaskFacts.model_validate(facts)
    except ValidationError as error:
        raise DataError(f"{path}: {explain(error)}; restore it or start the run anew") from error


def load_trial_input(folder: Path, *, smoke: bool) -> TrialInput:
    """Read what a trial is given.

    Args:
        folder: A locked folder.
        smoke: Give a few training crystals to train on and a few others of them to predict, so that a file can be
            tried out without a look at the validation rows.
    """
    facts = load_facts(folder)
    told = {name: getattr(facts, name) for name in ("name", "target", "unit", "kind", "metric")}
    with np.load(folder / "train.npz", allow_pickle=False) as file:
        train, labels = Crystals.from_arrays(file), file["labels"]
    if smoke:
        predict = train.select(np.arange(SMOKE_TRAIN, SMOKE_TRAIN + SMOKE_PREDICT))
        return TrialInput(told, train.select(np.arange(SMOKE_TRAIN)), labels[:SMOKE_TRAIN], predict)
    with np.load(folder / "validation.npz", allow_pickle=False) as file:
        predict = Crystals.from_arrays(file)
    return TrialInput(told, train, labels, predict)


def judge_digest(spec: TaskSpec) -> hashlib._Hash:
    """Return a sha256 that holds the judge's code and the task, for a seal to go on with."""
    digest = hashlib.sha256(spec.model_dump_json(exclude={"title", "caps"}).encode())
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest


def compute_seal(spec: TaskSpec, folder: Path) -> str:
    """Return the sha256 over the judge's code, the task, and the rows and labels of a locked folder.

    Caps and titles are not in it: they do not change what a prediction is worth.

    Raises:
        DataError: The folder lacks a file or one cannot be read.
    """
    digest = judge_digest(spec)
    try:
        for name in ("train.npz", "validation.npz"):
            with (folder / name).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                digest.update(Crystals.from_arrays(file).content_hash().encode())
                digest.update(file["labels"].tobytes() if "labels" in file.files else b"")
        digest.update(np.load(folder / "validation_labels.npy", allow_pickle=False).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{folder} is damaged ({error}): restore it or start the run anew") from error
    return digest.hexdigest()
