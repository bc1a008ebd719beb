"""The conformance suite of a seed folder: does it hold what a run relies on? Real trials in the real sandbox.

Every check yields what was found, passed or not; the first ones are needed by the rest, and where one of them fails
the suite ends. A temporary folder holds the locked rows, and nothing else is written.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked import sandbox
from evaluation_locked.crystals import CrystalError
from evaluation_locked.dataset import DataError
from evaluation_locked.own_metric import judge_metric
from evaluation_locked.prepare import load_trial_input, prepare
from evaluation_locked.scorer import ScoringError, score
from evaluation_locked.seed_folder import METRIC_FILE, SeedError, find_seed, seed_file
from evaluation_locked.sources import load_source
from evaluation_locked.sources.cores import usable_cores
from evaluation_locked.task import load_task
from evaluation_locked.trial import TrialOrder, run_trial
from evaluation_locked.warden import OVERRUN_SECONDS
from graph.run_folder import last_words
from memory.edits import EditError, apply_edits
from memory.techniques import PlaybookError
from team.review import findings
from team.running import load_seed_playbook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evaluation_locked.prepare import TaskFacts
    from evaluation_locked.task import TaskSpec
    from evaluation_locked.trial import TrialOutcome
    from memory.techniques import Technique

ROWS = 2000
TRAIN_SECONDS = 10.0  # of each training of the trial, where the task allows as much
BATCH_SECONDS = (2.0, 8.0)  # in which an edited file must train; the second where a busy machine missed the first
QUICK_SAMPLE = 6
REPRODUCED = 1e-9
MEAN_PREDICTOR = '''"""Always the mean of the labels: what the judge records, made by a trial."""

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
mean = task.start_training().mean()
task.predict(lambda crystals: np.full(len(crystals), mean))
'''


@dataclass(frozen=True)
class Wanted:
    """How thorough the suite is, and on which data.

    Attributes:
        source: In the place of the task's; None keeps it.
        target: Likewise.
        limit: Most rows of the search to try it on; None for all.
        quick: Train a sample of the playbook's entries only; all are applied.
        n_threads: CPU threads of a trial.
    """

    source: str | None = None
    target: str | None = None
    limit: int | None = ROWS
    quick: bool = False
    n_threads: int = 1


@dataclass(frozen=True)
class Check:
    """One promise of a seed folder: what it is, whether it was kept, and what was found."""

    name: str
    passed: bool
    found: str


def check_seed(name: Path | str, wanted: Wanted) -> Iterator[Check]:
    """Try a seed folder, and yield what was found as it is found.

    Raises:
        SandboxError: No trial can be held on this machine.
    """
    try:
        folder = find_seed(name)
        spec = load_task(folder)
        changes = {"source": wanted.source or spec.source, "target": wanted.target or spec.target}
        spec = spec.model_copy(update=changes)
        playbook = load_seed_playbook(folder, spec.leave_out)
    except (SeedError, PlaybookError) as error:
        yield Check("folder", False, str(error))
        return
    brief = seed_file(folder, "brief.md")
    yield Check(
        "task.toml", True, f"{spec.kind} of {spec.target} by {spec.metric}, {spec.score_metric.better} is better"
    )
    yield Check("brief.md", brief is not None, str(brief or "there is none: models then know nothing of the property"))
    with tempfile.TemporaryDirectory(prefix="seed-check-") as place:
        bench = _Bench(folder, spec, playbook, Path(place), wanted)
        try:
            yield from bench.on_data()
        except (DataError, CrystalError, SeedError) as error:
            yield Check("source", False, str(error))
            return
        yield from bench.on_trials()
        yield from bench.on_playbook()


class _Bench:
    """A seed on its data, in a temporary folder."""

    def __init__(self, folder: Path, spec: TaskSpec, playbook: Sequence[Technique], place: Path, wanted: Wanted):
        self.folder, self.spec, self.playbook, self.place, self.wanted = folder, spec, playbook, place, wanted
        self.locked = place / "locked"
        source = seed_file(folder, "train.py")
        assert source is not None, "load_task refuses a seed without train.py"
        self.train_py = source
        self.facts: TaskFacts

    def on_data(self) -> Iterator[Check]:
        """Read the source, split it, and try the metric."""
        from team.running import cache_folder

        spec = self.spec
        dataset = load_source(spec.source, spec.target, cache_folder())
        yield Check("source", True, f"{len(dataset):,} crystals; {dataset.provenance}")
        limit = min(filter(None, (self.wanted.limit, spec.split.limit)), default=None)
        self.facts = prepare(spec, dataset, self.locked, limit, self.folder)
        yield self._rows()
        labels = np.load(self.locked / "validation_labels.npy", allow_pickle=False)
        metric = judge_metric(spec.metric, spec.kind, spec.own_metric, self.locked / METRIC_FILE)
        perfect = metric.function(labels, labels)
        gain = metric.gain(self.facts.mean_predictor, perfect)
        yield Check(
            "metric",
            gain > 0,
            f"the labels themselves score {perfect:.4f} and the mean predictor {self.facts.mean_predictor:.4f}"
            + ("" if gain > 0 else f", but {metric.better} is said to be better: mend the metric or its direction"),
        )

    def _rows(self) -> Check:
        """Every judged row is predicted by one training of each cut, which had no row of its formula."""
        times, shared = np.zeros(0), 0
        for number in range(self.facts.n_trainings):
            given = load_trial_input(self.locked, smoke=False, training=number)
            times = times if len(times) else np.zeros(given.n_judged)
            times[given.judged] += 1
            shared += int(np.isin(given.predict.formula_keys(), given.train.formula_keys()).sum())
        once = bool((times == 1).all())
        words = "each judged once" if once else f"{int((times != 1).sum())} rows are not judged once"
        return Check(
            "rows", once and not shared, f"{self.facts.rows_in_words()}; {words}, {shared} with a formula trained on"
        )

    def on_trials(self) -> Iterator[Check]:
        """Let the mean predictor and the seed's file run as trials."""
        yield self._review("review", self.train_py.read_text(encoding="utf-8"))
        mean_py = self.place / "mean.py"
        mean_py.write_text(MEAN_PREDICTOR, encoding="utf-8")
        recorded = self.facts.mean_predictor
        outcome, value, trouble = self._scored(mean_py, "mean", 1.0 * self.facts.n_trainings)
        same = value is not None and abs(value - recorded) <= REPRODUCED * max(1.0, abs(recorded))
        found = f"{value:.6f} from a trial, {recorded:.6f} recorded" if value is not None else trouble
        yield Check("mean predictor", same, found)
        most = TRAIN_SECONDS * self.facts.n_trainings
        budget = min(self.spec.caps.train_seconds, most)
        outcome, value, trouble = self._scored(self.train_py, "trial", budget)
        metric = f"{self.spec.metric} {value:.4f} after {budget:g} s" if value is not None else trouble
        yield Check(
            "trial", value is not None, f"one finite prediction for each judged row; {metric}" if value else metric
        )
        allowed = budget + self.facts.n_trainings * max(OVERRUN_SECONDS, 0.01 * budget / self.facts.n_trainings)
        kept = outcome.status == "finished" and outcome.train_seconds <= allowed
        words = f"{outcome.train_seconds:.1f} s of {budget:g} s to train, {outcome.peak_memory_gib:.2f} GiB of "
        yield Check(
            "budget", kept, f"{words}{self.spec.caps.memory_gib:g} GiB, {outcome.predict_seconds:.1f} s to predict"
        )

    def _review(self, name: str, source: str, parent: str | None = None) -> Check:
        """What the reviewer would say of a file before it is trained."""
        wrong = [finding for finding in findings(source, parent) if finding.blocking]
        return Check(name, not wrong, "; ".join(map(str, wrong)) or "the reviewer finds nothing to refuse")

    def _scored(self, train_py: Path, name: str, train_seconds: float) -> tuple[TrialOutcome, float | None, str]:
        """Run a trial and score it; without a score, say why there is none."""
        place = self.place / name
        outcome = run_trial(self._order(train_py, place, train_seconds))
        if outcome.status != "finished":
            return outcome, None, " | ".join([outcome.message, *last_words(place, 1)])
        try:
            result, _ = score(self.locked, place / "predictions.npy", layers=outcome.layers)
        except ScoringError as error:
            return outcome, None, str(error)
        return outcome, result.value, ""

    def _order(self, train_py: Path, place: Path, train_seconds: float, *, smoke: bool = False) -> TrialOrder:
        caps = self.spec.caps.model_copy(update={"train_seconds": train_seconds})
        return TrialOrder(
            train_py=train_py,
            locked=self.locked,
            folder=place,
            caps=caps,
            seed=1,
            n_threads=self.wanted.n_threads,
            smoke=smoke,
            check_batches=self.spec.check_batches,
        )

    def on_playbook(self) -> Iterator[Check]:
        """Apply every entry with each of its values, and let the edited files train."""
        if not self.playbook:
            yield Check("playbook", True, "there is none, so the offline team has nothing to try")
            return
        edited: dict[str, str] = {}
        refused = []
        seed = self.train_py.read_text(encoding="utf-8")
        for technique in self.playbook:
            try:
                edited[technique.id] = self._edited(technique)
            except EditError as error:
                refused.append(Check(f"entry {technique.id}", False, str(error).splitlines()[0]))
            else:
                review = self._review(f"entry {technique.id}", edited[technique.id], seed)
                refused += [] if review.passed else [review]
        yield from refused
        n_good = len(self.playbook) - len(refused)
        words = f"{n_good} of {len(self.playbook)} entries apply to train.py and pass the reviewer"
        yield Check("playbook edits", not refused, words)
        ids = list(edited)
        tried = ids[:: max(1, len(ids) // QUICK_SAMPLE)][:QUICK_SAMPLE] if self.wanted.quick else ids
        workers = max(1, (usable_cores() - 1) // self.wanted.n_threads) if not sandbox.has_gpu_devices() else 1
        with ThreadPoolExecutor(workers) as pool:
            failed = [check for check in pool.map(lambda name: self._trains(name, edited[name]), tried) if check]
        yield from failed
        sample = f", a sample of {len(ids)}" if len(tried) < len(ids) else ""
        words = f"{len(tried) - len(failed)} of {len(tried)} edited files train and predict{sample}"
        yield Check("playbook trains", not failed, words)

    def _edited(self, technique: Technique) -> str:
        """Return the seed's file with an entry, after what it requires; every value of a knob must apply."""
        source = self.train_py.read_text(encoding="utf-8")
        known = {other.id: other for other in self.playbook}
        for name in technique.requires:
            source = apply_edits(source, known[name].edits_for(source))
        values = technique.knob.values if technique.knob else (None,)
        first, *_ = [apply_edits(source, technique.edits_for(source, value)) for value in values]
        return first

    def _trains(self, name: str, source: str) -> Check | None:
        place = self.place / f"entry-{name}"
        place.mkdir()
        train_py = place / "train.py"
        train_py.write_text(source, encoding="utf-8")
        for seconds in BATCH_SECONDS:
            outcome = run_trial(self._order(train_py, place, seconds, smoke=True))
            if outcome.status != "overtime":
                break
        if outcome.status == "finished":
            return None
        return Check(f"entry {name}", False, " | ".join([outcome.message, *last_words(place, 1)]))
