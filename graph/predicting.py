"""A trial's file, or an ensemble, asked about crystals of a user's own.

The file is as hostile here as in the search, so it runs in the sandbox here too, and hands out numbers alone. What lies
below `predict/` of a run:

    0007-ab12cd34-1500s-seed-0/   train.py train.log kept.npz (where the file keeps what it learned) outcome.json
    0007-.../answers/ab12...npy   predictions by the content of what was asked: never computed twice

A file that keeps what it learned is trained once; a check right after it must give the same predictions from what was
kept. Any other file is trained anew for crystals that it has not been asked about.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.crystals import concatenate
from evaluation_locked.ensemble import combine
from evaluation_locked.kept import KEPT_FILE
from evaluation_locked.predicting import search_crystals, write_shown_rows, write_training_rows
from evaluation_locked.task import Strict
from evaluation_locked.trial import TrialOrder, run_trial
from evaluation_locked.whole_file import save_array
from graph.errors import RunError
from graph.run_folder import code_sha, last_words, write_atomically

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from evaluation_locked.crystals import Crystals
    from evaluation_locked.trial import Phase
    from graph.recipe import Recipe
    from graph.run_folder import RunConfig, RunFolder

N_PROBES = 64  # crystals of the run that a check is also made with
TOLERANCE = 0.02  # of the spread of predictions: what half precision and another batch may move one by


@dataclass(frozen=True)
class Answers:
    """What was predicted.

    Attributes:
        values: [n] predictions in the unit of the target.
        spread: [n] standard deviation between trainings (seeds and members); None of a single one.
        trainings: Predictions by training, each [n].
        trained: Trainings that had to be made for it.
    """

    values: np.ndarray
    spread: np.ndarray | None
    trainings: dict[str, np.ndarray]
    trained: int


class Check(Strict):
    """Whether a file predicts the same from what it kept.

    Attributes:
        agrees: Whether it does.
        moved: Largest difference found, in the unit of the target.
        why: What else went wrong, empty for nothing.
    """

    agrees: bool
    moved: float = 0.0
    why: str = ""


class Predictor:
    """One training of one file, kept in its folder below `predict/`."""

    def __init__(self, folder: RunFolder, config: RunConfig, trial: int, seed: int, train_seconds: float | None):
        self.folder, self.config, self.trial, self.seed = folder, config, trial, seed
        caps = config.task.caps
        if train_seconds is not None:
            caps = caps.model_copy(update={"train_seconds": train_seconds})
        self.caps = caps
        sha = code_sha(folder.trial(trial))
        self.place = folder.path / "predict" / f"{trial:04d}-{sha[:8]}-{caps.train_seconds:g}s-seed-{seed}"

    @property
    def check(self) -> Check | None:
        """What the check of what the file kept found, None where it kept nothing."""
        path = self.place / "check.json"
        if not path.exists() or not (self.place / KEPT_FILE).exists():
            return None
        return Check.model_validate_json(path.read_text(encoding="utf-8"))

    @property
    def kept(self) -> Path | None:
        """What the file kept and predicts the same from, None where there is no such thing."""
        check = self.check
        return self.place / KEPT_FILE if check is not None and check.agrees else None

    def has_answer(self, crystals: Crystals) -> bool:
        """Say whether predictions for these crystals need no training."""
        return self._answer(crystals).exists() or self.kept is not None

    def predict(
        self,
        crystals: Crystals,
        on_phase: Callable[[Phase], None] = lambda phase: None,
        cancel: threading.Event | None = None,
    ) -> np.ndarray:
        """Return [n] predictions, from what was kept, what was answered before, or a training.

        Raises:
            RunError: The training, or the prediction from what was kept, did not finish.
            TrialCancelled: `cancel` was set.
        """
        path = self._answer(crystals)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = self.kept
            if kept is not None:
                predictions = self._ask(crystals, kept, on_phase, cancel)
            else:
                predictions = self._train(crystals, on_phase, cancel)
            save_array(path, predictions)
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)

    def _train(
        self, crystals: Crystals, on_phase: Callable[[Phase], None], cancel: threading.Event | None
    ) -> np.ndarray:
        probes = search_crystals(self.folder.locked)
        probes = probes.select(np.arange(max(0, len(probes) - N_PROBES), len(probes)))
        asked = concatenate([crystals, probes])
        (self.place / KEPT_FILE).unlink(missing_ok=True)
        predictions = self._run(self.place, asked, None, on_phase, cancel)
        if (self.place / KEPT_FILE).exists():
            check = self._check(asked, predictions, cancel)
            write_atomically(self.place / "check.json", check.model_dump_json(indent=1) + "\n")
        return predictions[: len(crystals)]

    def _check(self, asked: Crystals, predictions: np.ndarray, cancel: threading.Event | None) -> Check:
        """Ask for the same in other order from what was kept."""
        turned = np.arange(len(asked))[::-1]
        try:
            again = self._ask(asked.select(turned), self.place / KEPT_FILE, lambda phase: None, cancel)[turned]
        except RunError as error:  # the border of a child process: the file is then trained anew each time
            return Check(agrees=False, why=str(error))
        moved = float(np.abs(again - predictions).max())
        allowed = TOLERANCE * float(np.std(predictions)) + 1e-6 * float(np.abs(predictions).max())
        return Check(agrees=moved <= allowed, moved=moved)

    def _ask(
        self, crystals: Crystals, kept: Path, on_phase: Callable[[Phase], None], cancel: threading.Event | None
    ) -> np.ndarray:
        return self._run(self.place / "asked", crystals, kept, on_phase, cancel)

    def _run(
        self,
        place: Path,
        crystals: Crystals,
        kept: Path | None,
        on_phase: Callable[[Phase], None],
        cancel: threading.Event | None,
    ) -> np.ndarray:
        """Run the file on these crystals, in the sandbox, and return what it says of them."""
        with_rows = place.with_name(f"{place.name}.rows")
        write = write_training_rows if kept is None else write_shown_rows
        try:
            write(self.folder.locked, crystals, with_rows)
            place.mkdir(parents=True, exist_ok=True)
            write_atomically(self.place / "train.py", self.folder.source(self.trial))
            order = TrialOrder(
                train_py=self.place / "train.py",
                locked=with_rows,
                folder=place,
                caps=self.caps,
                seed=self.seed,
                n_threads=self.config.n_threads,
                sandboxed=self.config.sandboxed,
                kept=kept,
                keeps=kept is None,
            )
            outcome = run_trial(order, on_phase, cancel)
        finally:
            shutil.rmtree(with_rows, ignore_errors=True)
        if outcome.status != "finished":
            said = last_words(place, 1)
            raise RunError(
                f"trial {self.trial} could not predict: {outcome.message}{f'; it said {said[0]!r}' if said else ''} "
                f"({place / 'train.log'})"
            )
        write_atomically(place / "outcome.json", outcome.model_dump_json(indent=1) + "\n")
        return np.asarray(np.load(place / "predictions.npy", allow_pickle=False), dtype=np.float64)

    def _answer(self, crystals: Crystals) -> Path:
        return self.place / "answers" / f"{crystals.content_hash()[:32]}.npy"


def predictors_of(
    folder: RunFolder, config: RunConfig, recipe: Recipe, n_seeds: int, train_seconds: float | None
) -> list[list[Predictor]]:
    """Return the trainings that a recipe asks for: for each seed one of each member."""
    return [
        [
            Predictor(folder, config, member.trial, member_seed, train_seconds)
            for member, member_seed in zip(recipe.members, recipe.seeds(seed), strict=True)
        ]
        for seed in range(n_seeds)
    ]


def predict(
    predictors: list[list[Predictor]],
    recipe: Recipe,
    crystals: Crystals,
    on_phase: Callable[[str, Phase], None] = lambda what, phase: None,
    cancel: threading.Event | None = None,
) -> Answers:
    """Return what a recipe says of crystals: its members combined, averaged over seeds.

    Raises:
        RunError: A training did not finish.
        TrialCancelled: `cancel` was set.
    """
    said: dict[str, np.ndarray] = {}
    by_seed = []
    trained = 0
    for members in predictors:
        rows = []
        for one in members:
            trained += not one.has_answer(crystals)
            values = one.predict(crystals, lambda phase, one=one: on_phase(one.place.name, phase), cancel)  # type: ignore[misc]
            said[one.place.name] = values
            rows.append(values)
        by_seed.append(rows[0] if recipe.single else combine(rows, recipe.rule, [m.weight for m in recipe.members]))
    table = np.stack(list(said.values()))
    return Answers(
        values=np.mean(by_seed, axis=0),
        spread=table.std(axis=0, ddof=1) if len(table) > 1 else None,
        trainings=said,
        trained=trained,
    )
