"""Official claims: MatBench's own folds and recorder, for a file that a search has chosen.

It owns which sources are an official task, the rows of a fold, and the score on its test rows. Both steps that open
labels run in a process of their own, one before the trial and one after it is gone, so that no process that lives
beside a trial holds a label that judges. The second step counts the look (`evaluation_locked.looks`) before it opens
them. It trains nothing, and decides nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation_locked.dataset import DataError, Dataset
from evaluation_locked.layers import seals
from evaluation_locked.looks import Look, Subject, count_look
from evaluation_locked.metrics import METRICS
from evaluation_locked.noise import bootstrap_differences, interval
from evaluation_locked.prepare import TaskFacts, judge_digest, write_rows
from evaluation_locked.scorer import ScoringError
from evaluation_locked.task import Strict, TaskSpec

# Tables that hold an official task: sha256 over labels and elements in official row order, see `fingerprint`.
KNOWN_TABLES = {
    "b0f357e7d9be6a5ce75ba4745b4d981389e76050da0d9a23ae9fdd43f2a41328": "matbench_mp_gap",
    # The same crystals; 1 where the gap is 0, by which MatBench stratifies the folds that its package ships.
    "a0092152788318720b40fabdbf43f68de63aa6dafd1d238e034e522abdfb3dce": "matbench_mp_is_metal",
}
AGREEMENT = 1e-6  # how near our metric must come to the recorder's
_RECORDER_NAMES = {"mae": "mae", "rmse": "rmse", "max_error": "max_error", "roc_auc": "rocauc", "f1": "f1"}


class NotOfficialError(DataError):
    """The run's crystals are no official task, so there is no official fold to score on."""


class Rows(Strict):
    """What an evaluation is about.

    Attributes:
        spec: The run's task.
        cache: Folder of downloads and cached tables.
        data_hash: Of the run's source; another source now is refused.
        fold: Official fold.
        known_tables: See `KNOWN_TABLES`.
    """

    spec: TaskSpec
    cache: Path | None
    data_hash: str
    fold: int
    known_tables: dict[str, str] = KNOWN_TABLES


class OfficialScore(Strict):
    """The score of one training on the test rows of one official fold.

    Attributes:
        task: MatBench's name of the task.
        metric: Of our task; `value` is what MatBench's recorder gives for it.
        low: Lower end of the 95 % bootstrap interval over the test crystals.
        high: Upper end.
        n_train: Official training rows, all of which it was trained on.
        n_test: Official test rows.
        recorder: Every figure of MatBench's recorder.
        mean_predictor: What always saying the mean of the training labels scores on these rows.
        look: The look that this is.
        seal: sha256 over the judge's code, the task, the source's rows and the fold.
        sealed: Whether the layers that held the training suffice.
    """

    task: str
    fold: int
    metric: str
    value: float
    low: float
    high: float
    n_train: int
    n_test: int
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
            "official fold to score on: `team run --source matbench:TASK` searches on one; what a search measured "
            "itself stands in `team status`"
        )
    return task


def prepare_fold(rows: Rows, folder: Path) -> TaskFacts:
    """Write all training rows of a fold and the crystals of its test rows, in a process of its own.

    The folder is as `evaluation_locked.prepare` describes it, but without labels that judge.

    Raises:
        NotOfficialError, DataError: There is no such fold, or the source is not what the run was searched on.
    """
    answer = _ask({"step": "prepare", "rows": rows.model_dump(mode="json"), "folder": str(folder)})
    return TaskFacts.model_validate(answer)


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
    return OfficialScore(layers=layers, sealed=seals(layers), **_ask(order))


def predictions_sha(path: Path) -> str:
    """Return the sha256 of stored predictions.

    Raises:
        ScoringError: They cannot be read.
    """
    try:
        return hashlib.sha256(np.load(path, allow_pickle=False).tobytes()).hexdigest()
    except (OSError, ValueError, EOFError) as error:
        raise ScoringError(f"{path} cannot be read: {error}") from error


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
    dataset, task = _load(rows)
    train_rows, test_rows = _fold_rows(task, rows.fold)
    train, test = dataset.select(train_rows), dataset.select(test_rows)
    write_rows(folder, train, test.crystals)
    spec = rows.spec
    digest = judge_digest(spec)
    digest.update(f"{task} {rows.fold} {rows.data_hash}".encode())
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
        mean_predictor=spec.score_metric.function(test.target, np.full(len(test), train.target.mean())),
    )
    (folder / "facts.json").write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return facts.model_dump(mode="json")


def _score(rows: Rows, facts: TaskFacts, subject: Subject, place: Path) -> dict[str, Any]:
    predictions = np.load(place / "predictions.npy", allow_pickle=False)
    n_test = facts.n_validation
    if predictions.shape != (n_test,) or predictions.dtype != np.float64 or not np.isfinite(predictions).all():
        raise ScoringError(f"{place} holds {predictions.dtype} {predictions.shape}; {n_test} finite float64 are due")
    found = hashlib.sha256(predictions.tobytes()).hexdigest()
    subject = subject.model_copy(update={"task": facts.source, "predictions_sha": found})
    look = count_look(place.parents[1] / "looks.jsonl", subject)
    dataset, task = _load(rows)
    labels = dataset.target[_fold_rows(task, rows.fold)[1]]
    recorder = recorded_scores(task, rows.fold, labels, predictions)
    metric = METRICS[rows.spec.metric]
    # MatBench's recorder cuts probabilities at one half before it takes the area under the ROC curve, and so must we.
    said = (predictions > 0.5).astype(np.float64) if metric.kind == "classification" else predictions
    spread = interval(metric.function(labels, said), bootstrap_differences(metric, labels, [said]))
    theirs = recorder[_RECORDER_NAMES[metric.name]]
    if abs(spread.value - theirs) > AGREEMENT * max(1.0, abs(theirs)):
        raise ScoringError(f"our {metric.name} is {spread.value!r} and MatBench's recorder says {theirs!r}: tell us")
    return {
        "task": task,
        "fold": rows.fold,
        "metric": metric.name,
        "value": theirs,
        "low": spread.low,
        "high": spread.high,
        "n_train": facts.n_train,
        "n_test": n_test,
        "recorder": recorder,
        "mean_predictor": facts.mean_predictor,
        "look": look.model_dump(mode="json"),
        "seal": facts.seal,
    }


def _load(rows: Rows) -> tuple[Dataset, str]:
    """Return the source and the official task that it holds.

    Raises:
        NotOfficialError: It holds none, or one of another kind.
        DataError: It is not what the run was searched on.
    """
    from evaluation_locked.sources import load_source
    from evaluation_locked.sources.matbench_task import task_facts

    if rows.spec.own_metric is not None:
        raise NotOfficialError(
            f"MatBench's recorder knows no metric {rows.spec.metric!r}, so it gives no official score; what a search "
            "measured itself stands in `team status`"
        )
    dataset = load_source(rows.spec.source, rows.spec.target, rows.cache)
    task = official_task(rows.spec.source, dataset, rows.known_tables)
    kind: Literal["classification", "regression"] = (
        "classification" if task_facts(task).is_classification else "regression"
    )
    if kind != rows.spec.kind or len(dataset) != task_facts(task).n_rows:
        raise NotOfficialError(
            f"{task} is {kind} of {task_facts(task).n_rows:,} rows, and this run is {rows.spec.kind} of "
            f"{len(dataset):,}"
        )
    if dataset.content_hash() != rows.data_hash:
        raise DataError(
            f"{rows.spec.source} holds other rows or labels than when the run was prepared: restore it, or start anew"
        )
    return dataset, task


def _fold_rows(task: str, fold: int) -> tuple[np.ndarray, np.ndarray]:
    from evaluation_locked.sources.matbench_task import official_splits

    splits = official_splits(task)
    if not 0 <= fold < len(splits):
        raise DataError(f"{task} has no fold {fold}: its folds are 0 to {len(splits) - 1}")
    return splits[fold]


def _ask(order: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "evaluation_locked.official"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        raise ScoringError((done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1])
    answer = dict(json.loads(done.stdout))
    if "refused" in answer:
        errors = {"NotOfficialError": NotOfficialError, "ScoringError": ScoringError}
        raise errors.get(answer["refused"], DataError)(answer["message"])
    return answer


def main() -> None:
    """Read the order from standard input, do its step, print the answer."""
    order = json.load(sys.stdin)
    rows = Rows.model_validate(order["rows"])
    try:
        with contextlib.redirect_stdout(sys.stderr):  # matbench logs to standard output, which holds our answer alone
            if order["step"] == "prepare":
                answer = _prepare(rows, Path(order["folder"]))
            else:
                facts, subject = TaskFacts.model_validate(order["facts"]), Subject.model_validate(order["subject"])
                answer = _score(rows, facts, subject, Path(order["place"]))
    except (DataError, ScoringError) as error:  # the border of this process: whoever asked raises it again
        answer = {"refused": type(error).__name__, "message": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
