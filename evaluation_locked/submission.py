"""The `results.json.gz` of a MatBench submission: recorded by MatBench's own benchmark, and read back by its loader.

It trains nothing and counts nothing: whoever asks has had every fold's predictions scored, which counted the looks.
The step opens labels, so it runs in a process of its own.
"""

from __future__ import annotations

import gzip
import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation_locked.dataset import DataError
from evaluation_locked.looks import Subject
from evaluation_locked.official import (
    AGREEMENT,
    NotOfficialError,
    Rows,
    fold_rows,
    load_claimed,
    recorded_scores,
)
from evaluation_locked.own_process import answer, ask
from evaluation_locked.predictions import predictions_sha, refuse_strange
from evaluation_locked.scorer import ScoringError
from evaluation_locked.seed_folder import SeedError
from evaluation_locked.task import Strict
from evaluation_locked.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODULE = "evaluation_locked.submission"
_REFUSALS = (ScoringError, DataError, NotOfficialError, SeedError)


class FoldFile(Strict):
    """The predictions of one fold, and how they came about.

    Attributes:
        predictions: `predictions.npy` in the order of MatBench's test rows.
        subject: As it was looked at.
        recorder: Every figure of MatBench's recorder when they were scored.
    """

    fold: int
    predictions: str
    subject: Subject
    recorder: dict[str, float]


def write_results(path: Path, rows: Rows, folds: tuple[FoldFile, ...], about: dict[str, Any]) -> dict[str, float]:
    """Write `results.json.gz`, read it back through MatBench's loader, and compare scores with ours.

    Args:
        path: Where it goes.
        rows: What it is about; its fold does not matter.
        folds: All folds of the task.
        about: Of the algorithm, for the file's metadata.

    Returns:
        The mean over folds of every figure, as MatBench computes it of the file that it loaded.

    Raises:
        ScoringError: A fold is missing, predictions are not one number for each row or not what was scored, or
            MatBench refuses the file or scores it otherwise than we do.
    """
    order = {
        "path": str(path),
        "rows": rows.model_dump(mode="json"),
        "folds": [fold.model_dump(mode="json") for fold in folds],
        "about": about,
    }
    return ask(_MODULE, order, _REFUSALS)


def load_results(path: Path) -> Any:
    """Return the MatbenchBenchmark that MatBench's own loader makes of a `results.json.gz`; it validates every fold."""
    from matbench.bench import MatbenchBenchmark

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "results.json")
        plain.write_bytes(gzip.decompress(path.read_bytes()))  # its loader reads plain JSON
        return MatbenchBenchmark.from_file(str(plain))


def _write(order: dict[str, Any]) -> dict[str, float]:
    rows = Rows.model_validate(order["rows"])
    folds = [FoldFile.model_validate(fold) for fold in order["folds"]]
    dataset, task = load_claimed(rows)

    from matbench.bench import MatbenchBenchmark

    benchmark = MatbenchBenchmark(autoload=False, subset=[task])
    record = benchmark.tasks_map[task]
    if missing := sorted(set(record.folds) - {fold.fold for fold in folds}):
        raise ScoringError(f"{task} has {len(record.folds)} folds; of {missing} there are no predictions")
    labels = {}
    for one in folds:
        path = Path(one.predictions)
        predictions = np.load(path, allow_pickle=False)
        test = fold_rows(rows.model_copy(update={"fold": one.fold}), dataset, task)[1]
        refuse_strange(predictions, len(test), path, rows.spec.kind)
        if predictions_sha(path) != one.subject.predictions_sha:
            raise ScoringError(f"{path} is not what was scored: restore it, or evaluate fold {one.fold} anew")
        labels[one.fold] = dataset.target[test]
        record.df = _frame(record, one.fold, labels[one.fold])
        record.record(one.fold, predictions.tolist(), params=_params(one.subject))
    benchmark.add_metadata(order["about"])
    _write_gzip(Path(order["path"]), benchmark.as_dict())
    return _read_back(Path(order["path"]), task, folds, labels)


def _frame(record: Any, fold: int, labels: np.ndarray) -> Any:
    import pandas

    ids = record.validation[record.folds_map[fold]]["test"]
    truth = labels > 0.5 if record.metadata["task_type"] == "classification" else labels
    return pandas.DataFrame(
        {record.metadata["input_type"]: None, record.metadata["target"]: truth.tolist()}, index=list(ids)
    )


def _params(subject: Subject) -> dict[str, Any]:
    told = {"code_sha256": subject.code_sha, "seed": subject.seed, "train_seconds": subject.train_seconds}
    return told | ({"members": list(subject.members)} if subject.members else {})


def _write_gzip(path: Path, held: Mapping[str, Any]) -> None:
    with whole_file(path) as file:
        file.write(gzip.compress(json.dumps(held).encode(), mtime=0))


def _read_back(path: Path, task: str, folds: list[FoldFile], labels: dict[int, np.ndarray]) -> dict[str, float]:
    """Return what MatBench says of the file that it loaded, once its scores and those of the file's data are ours."""
    try:
        loaded = load_results(path).tasks_map[task]
    except (ValueError, KeyError, TypeError) as error:  # what MatBench's validation raises
        raise ScoringError(f"MatBench's loader refuses {path}: {error}") from error
    for one in folds:
        held = loaded.results[loaded.folds_map[one.fold]]
        ids = loaded.validation[loaded.folds_map[one.fold]]["test"]
        again = recorded_scores(task, one.fold, labels[one.fold], np.array([held["data"][row] for row in ids]))
        for name, due in one.recorder.items():
            for said in (float(held["scores"][name]), again[name]):
                if not math.isclose(said, due, rel_tol=AGREEMENT, abs_tol=AGREEMENT):
                    raise ScoringError(f"fold {one.fold} of {path}: {name} is {said!r} as loaded, and was {due!r}")
    return {figure: float(of["mean"]) for figure, of in loaded.scores.items()}


def main() -> None:
    """Write the submission that standard input orders."""
    answer(_write, _REFUSALS)


if __name__ == "__main__":
    main()
