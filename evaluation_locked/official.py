"""Claims: MatBench's own folds and recorder, for a file that a search has chosen, or folds of our own.

It owns which sources are an official task, the rows of a fold, and the score on its test rows. Both steps that open
labels run in a process of their own, one before the trial and one after it is gone, so that no process that lives
beside a trial holds a label that judges. The second step counts the look (`evaluation_locked.looks`) before it opens
them. A source that is no official task may be scored on folds of our own, which are never called official. It trains
nothing, and decides nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation_locked.breakdown import Part, split_score
from evaluation_locked.dataset import DataError, Dataset
from evaluation_locked.layers import seals
from evaluation_locked.looks import Look, Subject, count_look
from evaluation_locked.metrics import METRICS, Metric
from evaluation_locked.noise import bootstrap_differences, interval
from evaluation_locked.own_metric import judge_metric
from evaluation_locked.own_process import answer, ask
from evaluation_locked.predictions import refuse_strange
from evaluation_locked.preflight import check_graphs
from evaluation_locked.prepare import TaskFacts, judge_digest, write_rows
from evaluation_locked.scorer import ScoringError
from evaluation_locked.seed_folder import METRIC_FILE, SeedError
from evaluation_locked.task import Strict, TaskSpec

# Tables that hold an official task: sha256 over labels and elements in official row order, see `fingerprint`.
KNOWN_TABLES = {
    "b0f357e7d9be6a5ce75ba4745b4d981389e76050da0d9a23ae9fdd43f2a41328": "matbench_mp_gap",
    # The same crystals; 1 where the gap is 0, by which MatBench stratifies the folds that its package ships.
    "a0092152788318720b40fabdbf43f68de63aa6dafd1d238e034e522abdfb3dce": "matbench_mp_is_metal",
}
AGREEMENT = 1e-6  # how near our metric must come to the recorder's
OwnFolds = Literal["", "kfold", "grouped"]
_MODULE = "evaluation_locked.official"
RECORDER_NAMES = {"mae": "mae", "rmse": "rmse", "max_error": "max_error", "roc_auc": "rocauc", "f1": "f1"}


class NotOfficialError(DataError):
    """The run's crystals are no official task, so there is no official fold to score on."""


class Rows(Strict):
    """What an evaluation is about.

    Attributes:
        spec: The run's task.
        cache: Folder of downloads and cached tables.
        data_hash: Of the run's source; another source now is refused. Empty where an official task alone is due.
        fold: Official fold.
        own: For a source that is no official task: `kfold` (the folds that the search was drawn by, so that it saw
            nothing of the test rows of one) or `grouped` (no formula is both trained on and tested).
        metric_file: The metric of the seed's own, where it has one.
        known_tables: See `KNOWN_TABLES`.
    """

    spec: TaskSpec
    cache: Path | None
    data_hash: str
    fold: int
    own: OwnFolds = ""
    metric_file: Path | None = None
    known_tables: dict[str, str] = KNOWN_TABLES


class OfficialScore(Strict):
    """The score of one training, or of several combined, on the test rows of one fold.

    Attributes:
        task: MatBench's name of the task; the name of the source where the folds are our own.
        own: See `Rows`; empty for an official claim.
        metric: Of our task; `value` is what MatBench's recorder gives for it.
        low: Lower end of the 95 % bootstrap interval over the test crystals.
        high: Upper end.
        standard_error: Over the test crystals.
        n_train: Training rows of the fold, all of which it was trained on.
        n_test: Test rows of the fold.
        parts: The same score on parts of the test rows.
        recorder: Every figure of MatBench's recorder; of our own metrics where the folds are.
        mean_predictor: What always saying the mean of the training labels scores on these rows.
        look: The look that this is.
        seal: sha256 over the judge's code, the task, the source's rows and the fold.
        sealed: Whether the layers that held the training suffice.
    """

    task: str
    fold: int
    own: OwnFolds = ""
    metric: str
    value: float
    low: float
    high: float
    standard_error: float = 0.0
    n_train: int
    n_test: int
    parts: tuple[Part, ...] = ()
    recorder: dict[str, float]
    mean_predictor: float
    look: Look
    seal: str
    sealed: bool
    layers: tuple[str, ...]


def fingerprint(dataset: Dataset) -> str:
    """Return the sha256 over labels (to a millionth) and elements, row by row: what tells an official table."""
    digest = hashlib.sha256((np.round(np.asarray(dataset.target, dtype="<f8"), 6) + 0.0).tobytes())
    digest.update(dataset.crystals.n_atoms.astype("<i8").tobytes())
    digest.update(dataset.crystals.atomic_numbers.astype("<u1").tobytes())
    return digest.hexdigest()


def official_task(source: str, dataset: Dataset, known_tables: dict[str, str]) -> str:
    """Return MatBench's name of the task that a source holds, rows in official order.

    Raises:
        NotOfficialError: It holds none.
    """
    kind, _, name = source.strip().partition(":")
    if kind == "matbench":  # its file's checksum was compared when it was read
        return name
    task = known_tables.get(fingerprint(dataset))
    if task is None:
        raise NotOfficialError(
            f"{source} ({len(dataset):,} rows) is no official MatBench task, or not in its order, so there is no "
            "official fold to score on: `team run --source matbench:TASK` searches on one; --own-folds scores on "
            "folds of our own, which are not official"
        )
    return task


def prepare_fold(rows: Rows, folder: Path) -> TaskFacts:
    """Write all training rows of a fold and the crystals of its test rows, in a process of its own.

    The folder is as `evaluation_locked.prepare` describes it, but without labels that judge.

    Raises:
        NotOfficialError, DataError: There is no such fold, or the source is not what the run was searched on.
    """
    order = {"step": "prepare", "rows": rows.model_dump(mode="json"), "folder": str(folder)}
    return TaskFacts.model_validate(ask(_MODULE, order, _REFUSALS))


def n_folds_of(rows: Rows) -> int:
    """Return how many folds there are to score on, in a process of its own.

    Raises:
        NotOfficialError, DataError: As for `prepare_fold`.
    """
    order = {"step": "count", "rows": rows.model_dump(mode="json")}
    return int(ask(_MODULE, order, _REFUSALS)["n_folds"])


def score_fold(rows: Rows, facts: TaskFacts, subject: Subject, place: Path, layers: tuple[str, ...]) -> OfficialScore:
    """Count a look, then score predictions on the test rows of a fold, in a process of its own.

    Args:
        rows: What it is about.
        facts: As `prepare_fold` returned them.
        subject: What is looked at, but for the task and the hash of its predictions, `place/predictions.npy`.
        place: Folder of the evaluation; `looks.jsonl` lies two folders above it.
        layers: What held the training.

    Raises:
        ScoringError: The predictions are not one finite number for each test row, or MatBench's recorder disagrees.
        LooksError, DataError: The looks cannot be counted, or the source is another.
    """
    order = {
        "step": "score",
        "rows": rows.model_dump(mode="json"),
        "facts": facts.model_dump(mode="json"),
        "subject": subject.model_dump(mode="json"),
        "place": str(place),
    }
    return OfficialScore(layers=layers, sealed=seals(layers), **ask(_MODULE, order, _REFUSALS))


def recorded_scores(task: str, fold: int, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return what MatBench's recorder says of predictions, both [n_test] in the order of its test rows.

    Nothing is downloaded: the recorder is given the labels of the fold's test rows under its own ids.
    """
    import pandas
    from matbench.task import MatbenchTask

    record = MatbenchTask(task, autoload=False)
    ids = record.validation[record.folds_map[fold]]["test"]
    truth = labels > 0.5 if record.metadata["task_type"] == "classification" else labels
    columns = {record.metadata["input_type"]: None, record.metadata["target"]: truth.tolist()}
    record.df = pandas.DataFrame(columns, index=list(ids))
    record.record(fold, predictions.tolist())
    scores = record.results[record.folds_map[fold]]["scores"]
    return {name: float(value) for name, value in scores.items()}


def _prepare(rows: Rows, folder: Path) -> dict[str, Any]:
    dataset, task = load_claimed(rows)
    train_rows, test_rows = fold_rows(rows, dataset, task)
    for chosen in (train_rows, test_rows):
        check_graphs(dataset.crystals.select(chosen), chosen, rows.spec.caps.memory_gib)
    train, test = dataset.select(train_rows), dataset.select(test_rows)
    write_rows(folder, train, test.crystals)
    spec, metric = rows.spec, metric_of(rows)
    digest = judge_digest(spec)
    digest.update(f"{rows.own}{task} {rows.fold} {rows.data_hash}".encode())
    if spec.own_metric is not None and rows.metric_file is not None:
        digest.update(rows.metric_file.read_bytes())
    facts = TaskFacts(
        name=spec.name,
        kind=spec.kind,
        target=spec.target,
        unit=spec.unit,
        metric=spec.metric,
        source=task,
        provenance=dataset.provenance,
        seal=digest.hexdigest(),
        data_hash=rows.data_hash,
        n_source=len(dataset),
        n_search=len(train),
        n_train=len(train),
        n_validation=len(test),
        mean_predictor=metric.function(test.target, np.full(len(test), train.target.mean())),
    )
    (folder / "facts.json").write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return facts.model_dump(mode="json")


def _score(rows: Rows, facts: TaskFacts, subject: Subject, place: Path) -> dict[str, Any]:
    predictions = np.load(place / "predictions.npy", allow_pickle=False)
    n_test = facts.n_validation
    refuse_strange(predictions, n_test, place / "predictions.npy", rows.spec.kind)
    found = hashlib.sha256(predictions.tobytes()).hexdigest()
    subject = subject.model_copy(update={"task": facts.source, "predictions_sha": found})
    look = count_look(place.parents[1] / "looks.jsonl", subject)
    dataset, task = load_claimed(rows)
    train_rows, test_rows = fold_rows(rows, dataset, task)
    labels = dataset.target[test_rows]
    metric = metric_of(rows)
    said, theirs = predictions, metric.function(labels, predictions)
    if rows.own:
        recorder = {m.name: m.function(labels, said) for m in METRICS.values() if m.kind == metric.kind}
    else:
        recorder = recorded_scores(task, rows.fold, labels, predictions)
        if metric.name in RECORDER_NAMES:  # a metric of the seed's own, MatBench does not know
            theirs = recorder[RECORDER_NAMES[metric.name]]
            # MatBench's recorder cuts probabilities at one half before it takes the area under the ROC curve: so do we.
            said = (predictions > 0.5).astype(np.float64) if metric.kind == "classification" else predictions
    spread = interval(metric.function(labels, said), bootstrap_differences(metric, labels, [said]))
    if abs(spread.value - theirs) > AGREEMENT * max(1.0, abs(theirs)):
        raise ScoringError(f"our {metric.name} is {spread.value!r} and MatBench's recorder says {theirs!r}: tell us")
    keys = dataset.crystals.formula_keys()
    parts = split_score(metric, rows.spec.target, labels, said, np.isin(keys[test_rows], keys[train_rows]))
    return {
        "task": task,
        "fold": rows.fold,
        "own": rows.own,
        "metric": metric.name,
        "value": theirs,
        "low": spread.low,
        "high": spread.high,
        "standard_error": spread.standard_error,
        "n_train": facts.n_train,
        "n_test": n_test,
        "parts": [part.model_dump(mode="json") for part in parts],
        "recorder": recorder,
        "mean_predictor": facts.mean_predictor,
        "look": look.model_dump(mode="json"),
        "seal": facts.seal,
    }


def metric_of(rows: Rows) -> Metric:
    """Return the metric that decides, ready to compute, in a process of the judge.

    Raises:
        SeedError: It is the seed's own, and its file does not define it.
    """
    return judge_metric(rows.spec.metric, rows.spec.kind, rows.spec.own_metric, rows.metric_file or Path(METRIC_FILE))


def load_claimed(rows: Rows) -> tuple[Dataset, str]:
    """Return the source, labels and all, and the official task that it holds, or its name where the folds are our own.

    Raises:
        NotOfficialError: It holds none, or one of another kind.
        DataError: It is not what the run was searched on; or own folds are asked for of an official task.
    """
    from evaluation_locked.sources import load_source

    if rows.spec.own_metric is not None:
        raise NotOfficialError(
            f"MatBench's recorder knows no metric {rows.spec.metric!r}, so it gives no official score; what a search "
            "measured itself stands in `team status`"
        )
    dataset = load_source(rows.spec.source, rows.spec.target, rows.cache)
    if rows.data_hash and dataset.content_hash() != rows.data_hash:
        raise DataError(
            f"{rows.spec.source} holds other rows or labels than when the run was prepared: restore it, or start anew"
        )
    if rows.own:
        return dataset, _refuse_official(rows, dataset)
    from evaluation_locked.sources.matbench_task import task_facts

    task = official_task(rows.spec.source, dataset, rows.known_tables)
    kind: Literal["classification", "regression"] = (
        "classification" if task_facts(task).is_classification else "regression"
    )
    if kind != rows.spec.kind or len(dataset) != task_facts(task).n_rows:
        raise NotOfficialError(
            f"{task} is {kind} of {task_facts(task).n_rows:,} rows, and this run is {rows.spec.kind} of "
            f"{len(dataset):,}"
        )
    return dataset, task


def fold_rows(rows: Rows, dataset: Dataset, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the training rows and the test rows of a fold.

    Raises:
        DataError: There is no such fold.
    """
    splits = _splits(rows, dataset, task)
    if not 0 <= rows.fold < len(splits):
        raise DataError(f"{task} has no fold {rows.fold}: its folds are 0 to {len(splits) - 1}")
    return splits[rows.fold]


def _splits(rows: Rows, dataset: Dataset, task: str) -> list[tuple[np.ndarray, np.ndarray]]:
    from evaluation_locked.sources.matbench_task import official_splits
    from evaluation_locked.splits import grouped_folds, official_folds

    if not rows.own:
        return official_splits(task)
    split = rows.spec.split
    if rows.own == "grouped":
        return grouped_folds(dataset.crystals, n_folds=split.n_folds, seed=split.fold_seed)
    classes = dataset.target if rows.spec.kind == "classification" else None
    return official_folds(len(dataset), stratify_labels=classes, n_folds=split.n_folds, seed=split.fold_seed)


def _refuse_official(rows: Rows, dataset: Dataset) -> str:
    """Return the name of a source that is no official task.

    Raises:
        DataError: It is one: each of its rows is a test row of some official fold.
    """
    try:
        task = official_task(rows.spec.source, dataset, rows.known_tables)
    except NotOfficialError:
        return dataset.name
    raise DataError(f"{rows.spec.source} is the official task {task}: leave out --own-folds, and the claim is official")


def _step(order: dict[str, Any]) -> dict[str, Any]:
    rows = Rows.model_validate(order["rows"])
    if order["step"] == "prepare":
        return _prepare(rows, Path(order["folder"]))
    if order["step"] == "count":
        dataset, task = load_claimed(rows)
        return {"n_folds": len(_splits(rows, dataset, task))}
    facts, subject = TaskFacts.model_validate(order["facts"]), Subject.model_validate(order["subject"])
    return _score(rows, facts, subject, Path(order["place"]))


_REFUSALS = (ScoringError, DataError, NotOfficialError, SeedError)


def main() -> None:
    """Do the step that standard input orders."""
    answer(_step, _REFUSALS)


if __name__ == "__main__":
    main()
