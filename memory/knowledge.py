"""All that the roles may know, in one hand: history, idea memory, the literature, and the files of earlier trials.

It reads; the only thing it changes is `remember`. What judges (labels, the locked folder) it has no way to reach.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from memory import crowding
from memory.behaviour_index import BehaviourIndex, max_held
from memory.code_index import CodeIndex
from memory.edits import knobs
from memory.mended import MendedCrystals
from memory.records import Crowding, TrialRecord
from memory.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from evaluation_locked.task import TaskSpec
    from memory.history import History
    from memory.idea_memory import IdeaMemory
    from memory.journal import Journal
    from memory.person import OwnIdea, PersonLog, Wish
    from memory.records import Entry, Idea
    from memory.repeats import Repeat
    from memory.techniques import Technique

MAX_NEAREST = 5


class Knowledge:
    """What is known in a run.

    Attributes:
        task: What is predicted, in which unit, by which metric.
        brief: The seed folder's `brief.md`.
        techniques: The playbook by id.
        history: All trials so far.
        ideas: The idea memory.
        seed_train_py: The file that the search starts from.
        n_train: Crystals that a trial trains on.
        seed: Root of the search's random numbers.
        mended: Which crystals each change mends.
    """

    def __init__(
        self,
        *,
        task: TaskSpec,
        brief: str,
        techniques: Mapping[str, Technique],
        history: History,
        ideas: IdeaMemory,
        journal: Journal,
        trial_folder: Callable[[int], Path],
        seed_train_py: str,
        n_train: int,
        seed: int,
        person: PersonLog | None = None,
    ):
        self.task = task
        self.brief = brief
        self.techniques = techniques
        self.history = history
        self.ideas = ideas
        self.seed_train_py = seed_train_py
        self.n_train = n_train
        self.seed = seed
        self._journal = journal
        self._person = person
        self._trial_folder = trial_folder
        self._knobs: dict[int, dict[str, Any]] = {}
        self._diffs_in_flight: dict[int, str] = {}
        self._code_in_flight = CodeIndex()
        self.mended = MendedCrystals(history, self.residuals)
        knob_names = [technique.id for technique in techniques.values() if technique.knob is not None]
        self._marks_in_flight: dict[int, str] = {}
        self._repeats = Repeats(history, knob_names, self._marks_in_flight)

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """A person's wishes that no trial took up but the one that is being planned, the oldest first."""
        if self._person is None:
            return ()
        said = self._person.read()
        return tuple(said.wishes[k] for k in said.waiting("wish", self.history.planning))

    def own_idea(self, number: int) -> OwnIdea | None:
        """Return a person's own idea that trial `number` took up, None where it has another."""
        said = self._person.read() if self._person is not None else None
        k = said.taken_by("idea", number) if said is not None else None
        return said.ideas[k] if said is not None and k is not None else None

    def source(self, number: int) -> str:
        """Return the train.py of trial `number`."""
        return (self._trial_folder(number) / "train.py").read_text(encoding="utf-8")

    def knob_values(self, number: int) -> dict[str, Any]:
        """Return the top-level constants of trial `number`'s train.py."""
        if number not in self._knobs:
            self._knobs[number] = knobs(self.source(number))
        return self._knobs[number]

    def crowding_before(self, idea: Idea, diff: str = "") -> Crowding:
        """Return the two views of crowding that are known before a trial is paid for; trials in flight count."""
        text = crowding.text_crowding(idea.text, self.ideas, exclude=(idea.number,))
        code = None
        if diff:
            indices = (self._diffs, self._code_in_flight)
            views = (crowding.code_crowding(diff, held, exclude=(idea.number,)) for held in indices)
            code = max(views, key=lambda crowd: crowd.value)
        near = tuple(dict.fromkeys((*(code.nearest if code else ()), *text.nearest)))
        return Crowding(
            text=round(text.value, 4), code=round(code.value, 4) if code else None, nearest=near[:MAX_NEAREST]
        )

    def behaviour_after(self, crowding_before: Crowding, number: int, code_sha: str) -> Crowding:
        """Return the views of crowding with that of trial `number`'s errors against all finished trials of other code.

        Args:
            crowding_before: The views known before the trial.
            number: The trial, which need not be recorded yet.
            code_sha: Of its train.py.
        """
        mine = self.residuals(number)
        own_code = {number, *self.history.finished_with(code_sha)}
        if mine is None or all(label in own_code for label in self._errors.labels):
            return crowding_before
        crowd = crowding.behaviour_crowding(mine, self._errors, exclude=own_code)
        alike = tuple(label for label in crowd.nearest if isinstance(label, int))
        return crowding_before.model_copy(update={"behaviour": round(crowd.value, 4), "behaves_like": alike})

    def residuals(self, number: int) -> np.ndarray | None:
        """Return [n_validation] float32 prediction minus label of a finished trial, None where there are none."""
        try:
            held: np.ndarray = np.load(self._trial_folder(number) / "residuals.npy", allow_pickle=False)
        except (OSError, ValueError, RuntimeError):
            return None
        return held

    @cached_property
    def _diffs(self) -> CodeIndex:
        """Every diff so far, of this run and of those that share its memory; `remember` adds to it."""
        index = CodeIndex((n, t.diff) for n, t in self.history.trials.items() if t.diff)
        for label, diff in self.ideas.diffs_of_others():
            index.add(label, diff)
        return index

    @cached_property
    def _errors(self) -> BehaviourIndex:
        """The residuals of this run's finished trials, the latest where not all have room; `remember` adds to it."""
        latest: list[tuple[int, np.ndarray]] = []
        for number, trial in reversed(self.history.trials.items()):
            if trial.score is not None and (residuals := self.residuals(number)) is not None:
                latest.append((number, residuals))
                if len(latest) == max_held(len(residuals)):
                    break
        return BehaviourIndex(reversed(latest))

    def same_code(self, source: str) -> int | None:
        """Return the earliest trained trial whose code is the same but for comments and layout."""
        return self.history.find_meaning(crowding.code_fingerprint(source))

    def repeat(self, idea: Idea, diff: str = "") -> Repeat | None:
        """Return what an idea repeats of the run, None where it is news or calls itself a replicate."""
        return self._repeats.find(idea, diff)

    def check_writer(self) -> None:
        """Make sure that this process is the run's writer still; see `Journal.check`."""
        self._journal.check()

    def begin(self, idea: Idea) -> None:
        """Take note of the idea of a trial in flight: until it is recorded, others are measured against it too."""
        self.history.in_flight[idea.number] = idea
        self.ideas.begin(idea)

    def write(self, number: int, diff: str) -> None:
        """Take note of the change of code of a trial in flight, in the place of an earlier one of it."""
        self._unwrite(number)
        self._diffs_in_flight[number] = diff
        self._marks_in_flight[number] = crowding.diff_fingerprint(diff)
        self._code_in_flight.add(number, diff)

    def _unwrite(self, number: int) -> None:
        if (diff := self._diffs_in_flight.pop(number, None)) is not None:
            self._code_in_flight.remove(number, diff)
            del self._marks_in_flight[number]

    def abandon(self, number: int) -> None:
        """Forget a trial in flight, which comes to no record."""
        self.history.in_flight.pop(number, None)
        self.ideas.abandon(number)
        self._unwrite(number)

    def remember(self, entry: Entry) -> None:
        """Record an entry: the journal first, since it is the truth; then everything that can be rebuilt from it."""
        self._journal.append(entry)
        new = self.history.add(entry)
        if not isinstance(entry, TrialRecord):
            self.ideas.decide(entry)
            return
        self.ideas.add(entry)
        self._unwrite(entry.number)
        # What is not built yet will be built from the history, this entry among it.
        if new and entry.diff and "_diffs" in vars(self):
            self._diffs.add(entry.number, entry.diff)
        if new and entry.score is not None and "_errors" in vars(self):
            residuals = self.residuals(entry.number)
            if residuals is not None:
                self._errors.add(entry.number, residuals)
