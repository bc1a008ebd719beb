"""A trial's file on an official fold: trained on all of its training rows, scored once on its test rows.

What lies below `official/` of a run:

    looks.jsonl                          the count of looks (`evaluation_locked.looks`)
    fold-0/0007-ab12cd34-1500s-seed-0/   train.py train.log outcome.json predictions.npy facts.json score.json

An evaluation whose predictions are there is not trained again, and one whose score is there is shown again, which is no
new look. The rows that it trains on are written for the training and removed after it.
"""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from evaluation_locked.looks import Subject, read_looks
from evaluation_locked.official import OfficialScore, Rows, predictions_sha, prepare_fold, score_fold
from evaluation_locked.prepare import TaskFacts, load_facts
from evaluation_locked.scorer import ScoringError
from evaluation_locked.trial import TrialOrder, TrialOutcome, run_trial
from graph.run_folder import RunError, write_atomically

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evaluation_locked.looks import Look
    from evaluation_locked.trial import Phase
    from graph.run_folder import RunConfig, RunFolder


def evaluate(
    folder: RunFolder,
    config: RunConfig,
    number: int,
    fold: int,
    *,
    train_seconds: float | None = None,
    seed: int = 0,
    cache: Path | None = None,
    known_tables: dict[str, str] | None = None,
    on_phase: Callable[[Phase], None] = lambda phase: None,
    cancel: threading.Event | None = None,
) -> OfficialScore:
    """Train the file of trial `number` on an official fold, and score it on the fold's test rows.

    Args:
        folder: The run.
        config: Its configuration.
        number: Trial whose train.py is trained.
        fold: Official fold.
        train_seconds: Training budget; that of the run's task where None.
        seed: Random seed handed to the training.
        cache: Folder of downloads and cached tables.
        known_tables: Tables that hold an official task, where not those of `evaluation_locked.official`.
        on_phase: Called as the training enters each phase.
        cancel: When set, the training is ended.

    Raises:
        RunError: There is no such trial, or the training did not finish.
        NotOfficialError, DataError: The run's source holds no official fold of that number.
        ScoringError: The predictions cannot be scored.
        TrialCancelled: `cancel` was set.
    """
    caps = config.task.caps
    if train_seconds is not None:
        caps = caps.model_copy(update={"train_seconds": train_seconds})
    source = folder.source(number)
    subject = Subject(
        task="",
        fold=fold,
        trial=number,
        code_sha=hashlib.sha256(source.encode()).hexdigest(),
        seed=seed,
        train_seconds=caps.train_seconds,
        predictions_sha="",
    )
    rows = Rows(spec=config.task, cache=cache, data_hash=load_facts(folder.locked).data_hash, fold=fold)
    if known_tables is not None:
        rows = rows.model_copy(update={"known_tables": known_tables})
    place = _place(folder, subject)
    if not (place / "outcome.json").exists():
        with_rows = place.with_name(f"{place.name}.rows")
        try:
            facts = prepare_fold(rows, with_rows)
            place.mkdir(parents=True, exist_ok=True)
            write_atomically(place / "train.py", source)
            order = TrialOrder(
                train_py=place / "train.py",
                locked=with_rows,
                folder=place,
                caps=caps,
                seed=seed,
                n_threads=config.n_threads,
                sandboxed=config.sandboxed,
                check_batches=config.task.check_batches,
            )
            outcome = run_trial(order, on_phase, cancel)
        finally:
            shutil.rmtree(with_rows, ignore_errors=True)
        if outcome.status != "finished":
            raise RunError(
                f"trial {number} on official fold {fold} did not finish, so nothing was looked at: {outcome.message} "
                f"({place / 'train.log'})"
            )
        write_atomically(place / "facts.json", facts.model_dump_json(indent=1) + "\n")
        write_atomically(place / "outcome.json", outcome.model_dump_json(indent=1) + "\n")
    stored = place / "score.json"
    if stored.exists():
        return OfficialScore.model_validate_json(stored.read_text(encoding="utf-8"))
    score = _score(rows, place, subject)
    write_atomically(stored, score.model_dump_json(indent=1) + "\n")
    return score


def looks_of(folder: RunFolder) -> tuple[Look, ...]:
    """Return all looks at official test folds that a run has taken.

    Raises:
        LooksError: The count is damaged.
    """
    return read_looks(_looks(folder))


def verify_official(
    folder: RunFolder, config: RunConfig, cache: Path | None, known_tables: dict[str, str] | None = None
) -> Iterator[tuple[int | None, str, str]]:
    """Yield what differs in a run's official scores: trial, what, and what was found.

    A score is taken again from its stored predictions, which is no new look.
    """
    from evaluation_locked.dataset import DataError

    try:
        looks = looks_of(folder)
    except DataError as error:
        yield None, "official looks", str(error)
        return
    for stored in sorted(_looks(folder).parent.glob("fold-*/*/score.json")):
        try:
            recorded = OfficialScore.model_validate_json(stored.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield None, "official score", f"{stored} cannot be read: {str(error).splitlines()[0]}"
            continue
        subject = recorded.look.subject
        if recorded.look not in looks:
            yield subject.trial, "official looks", f"the look of {stored} is not in {_looks(folder).name}"
            continue
        try:
            if predictions_sha(stored.parent / "predictions.npy") != subject.predictions_sha:
                yield (
                    subject.trial,
                    "official predictions",
                    f"{stored.parent / 'predictions.npy'} is not what was scored",
                )
                continue
            rows = Rows(
                spec=config.task, cache=cache, data_hash=load_facts(folder.locked).data_hash, fold=recorded.fold
            )
            if known_tables is not None:
                rows = rows.model_copy(update={"known_tables": known_tables})
            again = _score(rows, stored.parent, subject)
        except (DataError, ScoringError) as error:
            yield subject.trial, "official score", str(error)
            continue
        if again != recorded:
            yield subject.trial, "official score", f"{stored} is not what its predictions score: {again.value}"


def _score(rows: Rows, place: Path, subject: Subject) -> OfficialScore:
    try:
        facts = TaskFacts.model_validate_json((place / "facts.json").read_text(encoding="utf-8"))
        outcome = TrialOutcome.model_validate_json((place / "outcome.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScoringError(f"{place} is damaged ({str(error).splitlines()[0]}): remove it, and train again") from error
    return score_fold(rows, facts, subject, place, outcome.layers)


def _place(folder: RunFolder, subject: Subject) -> Path:
    name = f"{subject.trial:04d}-{subject.code_sha[:8]}-{subject.train_seconds:g}s-seed-{subject.seed}"
    return _looks(folder).parent / f"fold-{subject.fold}" / name


def _looks(folder: RunFolder) -> Path:
    return folder.path / "official" / "looks.jsonl"
