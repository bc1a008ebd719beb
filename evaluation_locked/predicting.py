"""The rows of a training whose crystals to predict are a user's own: prepared in a process that may open labels.

Trained on are all rows that the search could use, those that judged it among them. Official test rows are not, so that
an official score of fold 0 is one of a file trained on the very same rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation_locked.crystals import Crystals, concatenate
from evaluation_locked.dataset import DataError, Dataset
from evaluation_locked.own_process import answer, ask
from evaluation_locked.prepare import SMOKE_TRAIN, TaskFacts, load_facts, write_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODULE = "evaluation_locked.predicting"


def write_training_rows(locked: Path, crystals: Crystals, folder: Path) -> TaskFacts:
    """Write a run's rows with their labels, and `crystals` as those to predict, in a process of its own.

    Raises:
        DataError: The locked folder is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "asked.npz", **crystals.arrays())  # type: ignore[arg-type]
    order = {"locked": str(locked), "folder": str(folder)}
    return TaskFacts.model_validate(ask(_MODULE, order, (DataError,)))


def write_shown_rows(locked: Path, crystals: Crystals, folder: Path) -> TaskFacts:
    """Write a few of a run's crystals without labels, and `crystals` as those to predict: nothing is to be trained."""
    shown = search_crystals(locked).select(np.arange(SMOKE_TRAIN))
    return _write(folder, Dataset("", shown, np.zeros(len(shown)), ""), crystals, load_facts(locked))


def search_crystals(locked: Path) -> Crystals:
    """Return the crystals of all rows that the search could use, those trained on first.

    Raises:
        DataError: The locked folder is damaged.
    """
    names = ("train.npz",) if _all_train(locked) else ("train.npz", "validation.npz")
    return concatenate([Crystals.from_arrays(_arrays(locked / name)) for name in names])


def _all_train(locked: Path) -> bool:
    """Say whether train.npz holds every row of the search, as it does under cross-validation."""
    return (locked / "parts.npy").exists()


def _step(order: Mapping[str, Any]) -> dict[str, Any]:
    locked, folder = Path(order["locked"]), Path(order["folder"])
    labels = _arrays(locked / "train.npz")["labels"]
    if not _all_train(locked):
        labels = np.concatenate([labels, np.load(locked / "validation_labels.npy", allow_pickle=False)])
    asked = Crystals.from_arrays(_arrays(folder / "asked.npz"))
    (folder / "asked.npz").unlink()
    facts = load_facts(locked)
    return _write(folder, Dataset(facts.source, search_crystals(locked), labels, ""), asked, facts).model_dump(
        mode="json"
    )


def _write(folder: Path, train: Dataset, asked: Crystals, facts: TaskFacts) -> TaskFacts:
    write_rows(folder, train, asked)
    facts = facts.model_copy(update={"n_train": len(train), "n_validation": len(asked), "n_trainings": 1, "repeats": 1})
    (folder / "facts.json").write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return facts


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}): restore it or start the run anew") from error


def main() -> None:
    """Write the rows that standard input orders."""
    answer(_step, (DataError,))


if __name__ == "__main__":
    main()
