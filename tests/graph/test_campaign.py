"""Several trials at once: what is known of trials in flight, the order of results, and slots that fall free."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from evaluation_locked import tight_binding
from evaluation_locked.prepare import prepare
from evaluation_locked.task import load_task
from evaluation_locked.trial import TrialCancelled, TrialOutcome
from graph.campaign import advance
from graph.run_folder import RunConfig, RunFolder, create_run
from graph.session import open_session
from memory.journal import Journal
from team.offline import offline_team
from tests.conftest import TINY_SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evaluation_locked.trial import Phase, TrialOrder
    from graph.context import Context, Event
    from memory.records import TrialRecord

PATIENCE_SECONDS = 60.0


class Gates:
    """An executor whose trials end when the test says so, and how."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.most = 0
        self._running: set[int] = set()
        self._ends: dict[int, str] = {}
        self._changed = threading.Condition()

    def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
        if order.smoke:
            return TrialOutcome(status="finished", message="smoke")
        number = int(order.folder.name[:4])
        on_phase("training")
        with self._changed:
            self.begun.append(number)
            self._running.add(number)
            self.most = max(self.most, len(self._running))
            self._changed.notify_all()
            while number not in self._ends:
                self._changed.wait(0.05)
                if cancel.is_set():
                    raise TrialCancelled
            self._running.discard(number)
        if self._ends[number] == "crash":
            return TrialOutcome(status="crashed", message="as the test wished")
        on_phase("predicting")
        labels = np.load(order.locked / "validation_labels.npy", allow_pickle=False)
        off = np.random.default_rng(order.seed).standard_normal(len(labels))
        np.save(order.folder / "predictions.npy", labels + (0.9 if number < 3 else 0.4) * off)
        return TrialOutcome(status="finished", message="done", train_seconds=1.0, predict_seconds=0.1)

    def await_begun(self, *numbers: int) -> None:
        self.await_that(lambda: set(numbers) <= set(self.begun), f"{numbers} to begin, {self.begun} did")

    def end(self, *numbers: int, how: str = "finish") -> None:
        with self._changed:
            self._ends |= dict.fromkeys(numbers, how)
            self._changed.notify_all()

    def await_that(self, true: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not true():
            assert time.monotonic() < until, f"waited in vain for {what}"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was prepared and has no trial."""
    place = tmp_path_factory.mktemp("prepared")
    seed = place / "seed"
    shutil.copytree(TINY_SEED, seed)
    for name in ("stale", "comment", "crash", "nan"):
        (seed / "playbook" / f"{name}.md").unlink()
    task = load_task(seed)
    folder = create_run(place, RunConfig(name="run", task=task, seed_folder=str(seed), trials=5), seed)
    prepare(task, tight_binding.load(), folder.locked, 400)
    return folder.path


@contextlib.contextmanager
def at_work(path: Path, workers: int, trials: int, executor: Any, events: list[Event]) -> Iterator[Context]:
    """A session of a run, with its rounds going on in a thread; it is over when the block has ended."""
    folder = RunFolder(path)
    config = folder.read_config().model_copy(update={"trials": trials})
    journal = Journal(folder.journal)
    with journal.lock(), open_session(folder, config, journal, offline_team(), events.append) as context:
        context.executor, context.workers = executor, workers
        errors: list[BaseException] = []

        def work() -> None:
            try:
                advance(context)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield context
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
        finally:
            context.cancel.set()
            thread.join()
        if errors and not isinstance(errors[0], TrialCancelled):
            raise errors[0]


def trials_of(path: Path) -> list[TrialRecord]:
    return [entry for entry in Journal(path / "journal.jsonl").read() if entry.kind == "trial"]


def what_was_found(path: Path) -> list[Any]:
    """Everything that a journal says but times."""
    timed = {"started_at", "overhead_seconds"}
    return [entry.model_dump(exclude=timed) for entry in Journal(path / "journal.jsonl").read()]


def test_what_is_found_does_not_hang_on_the_order_of_arrival(prepared: Path, tmp_path: Path) -> None:
    found = []
    for name, order in (("early", (1, 2, 3, 4)), ("late", (4, 3, 2, 1)), ("mixed", (3, 1, 4, 2))):
        path = tmp_path / name
        shutil.copytree(prepared, path)
        gates = Gates()
        with at_work(path, 4, 5, gates, []) as context:
            gates.end(0)
            gates.await_begun(1, 2, 3, 4)
            for number in order:
                gates.end(number)
                earlier = {n for n in range(1, number) if n not in order[: order.index(number) + 1]}
                if not earlier:
                    gates.await_that(lambda n=number: n in context.knowledge.history.trials, f"trial {number}")
        assert gates.most == 4
        assert [trial.number for trial in trials_of(path)] == [0, 1, 2, 3, 4]
        found.append(what_was_found(path))
    assert found[0] == found[1] == found[2]
    assert any(entry.get("champion") not in (0, None) for entry in found[0]), "a later one met an earlier one's keep"


def test_ideas_in_flight_are_known_to_those_that_follow(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "run")
    gates, events = Gates(), list[Any]()
    with at_work(tmp_path / "run", 4, 5, gates, events) as context:
        gates.end(0)
        gates.await_begun(1, 2, 3, 4)
        assert set(context.knowledge.history.in_flight) == {1, 2, 3, 4}
        gates.end(1, 2, 3, 4)
    trials = trials_of(tmp_path / "run")
    assert [trial.idea.mode for trial in trials].count("replicate") == 1, "the noise between seeds is asked for once"
    assert len({trial.code_sha for trial in trials}) == 4, "the baseline and its replicate are one file"
    assert any({1, 2, 3} & set(trial.crowding.nearest) for trial in trials[3:]), "crowding counts what is in flight"
    assert not context.knowledge.history.in_flight


def test_a_crash_frees_its_slot_and_is_known_at_once(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "run")
    gates = Gates()
    with at_work(tmp_path / "run", 3, 6, gates, []) as context:
        gates.end(0)
        gates.await_begun(1, 2, 3)
        gates.end(2, how="crash")
        gates.await_begun(4)
        assert 2 in context.knowledge.history.trials and 1 not in context.knowledge.history.trials
        gates.end(1, 3, 4, 5, 6)
    assert gates.most == 3


def test_a_result_that_waits_for_an_earlier_one_holds_no_slot(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "run")
    gates = Gates()
    with at_work(tmp_path / "run", 2, 5, gates, []) as context:
        gates.end(0)
        gates.await_begun(1, 2)
        gates.end(2)
        gates.await_begun(3)
        assert 2 not in context.knowledge.history.trials, "trial 1 trains still"
        gates.end(1, 3, 4)
    assert [trial.number for trial in trials_of(tmp_path / "run")] == [0, 1, 2, 3, 4]
    assert gates.most == 2


def test_a_run_that_was_cut_short_takes_up_every_round_and_no_more(prepared: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(prepared, path)
    gates = Gates()
    with at_work(path, 3, 6, gates, []) as context:
        gates.end(0)
        gates.await_begun(1, 2, 3)
        gates.end(3)
        gates.await_that(lambda: 4 in gates.begun, "trial 4")
        context.cancel.set()
    ideas = {number: next(path.glob(f"trials/{number:04d}-*/idea.json")).read_text() for number in (1, 2, 3, 4)}
    assert [trial.number for trial in trials_of(path)] == [0]
    again = Gates()
    with at_work(path, 3, 6, again, []):
        again.end(1, 2, 3, 4, 5)
    trials = trials_of(path)
    assert sorted(trial.number for trial in trials) == [0, 1, 2, 3, 4, 5]
    assert 3 not in again.begun, "what had finished is not trained again"
    for number, text in ideas.items():
        assert next(path.glob(f"trials/{number:04d}-*/idea.json")).read_text() == text


def test_an_error_of_one_round_ends_all_and_loses_none(prepared: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(prepared, path)
    gates = Gates()

    class Trouble(Gates):
        def run(self, order: TrialOrder, on_phase: Callable[[Phase], None], cancel: threading.Event) -> TrialOutcome:
            if not order.smoke and order.folder.name.startswith("0002"):
                gates.await_begun(1)
                raise OSError(28, "No space left on device", str(order.folder))
            return gates.run(order, on_phase, cancel)

    with pytest.raises(OSError, match="No space left"), at_work(path, 2, 4, Trouble(), []):
        gates.end(0)
    assert [trial.number for trial in trials_of(path)] == [0]
    gates = Gates()
    with at_work(path, 2, 4, gates, []):
        gates.end(1, 2, 3)
    assert sorted(trial.number for trial in trials_of(path)) == [0, 1, 2, 3]
