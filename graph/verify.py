"""Does a run still say what was measured? Every score again from its stored predictions, and every seal.

What is checked follows one chain: the seal from code and locked rows, the file that was trained, the predictions it
made, the score they have, and the three places that name it (`score.json`, the journal, the champion).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation_locked.dataset import DataError
from evaluation_locked.prepare import compute_seal, load_facts
from evaluation_locked.scorer import Score, ScoringError, score
from graph.errors import RunError
from graph.evaluation import verify_official
from graph.run_folder import read_history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from graph.run_folder import RunFolder
    from memory.records import TrialRecord


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was recorded.

    Attributes:
        trial: Number of the trial, None for the run as a whole.
        what: What differs, such as `predictions`.
        found: What was found, and what was expected.
    """

    trial: int | None
    what: str
    found: str


def verify(folder: RunFolder, cache: Path | None = None) -> Iterator[Difference]:
    """Yield what differs in a run, in the order of its trials; nothing where all is as it was recorded.

    Args:
        folder: The run.
        cache: Folder of downloads and cached tables, from which official scores are taken again.

    Raises:
        RunError, JournalError: There is no such run, or its journal is damaged.
    """
    config = folder.read_config()
    history = read_history(folder)
    try:
        recorded = load_facts(folder.locked).seal
        seal = compute_seal(config.task, folder.locked)
    except DataError as error:
        yield Difference(None, "locked folder", str(error))
        return
    if seal != recorded:
        yield Difference(
            None, "seal", f"judge's code, task or locked rows give {seal[:12]}, and the run was sealed {recorded[:12]}"
        )
    for trial in history.trials.values():
        if trial.score is not None:
            yield from _verify_trial(folder, trial, recorded)
    champion = history.champion
    if champion is not None:
        path = folder.champion / "train.py"
        if not path.exists() or _sha(path) != champion.code_sha:
            yield Difference(
                champion.number, "champion", f"{path} is not the file that trial {champion.number} trained"
            )
    for number, what, found in verify_official(folder, config, cache):
        yield Difference(number, what, found)


def _verify_trial(folder: RunFolder, trial: TrialRecord, seal: str) -> Iterator[Difference]:
    number, recorded = trial.number, trial.score
    assert recorded is not None
    try:
        home = folder.trial(number)
    except RunError as error:
        yield Difference(number, "folder", str(error))
        return
    if recorded.seal != seal:
        yield Difference(number, "seal", f"scored under {recorded.seal[:12]}, and the run was sealed {seal[:12]}")
    train_py = home / "train.py"
    if not train_py.exists() or _sha(train_py) != trial.code_sha:
        yield Difference(number, "train.py", f"{train_py} is not the file that was trained")
    stored = home / "score.json"
    try:
        if Score.model_validate_json(stored.read_text(encoding="utf-8")) != recorded:
            yield Difference(number, "score.json", f"{stored} differs from the journal")
    except (OSError, ValueError) as error:
        yield Difference(number, "score.json", f"{stored} cannot be read: {str(error).splitlines()[0]}")
    try:
        again, _ = score(folder.locked, home / "predictions.npy", layers=recorded.layers)
    except ScoringError as error:
        yield Difference(number, "predictions", str(error))
        return
    if again.sealed != recorded.sealed:
        word = "sealed" if recorded.sealed else "unsealed"
        yield Difference(number, "layers", f"recorded as {word}, and held by {', '.join(recorded.layers) or 'none'}")
    if again.predictions_sha != recorded.predictions_sha:
        yield Difference(number, "predictions", f"{home / 'predictions.npy'} is not what was scored")
    if again.value != recorded.value:
        yield Difference(number, "score", f"the predictions score {again.value}, and {recorded.value} was recorded")


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
