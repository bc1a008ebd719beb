"""Our predictions beside published ones: who errs where, on the rows that both have, in a process that opens labels.

It owns the reading of published predictions: MatBench's `results.json(.gz)`, a CSV, or a `.npz` of arrays. Nothing of
theirs is run, and nothing is decided by it.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evaluation_locked.crystals import Crystals
from evaluation_locked.dataset import DataError
from evaluation_locked.ensemble import Gain, combine, gain_on
from evaluation_locked.official import NotOfficialError, Rows, fold_rows, load_claimed, metric_of
from evaluation_locked.own_process import answer, ask
from evaluation_locked.predictions import predictions_sha
from evaluation_locked.scorer import ScoringError
from evaluation_locked.seed_folder import SeedError
from evaluation_locked.task import Strict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evaluation_locked.dataset import Dataset
    from evaluation_locked.metrics import Metric

_MODULE = "evaluation_locked.published"
_REFUSALS = (DataError, ScoringError, NotOfficialError, SeedError)
MIN_ROWS = 20
_PREDICTED = ("prediction", "predictions", "predicted", "pred", "y_pred")
_FORMS = (
    "give MatBench's results.json or results.json.gz, a CSV with a column `id` (MatBench's) or `row` (from 0) and a "
    "column `prediction`, or a .npz whose arrays have a number for each row of the source"
)


class Ours(Strict):
    """Predictions of ours on one set of rows.

    Attributes:
        fold: Official fold, None for the search-validation rows.
        path: `predictions.npy`.
        sha: sha256 of what was scored.
    """

    fold: int | None
    path: str
    sha: str


class Order(Strict):
    """What is compared.

    Attributes:
        rows: The run's source; its fold does not matter.
        locked: The locked folder, for the search-validation rows.
        ours: Of one fold each, or of the search-validation rows alone.
        files: Published predictions.
    """

    rows: Rows
    locked: str
    ours: tuple[Ours, ...]
    files: tuple[str, ...]


class Beside(Strict):
    """One published model beside ours, on the rows that both predict.

    Attributes:
        name: Of the model.
        n: Rows compared.
        n_ours: Rows that we predict.
        n_theirs: Rows that they predict.
        ours: Our score on the n rows.
        theirs: Theirs.
        gain: Of ours over theirs, with an interval that draws formulas.
        correlation: Pearson correlation of absolute errors.
        residual_correlation: Of prediction minus label.
        together: Score of the mean of both.
        gain_together: Of that mean over the better of the two.
    """

    name: str
    n: int
    n_ours: int
    n_theirs: int
    ours: float
    theirs: float
    gain: Gain
    correlation: float
    residual_correlation: float
    together: float
    gain_together: Gain


class Report(Strict):
    """What a comparison found.

    Attributes:
        where: The rows that are ours: official folds, or the search-validation rows.
        metric: What is compared.
        beside: Each published model that shares rows with us, the best first.
        without: Why others are not there.
        ambiguous: Search-validation rows left out, since the source holds their crystal more than once.
    """

    where: Literal["official", "search-validation"]
    metric: str
    beside: tuple[Beside, ...]
    without: tuple[str, ...]
    ambiguous: int


def compare_published(order: Order) -> Report:
    """Compare, in a process of its own.

    Raises:
        DataError: A file cannot be read, or the source is not what the run was searched on.
        ScoringError: Our predictions are not what was scored.
    """
    return Report.model_validate(ask(_MODULE, order.model_dump(mode="json"), _REFUSALS))


def read_published(path: Path, task: str, n_rows: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each model of a file: its name and [n_rows] predictions, NaN where it has none.

    Args:
        path: See `_FORMS`.
        task: MatBench's name of the task; ids of others are refused.
        n_rows: Rows of the source.

    Raises:
        DataError: The file cannot be read, or is about other rows.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}: {_FORMS}")
    kind = path.name.lower()
    try:
        if kind.endswith((".json", ".json.gz")):
            raw = path.read_bytes()
            held = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
            yield _name(path), _from_results(held, path, task, n_rows)
        elif kind.endswith(".csv"):
            yield path.stem, _from_csv(path, n_rows)
        elif kind.endswith(".npz"):
            with np.load(path, allow_pickle=False) as file:
                for name in file.files:
                    array = np.asarray(file[name], dtype=np.float64)
                    if array.shape != (n_rows,):
                        raise DataError(f"{path}: {name} is {array.shape}; a number for each of {n_rows} rows is due")
                    yield name, array
        else:
            raise DataError(f"{path} is of no known kind: {_FORMS}")
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error}): {_FORMS}") from error


def _from_results(held: Any, path: Path, task: str, n_rows: int) -> np.ndarray:
    tasks = held["tasks"]
    if task not in tasks:
        raise DataError(f"{path} holds {', '.join(tasks) or 'no task'}, and this run is about {task}")
    said = np.full(n_rows, np.nan)
    for fold in tasks[task]["results"].values():
        for row_id, value in fold["data"].items():
            said[_row_of(row_id, n_rows, path)] = float("nan") if value is None else float(value)
    return said


def _from_csv(path: Path, n_rows: int) -> np.ndarray:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        key = next((name for name in ("id", "row") if name in columns), None)
        value = next((name for name in _PREDICTED if name in columns), None)
        if key is None or value is None:
            raise DataError(f"{path} has the columns {', '.join(columns) or 'none'}: {_FORMS}")
        said = np.full(n_rows, np.nan)
        for line, row in enumerate(reader, start=2):
            at = _row_of(row[key], n_rows, path) if key == "id" else int(row[key])
            if not 0 <= at < n_rows:
                raise DataError(f"{path}, line {line}: row {at} is none of the {n_rows} of the source")
            if not math.isnan(said[at]):
                raise DataError(f"{path}, line {line}: {row[key]} stands there twice; keep one of them")
            said[at] = float(row[value] or "nan")
    return said


def _row_of(row_id: str, n_rows: int, path: Path) -> int:
    """Return the row of an id such as `mb-mp-gap-000001` (row 0)."""
    number = row_id.rsplit("-", 1)[-1]
    if not row_id.startswith("mb-") or not number.isdigit() or not 0 < int(number) <= n_rows:
        raise DataError(f"{path}: {row_id!r} is no id of the {n_rows} rows of this task")
    return int(number) - 1


def _name(path: Path) -> str:
    """Return what a results file is about: its folder where the file has the name that all of them have."""
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    return path.resolve().parent.name.removeprefix("matbench_v0.1_") if stem == "results" else stem


def beside(
    metric: Metric, labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, formulas: np.ndarray, name: str
) -> Beside | str:
    """Return one model beside ours, or why it cannot stand there; all [n], NaN where there is no prediction."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    n_ours, n_theirs = int(np.isfinite(ours).sum()), int(np.isfinite(theirs).sum())
    if both.sum() < MIN_ROWS:
        return f"{name}: {both.sum()} of our {n_ours} rows are among its {n_theirs}; {MIN_ROWS} at least are needed"
    label, us, they = labels[both], ours[both], theirs[both]
    groups = np.unique(formulas[both], return_inverse=True)[1]
    joined = combine([us, they], "mean")
    our_score, their_score = metric.function(label, us), metric.function(label, they)
    better = us if metric.gain(their_score, our_score) > 0 else they
    return Beside(
        name=name,
        n=int(both.sum()),
        n_ours=n_ours,
        n_theirs=n_theirs,
        ours=our_score,
        theirs=their_score,
        gain=gain_on(metric, label, [(us, they)], groups),
        correlation=_correlation(np.abs(us - label), np.abs(they - label)),
        residual_correlation=_correlation(us - label, they - label),
        together=metric.function(label, joined),
        gain_together=gain_on(metric, label, [(joined, better)], groups),
    )


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0


def _step(asked: dict[str, Any]) -> dict[str, Any]:
    order = Order.model_validate(asked)
    try:
        dataset, task = load_claimed(order.rows)
    except NotOfficialError:  # any source may be compared on, by row
        dataset, task = load_claimed(order.rows.model_copy(update={"own": "kfold"}))
    ours, ambiguous = np.full(len(dataset), np.nan), 0
    for one in order.ours:
        if predictions_sha(Path(one.path)) != one.sha:
            raise ScoringError(f"{one.path} is not what was scored: restore it")
        predictions = np.load(one.path, allow_pickle=False)
        if one.fold is None:
            rows, here, ambiguous = _locate(Path(order.locked), dataset)
            times = np.bincount(rows, minlength=len(dataset))  # under cross-validation one of each cut
            total = np.bincount(rows, predictions[here], minlength=len(dataset))
            ours = np.where(times > 0, total / np.maximum(times, 1), np.nan)
        else:
            ours[fold_rows(order.rows.model_copy(update={"fold": one.fold}), dataset, task)[1]] = predictions
    metric, formulas = metric_of(order.rows), dataset.crystals.formula_keys()
    found = [
        beside(metric, dataset.target, ours, theirs, formulas, name)
        for path in order.files
        for name, theirs in read_published(Path(path), task, len(dataset))
    ]
    held = [one for one in found if isinstance(one, Beside)]
    held.sort(key=lambda one: one.theirs if metric.better == "lower" else -one.theirs)
    return Report(
        where="search-validation" if order.ours[0].fold is None else "official",
        metric=metric.name,
        beside=tuple(held),
        without=tuple(one for one in found if isinstance(one, str)),
        ambiguous=ambiguous,
    ).model_dump(mode="json")


def _locate(locked: Path, dataset: Dataset) -> tuple[np.ndarray, np.ndarray, int]:
    """Return rows of the source, the search-validation rows that they are, and how many crystals are not unique."""
    with np.load(locked / "validation.npz", allow_pickle=False) as file:
        wanted = _contents(Crystals.from_arrays(file))
    at: dict[bytes, list[int]] = {}
    for row, content in enumerate(_contents(dataset.crystals)):
        at.setdefault(content, []).append(row)
    pairs = [(at[content][0], here) for here, content in enumerate(wanted) if len(at.get(content, ())) == 1]
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1], len(wanted) - len(pairs)


def _contents(crystals: Crystals) -> list[bytes]:
    """Return a hash of each crystal's lattice and atoms."""
    offsets = crystals.offsets
    coordinates = np.ascontiguousarray(crystals.frac_coords_e8.T)
    return [
        hashlib.sha256(
            crystals.lattice_parameters[i].tobytes()
            + crystals.atomic_numbers[offsets[i] : offsets[i + 1]].tobytes()
            + coordinates[offsets[i] : offsets[i + 1]].tobytes()
        ).digest()
        for i in range(len(crystals))
    ]


def main() -> None:
    """Compare what standard input orders."""
    answer(_step, _REFUSALS)


if __name__ == "__main__":
    main()
