"""The locked folder of a run: the rows that a search may use, split, with judge's labels in a file of their own.

    train.npz               crystals and labels of search-train; the warden hands them to the trial
    validation.npz          crystals of search-validation; handed over after training, shuffled
    validation_labels.npy   labels that judge; the scorer alone opens it
    facts.json              sizes, hashes, the seal, the score of the mean predictor
    ../labels/validation.npz  a decoy: the crystals that are judged, with wrong labels
    parts.npy               under cross-validation: [repeats, n] the part of each row of train.npz in each cut
    metric.py               where the seed has a metric of its own

Under cross-validation every row of the search is judged once a cut, by a training that had no row of its part and none
of its formulas. train.npz then holds all of them, and the warden hands each training those of the other parts;
validation.npz and the labels that judge hold all of them too, once for each cut.

The folder is closed to every trial by the sandbox. Official test rows are in none of these files. The decoy lies where
somebody who looks for labels would find it first; predictions that follow it are set aside (see `scorer`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import ValidationError

from evaluation_locked.crystals import Crystals
from evaluation_locked.dataset import DataError
from evaluation_locked.judge_code import add_judge_code
from evaluation_locked.own_metric import judge_metric
from evaluation_locked.seed_folder import METRIC_FILE
from evaluation_locked.task import MIN_SEARCH_ROWS, OwnMetric, Strict, TaskSpec, explain

if TYPE_CHECKING:
    from evaluation_locked.dataset import Dataset

SMOKE_TRAIN, SMOKE_PREDICT = 48, 16
DECOY_FOLDER = "labels"
FORMAT = 1


class TaskFacts(Strict):
    """What was prepared, for people and for the seal.

    Attributes:
        seal: sha256 over the judge's code, the task and the rows; scores with different seals are not compared.
        data_hash: sha256 of all rows of the source, before any were chosen.
        n_source: Rows of the source.
        n_search: Rows that the search may see, after the limit.
        n_train: Of these, rows that a training is given; the mean over trainings under cross-validation.
        n_validation: Of these, rows that judge.
        mean_predictor: Score of predicting the mean of the training labels, on the validation rows.
        provenance: Where the labels come from.
        n_trainings: Trainings of one trial.
        repeats: How often each of the `n_validation` crystals is judged.
        own_metric: Declaration of a metric of the seed's own.
    """

    name: str
    kind: Literal["regression", "classification"]
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
    n_trainings: int = 1
    repeats: int = 1
    own_metric: OwnMetric | None = None
    format: int = FORMAT

    def rows_in_words(self) -> str:
        """Return how many crystals a training is given and how many judge."""
        if self.n_trainings == 1:
            return f"{self.n_train:,} crystals to train on, {self.n_validation:,} to judge by"
        cuts = f", {self.repeats} times over" if self.repeats > 1 else ""
        return (
            f"{self.n_validation:,} crystals, each judged by a training on {self.n_train:,} others{cuts}: "
            f"{self.n_trainings} trainings a trial, which share its budget"
        )


@dataclass(frozen=True)
class TrialInput:
    """What a warden needs of the locked folder for one training: everything but the labels that judge it.

    Attributes:
        facts: What the trial is told.
        train: Crystals to learn from.
        train_labels: Their labels.
        predict: Crystals to predict.
        judged: Where their predictions stand among all that the trial makes.
        n_judged: How many that are.
    """

    facts: dict[str, Any]
    train: Crystals
    train_labels: np.ndarray
    predict: Crystals
    judged: np.ndarray
    n_judged: int


def prepare(
    spec: TaskSpec, dataset: Dataset, folder: Path, limit: int | None = None, seed_folder: Path | None = None
) -> TaskFacts:
    """Choose and split the search's rows of `dataset` and write the locked folder.

    Args:
        spec: The task.
        dataset: All rows of the source, the official test rows among them.
        folder: Made where it is missing.
        limit: Use at most this many of the search's rows, evenly spaced over them; what the task says where None.
        seed_folder: Holds `metric.py`, where the seed has a metric of its own.

    Raises:
        DataError, CrystalError: The data cannot be used.
        SeedError: The metric cannot.
    """
    from evaluation_locked.preflight import check_graphs
    from evaluation_locked.splits import cross_validation_parts, even_sample, official_folds, search_split

    dataset.check()
    if spec.kind == "classification" and (strange := set(np.unique(dataset.target)) - {0.0, 1.0}):
        raise DataError(f"{dataset.name}: a class label is {min(strange):g}; classification needs labels 0 and 1")
    stratify = dataset.target if spec.kind == "classification" else None
    folds = official_folds(
        len(dataset), stratify_labels=stratify, n_folds=spec.split.n_folds, seed=spec.split.fold_seed
    )
    rows = np.sort(folds[spec.split.fold][0])
    if limit := limit or spec.split.limit:
        rows = even_sample(rows, limit)
    if len(rows) < MIN_SEARCH_ROWS:
        raise DataError(f"{dataset.name}: {len(rows)} rows for the search; {MIN_SEARCH_ROWS} at least are needed")
    check_graphs(dataset.crystals.select(rows), rows, spec.caps.memory_gib)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("parts.npy", METRIC_FILE):
        (folder / stale).unlink(missing_ok=True)
    if spec.own_metric is not None:
        shutil.copyfile((seed_folder or Path()) / METRIC_FILE, folder / METRIC_FILE)
    cut = spec.split
    if cut.cross_validation:
        parts = cross_validation_parts(
            dataset.crystals,
            rows,
            n_parts=cut.cross_validation,
            repeats=cut.repeats,
            seed=cut.seed,
            stratify_labels=None if stratify is None else stratify[rows],
        )
        np.save(folder / "parts.npy", parts)
        train, validation = dataset.select(rows), dataset.select(np.tile(rows, cut.repeats))
        n_train, mean = round(len(rows) * (1 - 1 / cut.cross_validation)), _means_of_others(train.target, parts)
    else:
        split = search_split(dataset.crystals, rows, validation_fraction=cut.validation_fraction, seed=cut.seed)
        train, validation = dataset.select(split.train_rows), dataset.select(split.validation_rows)
        n_train, mean = len(train), np.full(len(validation), train.target.mean())
    write_rows(folder, train, validation.crystals)
    np.save(folder / "validation_labels.npy", validation.target)
    decoy_folder = folder.parent / DECOY_FOLDER
    decoy_folder.mkdir(exist_ok=True)
    decoys = np.random.default_rng().permutation(validation.target)
    np.savez(decoy_folder / "validation.npz", labels=decoys, **validation.crystals.arrays())  # type: ignore[arg-type]
    metric = judge_metric(spec.metric, spec.kind, spec.own_metric, folder / METRIC_FILE)
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
        n_train=n_train,
        n_validation=len(validation) // cut.repeats,
        mean_predictor=metric.function(validation.target, mean),
        n_trainings=cut.n_trainings,
        repeats=cut.repeats,
        own_metric=spec.own_metric,
    )
    (folder / "facts.json").write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return facts


def _means_of_others(labels: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return [repeats * n]: for each row of each cut the mean label of the rows that its training is given."""
    n_parts = int(parts.max()) + 1
    return np.concatenate([np.array([labels[cut != p].mean() for p in range(n_parts)])[cut] for cut in parts])


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


def load_trial_input(folder: Path, *, smoke: bool, training: int = 0) -> TrialInput:
    """Read what one training of a trial is given.

    Args:
        folder: A locked folder.
        smoke: Give a few training crystals to train on and a few others of them to predict, so that a file can be
            tried out without a look at the validation rows.
        training: Its number, from 0 to `n_trainings` - 1; under cross-validation, parts within cuts.
    """
    facts = load_facts(folder)
    told = {name: getattr(facts, name) for name in ("name", "target", "unit", "kind", "metric")}
    with np.load(folder / "train.npz", allow_pickle=False) as file:
        train, labels = Crystals.from_arrays(file), file["labels"]
    if smoke:
        rows = np.arange(SMOKE_TRAIN), np.arange(SMOKE_TRAIN, SMOKE_TRAIN + SMOKE_PREDICT)
        judged = np.arange(SMOKE_PREDICT)
        return TrialInput(told, train.select(rows[0]), labels[rows[0]], train.select(rows[1]), judged, SMOKE_PREDICT)
    if (folder / "parts.npy").exists():
        parts = np.load(folder / "parts.npy", allow_pickle=False)  # [repeats, n]
        cut, part = divmod(training, facts.n_trainings // facts.repeats)
        given, asked = np.flatnonzero(parts[cut] != part), np.flatnonzero(parts[cut] == part)
        judged = cut * len(train) + asked
        return TrialInput(told, train.select(given), labels[given], train.select(asked), judged, parts.size)
    with np.load(folder / "validation.npz", allow_pickle=False) as file:
        predict = Crystals.from_arrays(file)
    return TrialInput(told, train, labels, predict, np.arange(len(predict)), len(predict))


def judge_digest(spec: TaskSpec) -> hashlib._Hash:
    """Return a sha256 that holds the judge's code and the task, for a seal to go on with."""
    digest = hashlib.sha256(spec.model_dump_json(exclude={"title", "caps", "base", "leave_out"}).encode())
    add_judge_code(digest)
    return digest


def compute_seal(spec: TaskSpec, folder: Path) -> str:
    """Return the sha256 over the judge's code, the task, and the rows and labels of a locked folder.

    Caps, titles and where a seed's files come from are not in it: they do not change what a prediction is worth.

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
        if spec.split.cross_validation:
            digest.update(np.load(folder / "parts.npy", allow_pickle=False).tobytes())
        if spec.own_metric is not None:
            digest.update((folder / METRIC_FILE).read_bytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{folder} is damaged ({error}): restore it or start the run anew") from error
    return digest.hexdigest()
