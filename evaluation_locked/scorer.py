"""The scorer, a process of its own: it alone opens the labels that judge, after the trial's processes are gone.

It is given files of predictions and answers with one line of JSON. It never runs a line of a trial's code, and reads
predictions as plain numbers. Each score is taken by a process that is made for it (`evaluation_locked.scoring`).
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evaluation_locked.layers import seals
from evaluation_locked.metrics import METRICS, Metric
from evaluation_locked.noise import Interval, bootstrap_differences, interval
from evaluation_locked.own_metric import judge_metric
from evaluation_locked.prepare import DECOY_FOLDER, load_facts
from evaluation_locked.scoring import ScoringProcess, answer_orders
from evaluation_locked.seed_folder import METRIC_FILE
from evaluation_locked.task import Strict

if TYPE_CHECKING:
    from collections.abc import Sequence


_PROCESS = ScoringProcess("evaluation_locked.scorer")


class ScoringError(RuntimeError):
    """Predictions that cannot be scored; the message names the file and what was found."""


class Score(Strict):
    """The locked result of one trial.

    Attributes:
        metric: What decides, such as `mae`.
        value: Its value on the search-validation rows, in the unit of the target where the metric has one.
        low: Lower end of the 95 % bootstrap interval over crystals.
        high: Upper end.
        n: Crystals scored.
        metrics: Every metric of the task's kind, by name.
        own_better: Direction of a metric of the seed's own; None where `evaluation_locked.metrics` declares it.
        predictions_sha: sha256 of the predictions that were scored, so that a changed bit is seen.
        seal: Of the judge, the task and the rows.
        sealed: False where the layers that held the trial do not suffice (`evaluation_locked.layers.MINIMUM`).
        layers: What held the trial.
        warnings: Reasons to let a person look before the score is believed, such as predictions that follow the decoy.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int
    metrics: dict[str, float]
    own_better: Literal["lower", "higher"] | None = None
    predictions_sha: str = ""
    seal: str
    sealed: bool = False
    layers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Whether lower or higher is better."""
        return self.own_better or METRICS[self.metric].better

    @property
    def perfect(self) -> float:
        """What no prediction can beat."""
        return 0.0 if self.better == "lower" else 1.0

    def gain(self, before: float, after: float) -> float:
        """Return how much better `after` is than `before`; positive is better, whatever the metric."""
        return before - after if self.better == "lower" else after - before


class Comparison(Strict):
    """Gain of a challenger over a champion on the same rows; positive is better.

    Attributes:
        gain: In the unit of the metric; replicates are averaged.
        sampling_error: Its standard error over crystals, from the paired bootstrap; seed noise is not in it.
        n_challenger: Trainings averaged on either side.
    """

    gain: float
    sampling_error: float
    n_challenger: int
    n_champion: int


def score(
    locked: Path,
    predictions: Path,
    residuals: Path | None = None,
    champion: Sequence[Path] = (),
    *,
    layers: Sequence[str] = (),
) -> tuple[Score, Comparison | None]:
    """Score a file of predictions, and compare it with the champion's, in a process of its own.

    Args:
        locked: The locked folder.
        predictions: `predictions.npy`, [n_validation] float64 in the order of the validation rows.
        residuals: Where to write prediction minus label, [n_validation] float32, for the behaviour view of crowding.
        champion: Predictions of each training of the champion; without any there is no comparison.
        layers: What held the trial, as its outcome says; whether the score is sealed follows from them.

    Raises:
        ScoringError: The predictions or the locked folder are not what they should be.
    """
    answer = _ask(
        {
            "locked": str(locked),
            "challenger": [str(predictions)],
            "champion": [str(path) for path in champion],
            "residuals": str(residuals) if residuals else None,
        }
    )
    comparison = Comparison(**answer["comparison"]) if answer["comparison"] else None
    return Score(sealed=seals(layers), layers=tuple(layers), **answer["score"]), comparison


def compare(locked: Path, challenger: Sequence[Path], champion: Sequence[Path]) -> Comparison:
    """Compare two files' predictions, each trained one or more times, in a process of its own.

    Raises:
        ScoringError: As for `score`.
    """
    names = {"challenger": [str(p) for p in challenger], "champion": [str(p) for p in champion]}
    return Comparison(**_ask({"locked": str(locked), "residuals": None} | names)["comparison"])


def _ask(order: dict[str, Any]) -> dict[str, Any]:
    answer = _PROCESS.ask(order)
    if "error" in answer:
        raise ScoringError(answer["error"])
    return answer


def _score(
    metric: Metric, labels: np.ndarray, predictions: np.ndarray, residuals: str | None, repeats: int
) -> dict[str, Any]:
    if residuals:
        np.save(residuals, (predictions - labels).astype(np.float32))
    spread: Interval = interval(
        metric.function(labels, predictions), bootstrap_differences(metric, labels, [predictions], repeats=repeats)
    )
    values = {m.name: m.function(labels, predictions) for m in METRICS.values() if m.kind == metric.kind}
    values[metric.name] = spread.value
    return {
        "metric": metric.name,
        "value": spread.value,
        "low": spread.low,
        "high": spread.high,
        "n": len(labels) // repeats,
        "metrics": values,
        "predictions_sha": hashlib.sha256(predictions.tobytes()).hexdigest(),
    }


def _follows_decoy(locked: Path, labels: np.ndarray, predictions: np.ndarray) -> list[str]:
    """Say so where predictions follow the decoy's wrong labels, which an honest file has no way to know.

    The decoy is the true labels in random order, so the correlation of honest predictions with it is normal with a
    standard deviation of 1 / sqrt(n); seven of these are never reached by chance.
    """
    try:
        with np.load(locked.parent / DECOY_FOLDER / "validation.npz", allow_pickle=False) as file:
            decoys = file["labels"]
    except (OSError, ValueError, KeyError):
        return ["the decoy labels are gone: somebody or something touched the run folder"]
    if decoys.shape != labels.shape or not np.std(predictions) > 0 or not np.std(decoys) > 0:
        return []
    correlation = float(np.corrcoef(predictions, decoys)[0, 1])
    if correlation < 7 / np.sqrt(len(labels)):
        return []
    return [
        f"the predictions follow the decoy labels (correlation {correlation:.2f}): the file found what it must not read"
    ]


def _compare(
    metric: Metric, labels: np.ndarray, challenger: list[np.ndarray], champion: list[np.ndarray], repeats: int
) -> dict[str, Any]:
    before, after = (float(np.mean([metric.function(labels, p) for p in side])) for side in (champion, challenger))
    resampled = bootstrap_differences(metric, labels, challenger, champion, repeats=repeats)
    return {
        "gain": metric.gain(before, after),
        "sampling_error": float(resampled.std(ddof=1)),
        "n_challenger": len(challenger),
        "n_champion": len(champion),
    }


def _load(path: str, n: int) -> np.ndarray:
    predictions = np.load(path, allow_pickle=False)
    if predictions.shape != (n,) or predictions.dtype != np.float64 or not np.isfinite(predictions).all():
        raise ValueError(f"{path} holds {predictions.dtype} {predictions.shape}; {n} finite float64 are due")
    return predictions


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    """Open the labels and carry out one order."""
    locked = Path(order["locked"])
    facts = load_facts(locked)
    own, repeats = facts.own_metric, facts.repeats
    metric = judge_metric(facts.metric, facts.kind, own, locked / METRIC_FILE)
    labels = np.load(locked / "validation_labels.npy", allow_pickle=False)
    challenger = [_load(path, len(labels)) for path in order["challenger"]]
    champion = [_load(path, len(labels)) for path in order["champion"]]
    return {
        "score": _score(metric, labels, challenger[0], order["residuals"], repeats)
        | {"seal": facts.seal, "own_better": own.better if own else None}
        | {"warnings": _follows_decoy(locked, labels, challenger[0])},
        "comparison": _compare(metric, labels, challenger, champion, repeats) if champion else None,
    }


def _rehearse() -> None:
    """Score numbers of no task: numpy imports parts of itself at their first use, which each child would do anew."""
    labels, predictions = np.arange(64.0), np.arange(64.0)[::-1].copy()
    _score(METRICS["mae"], labels, predictions, None, 1)
    _compare(METRICS["mae"], labels, [predictions], [labels], 1)
    np.corrcoef(predictions, labels)
    archive = io.BytesIO()
    np.savez(archive, labels=labels)
    archive.seek(0)
    with np.load(archive, allow_pickle=False) as file:
        assert len(file["labels"]) == len(labels)


def main() -> None:
    """Answer orders until nobody is left to give one."""
    _rehearse()
    answer_orders(_answer)


if __name__ == "__main__":
    main()
