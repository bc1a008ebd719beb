"""A trial's file, or an ensemble of several, on a fold: trained on all its training rows, scored once on its test rows.

What lies below `official/` of a run (below `own-kfold/` or `own-grouped/` where the folds are our own):

    looks.jsonl                          the count of looks (`evaluation_locked.looks`)
    fold-0/0007-ab12cd34-1500s-seed-0/   train.py train.log outcome.json predictions.npy facts.json score.json
    fold-0/ensemble-ab12cd34-4500s-seed-0/   the same without train.py and train.log: its members lie beside it

An evaluation whose predictions are there is not trained again, and one whose score is there is shown again, which is no
new look: whatever ends the process, the next one goes on. The rows that it trains on are written for the training and
removed after it.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from evaluation_locked.dataset import DataError
from evaluation_locked.ensemble import combine
from evaluation_locked.looks import Subject, read_looks
from evaluation_locked.official import KNOWN_TABLES, OfficialScore, OwnFolds, Rows, prepare_fold
from evaluation_locked.official import score_fold as score_rows
from evaluation_locked.predictions import predictions_sha
from evaluation_locked.prepare import TaskFacts, load_facts
from evaluation_locked.scorer import ScoringError
from evaluation_locked.seed_folder import METRIC_FILE
from evaluation_locked.trial import TrialOrder, TrialOutcome, run_trial
from graph.errors import RunError
from graph.recipe import Recipe, recipe_of
from graph.run_folder import last_words, write_atomically

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from evaluation_locked.looks import Look
    from evaluation_locked.task import TaskSpec
    from evaluation_locked.trial import Phase
    from graph.run_folder import RunConfig, RunFolder

_Stored = TypeVar("_Stored", TaskFacts, TrialOutcome)
FOLDERS: dict[OwnFolds, str] = {"": "official", "kfold": "own-kfold", "grouped": "own-grouped"}


@dataclass(frozen=True)
class Bench:
    """Where and how files are trained on folds.

    Attributes:
        base: The folder of all that is left behind.
        files: train.py by trial.
        spec: The task; its caps are those of a training.
        data_hash: See `evaluation_locked.official.Rows`.
        cache: Folder of downloads and cached tables.
        n_threads: CPU threads of a training.
        sandboxed: See `TrialOrder`.
        own: See `Rows`.
        known_tables: See `Rows`.
        metric_file: See `Rows`.
        device: GPUs of a training, see `TrialOrder`.
    """

    base: Path
    files: Mapping[int, str]
    spec: TaskSpec
    data_hash: str
    cache: Path | None = None
    n_threads: int = 1
    sandboxed: bool = True
    own: OwnFolds = ""
    known_tables: dict[str, str] = field(default_factory=lambda: KNOWN_TABLES)
    metric_file: Path | None = None
    device: str | None = None

    def rows(self, fold: int) -> Rows:
        """Return what an evaluation on `fold` is about."""
        return Rows(
            spec=self.spec,
            cache=self.cache,
            data_hash=self.data_hash,
            fold=fold,
            own=self.own,
            metric_file=self.metric_file,
            known_tables=self.known_tables,
        )


def bench_of(
    folder: RunFolder,
    config: RunConfig,
    recipe: Recipe,
    *,
    train_seconds: float | None = None,
    own: OwnFolds = "",
    cache: Path | None = None,
    known_tables: dict[str, str] | None = None,
) -> Bench:
    """Return the bench of a run.

    Args:
        folder: The run.
        config: Its configuration.
        recipe: What will be trained.
        train_seconds: Training budget; that of the run's task where None.
        own: See `Rows`.
        cache: Folder of downloads and cached tables.
        known_tables: Tables that hold an official task, where not those of `evaluation_locked.official`.

    Raises:
        RunError: A trial of the recipe is not there.
    """
    caps = config.task.caps
    if train_seconds is not None:
        caps = caps.model_copy(update={"train_seconds": train_seconds})
    return Bench(
        base=folder.path / FOLDERS[own],
        files={member.trial: folder.source(member.trial) for member in recipe.members},
        spec=config.task.model_copy(update={"caps": caps}),
        data_hash=load_facts(folder.locked).data_hash,
        cache=cache,
        n_threads=config.n_threads,
        sandboxed=config.sandboxed,
        own=own,
        metric_file=folder.locked / METRIC_FILE if config.task.own_metric is not None else None,
        known_tables=KNOWN_TABLES if known_tables is None else known_tables,
    )


def evaluate(
    bench: Bench,
    recipe: Recipe,
    fold: int,
    seed: int = 0,
    on_phase: Callable[[Phase], None] = lambda phase: None,
    cancel: threading.Event | None = None,
) -> OfficialScore:
    """Train what a recipe names on a fold, and score it on the fold's test rows.

    Args:
        bench: Where and how.
        recipe: What is trained.
        fold: Which fold.
        seed: Random seed handed to the training; of an ensemble that of the first member.
        on_phase: Called as a training enters each phase.
        cancel: When set, the training is ended.

    Raises:
        RunError: A training did not finish.
        NotOfficialError, DataError: The source holds no fold of that number.
        ScoringError: The predictions cannot be scored.
        TrialCancelled: `cancel` was set.
    """
    subjects = [
        _subject(bench, fold, member.trial, member.code_sha, member_seed)
        for member, member_seed in zip(recipe.members, recipe.seeds(seed), strict=True)
    ]
    for subject in subjects:
        _train(bench, subject, on_phase, cancel)
    subject = subjects[0] if recipe.single else _combined(bench, recipe, subjects)
    place = place_of(bench.base, subject)
    stored = place / "score.json"
    if stored.exists():
        return OfficialScore.model_validate_json(stored.read_text(encoding="utf-8"))
    score = _score(bench.rows(fold), place, subject)
    write_atomically(stored, score.model_dump_json(indent=1) + "\n")
    return score


def looks_of(folder: RunFolder, own: OwnFolds = "") -> tuple[Look, ...]:
    """Return all looks at test folds that a run has taken: official ones, or those of our own folds.

    Raises:
        LooksError: The count is damaged.
    """
    return read_looks(folder.path / FOLDERS[own] / "looks.jsonl")


def verify_official(
    folder: RunFolder, config: RunConfig, cache: Path | None, known_tables: dict[str, str] | None = None
) -> Iterator[tuple[int | None, str, str]]:
    """Yield what differs in a run's scores on folds: trial, what, and what was found.

    A score is taken again from its stored predictions, which is no new look.
    """
    for own in FOLDERS:
        yield from _verify(folder, config, cache, known_tables, own)


def _verify(
    folder: RunFolder,
    config: RunConfig,
    cache: Path | None,
    known_tables: dict[str, str] | None,
    own: OwnFolds,
) -> Iterator[tuple[int | None, str, str]]:
    base = folder.path / FOLDERS[own]
    try:
        looks = read_looks(base / "looks.jsonl")
    except DataError as error:
        yield None, "official looks", str(error)
        return
    for stored in sorted(base.glob("fold-*/*/score.json")):
        try:
            recorded = OfficialScore.model_validate_json(stored.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield None, "official score", f"{stored} cannot be read: {str(error).splitlines()[0]}"
            continue
        subject = recorded.look.subject
        if recorded.look not in looks:
            yield subject.trial, "official looks", f"the look of {stored} is not in {base / 'looks.jsonl'}"
            continue
        try:
            if predictions_sha(stored.parent / "predictions.npy") != subject.predictions_sha:
                yield (
                    subject.trial,
                    "official predictions",
                    f"{stored.parent / 'predictions.npy'} is not what was scored",
                )
                continue
            rows = bench_of(
                folder, config, recipe_of(folder, subject.trial), own=own, cache=cache, known_tables=known_tables
            ).rows(recorded.fold)
            again = _score(rows, stored.parent, subject)
        except (DataError, ScoringError, RunError) as error:
            yield subject.trial, "official score", str(error)
            continue
        if not recorded.parts:  # scored before parts were told
            again = again.model_copy(update={"parts": (), "standard_error": recorded.standard_error})
        if again != recorded:
            yield subject.trial, "official score", f"{stored} is not what its predictions score: {again.value}"


def place_of(base: Path, subject: Subject) -> Path:
    """Return the folder of one evaluation."""
    slug = f"ensemble-{subject.code_sha[:8]}" if subject.members else f"{subject.trial:04d}-{subject.code_sha[:8]}"
    return base / f"fold-{subject.fold}" / f"{slug}-{subject.train_seconds:g}s-seed-{subject.seed}"


def _subject(bench: Bench, fold: int, trial: int, code_sha: str, seed: int) -> Subject:
    found = hashlib.sha256(bench.files[trial].encode()).hexdigest()
    if found != code_sha:
        raise RunError(f"the file of trial {trial} is {found[:8]}, and {code_sha[:8]} is to be evaluated: restore it")
    return Subject(
        task="",
        fold=fold,
        trial=trial,
        code_sha=code_sha,
        seed=seed,
        train_seconds=bench.spec.caps.train_seconds,
        predictions_sha="",
    )


def _train(bench: Bench, subject: Subject, on_phase: Callable[[Phase], None], cancel: threading.Event | None) -> None:
    place = place_of(bench.base, subject)
    if (place / "outcome.json").exists():
        return
    with_rows = place.with_name(f"{place.name}.rows")
    try:
        facts = prepare_fold(bench.rows(subject.fold), with_rows)
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / "train.py", bench.files[subject.trial])
        order = TrialOrder(
            train_py=place / "train.py",
            locked=with_rows,
            folder=place,
            caps=bench.spec.caps,
            seed=subject.seed,
            n_threads=bench.n_threads,
            sandboxed=bench.sandboxed,
            check_batches=bench.spec.check_batches,
            device=bench.device,
        )
        outcome = run_trial(order, on_phase, cancel)
    finally:
        shutil.rmtree(with_rows, ignore_errors=True)
    if outcome.status != "finished":
        said = last_words(place, 1)
        raise RunError(
            f"trial {subject.trial} on fold {subject.fold} did not finish, so nothing was looked at: "
            f"{outcome.message}{f'; it said {said[0]!r}' if said else ''} ({place / 'train.log'})"
        )
    write_atomically(place / "facts.json", facts.model_dump_json(indent=1) + "\n")
    write_atomically(place / "outcome.json", outcome.model_dump_json(indent=1) + "\n")


def _combined(bench: Bench, recipe: Recipe, subjects: list[Subject]) -> Subject:
    """Combine the members' predictions in a folder of their own, and return what is then scored."""
    first = subjects[0]
    subject = first.model_copy(
        update={
            "code_sha": recipe.sha,
            "train_seconds": sum(s.train_seconds for s in subjects),
            "members": tuple(s.trial for s in subjects),
        }
    )
    place, places = place_of(bench.base, subject), [place_of(bench.base, s) for s in subjects]
    if (place / "outcome.json").exists():
        return subject
    outcomes = [_read(p / "outcome.json", TrialOutcome) for p in places]
    place.mkdir(parents=True, exist_ok=True)
    predictions = [np.load(p / "predictions.npy", allow_pickle=False) for p in places]
    np.save(place / "predictions.npy", combine(predictions, recipe.rule, [m.weight for m in recipe.members]))
    write_atomically(place / "recipe.json", recipe.model_dump_json(indent=1) + "\n")
    write_atomically(place / "facts.json", (places[0] / "facts.json").read_text(encoding="utf-8"))
    outcome = TrialOutcome(
        status="finished",
        message=f"{recipe.name}, combined",
        featurise_seconds=sum(o.featurise_seconds for o in outcomes),
        train_seconds=sum(o.train_seconds for o in outcomes),
        predict_seconds=sum(o.predict_seconds for o in outcomes),
        peak_memory_gib=max(o.peak_memory_gib for o in outcomes),
        layers=tuple(layer for layer in outcomes[0].layers if all(layer in o.layers for o in outcomes)),
    )
    write_atomically(place / "outcome.json", outcome.model_dump_json(indent=1) + "\n")
    return subject


def _score(rows: Rows, place: Path, subject: Subject) -> OfficialScore:
    facts, outcome = _read(place / "facts.json", TaskFacts), _read(place / "outcome.json", TrialOutcome)
    return score_rows(rows, facts, subject, place, outcome.layers)


def _read(path: Path, kind: type[_Stored]) -> _Stored:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScoringError(
            f"{path.parent} is damaged ({str(error).splitlines()[0]}): remove it, and train again"
        ) from error
