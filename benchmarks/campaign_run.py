"""A run of recorded scores, as long as one likes: `memory.knowledge.Knowledge` whose trials are the search world's.

Trials have no folders: their residuals lie in one file, and their diffs are made of the playbook's edits. It is grown
by random steps from files that were kept lately, decided on by the keep rule, near misses trained again as in any run.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.search.world import World, load_table
from evaluation_locked.scorer import Comparison, Score
from evaluation_locked.task import load_task
from graph import judging
from memory.edits import inverse, knobs
from memory.history import History
from memory.idea_fields import as_decided
from memory.idea_memory import IdeaMemory
from memory.journal import Journal, _format
from memory.knowledge import Knowledge
from memory.records import Crowding, DecisionRecord, Idea, TrialRecord
from memory.techniques import load_playbook
from team.offline.moves import stand_together

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memory.records import Entry

SEED = Path(__file__).resolve().parent.parent / "crystal_seed"
SEED_LINES, N_TRAIN = 200, 3800
MAX_SETS_KEPT = 2_000  # of changes, whose scores the world holds ready


class CampaignRun(Knowledge):
    """A run in a folder; what its journal holds is there again when it is opened.

    Attributes:
        opened_cpu_s: What opening took, by part.
    """

    def __init__(self, place: Path, world: World | None = None):
        techniques = {technique.id: technique for technique in load_playbook(SEED / "playbook")}
        source = (SEED / "train.py").read_text(encoding="utf-8")
        at = [time.process_time()]
        entries = Journal(place / "journal.jsonl").read()
        at.append(time.process_time())
        history = History(entries)
        at.append(time.process_time())
        ideas = IdeaMemory.open_or_rebuild(place / "chroma", entries)
        at.append(time.process_time())
        parts = ("journal", "history", "idea memory")
        self.opened_cpu_s = {name: round(b - a, 2) for name, a, b in zip(parts, at, at[1:], strict=False)}
        super().__init__(
            task=load_task(SEED),
            brief="",
            techniques=techniques,
            history=history,
            ideas=ideas,
            journal=Journal(place / "journal.jsonl"),
            trial_folder=lambda number: place,
            seed_train_py=source,
            n_train=N_TRAIN,
            seed=0,
        )
        self.place = place
        self.world = World(load_table()) if world is None else world
        self._constants = knobs(source)
        self._by_knob = {t.knob.name: t.id for t in techniques.values() if t.knob is not None}
        self._residual_fd = os.open(place / "residuals.f16", os.O_RDWR | os.O_CREAT)
        self._random = random.Random(len(history.trials))
        self._to_replicate: deque[int] = deque()

    def close(self) -> None:
        """Let go of the files."""
        self.ideas.close()
        os.close(self._residual_fd)

    # What `Knowledge` reads from folders.

    def knob_values(self, number: int) -> dict[str, Any]:
        return {**self._constants, **self.history.knobs_in(number)}

    def residuals(self, number: int) -> np.ndarray | None:
        size = 2 * self.world.n_rows
        held = os.pread(self._residual_fd, size, number * size)
        return np.frombuffer(held, np.float16).astype(np.float32) if len(held) == size else None

    # Trials.

    def train(self, idea: Idea) -> TrialRecord:
        """Return the record of a trial of the world, decided on as a run does."""
        held = self._known_to_world(self.history.changes_after(idea))
        if len(self.world._known) > MAX_SETS_KEPT:
            self.world._known.clear()
        residuals = self.world.train(held, np.random.default_rng([20261128, idea.number])).astype(np.float16)
        os.pwrite(self._residual_fd, residuals.tobytes(), idea.number * residuals.nbytes)
        value = float(np.abs(residuals.astype(np.float32)).mean())
        lines = SEED_LINES + self.world.lines(held)
        champion = self.history.champion if idea.mode != "replicate" else None
        decision = None
        if champion is not None:
            comparison = self.compare([idea.number], self.history.replicates_of(champion.number))
            decision = judging.decide_on(self.history, comparison, simpler=lines < champion.code_lines)
        kind = judging.OUTCOMES[decision.kind] if decision else "replicate" if idea.mode == "replicate" else "kept"
        sha = hashlib.sha256(" ".join(sorted(held)).encode()).hexdigest()
        score = Score(metric="mae", value=value, low=value, high=value, n=len(residuals), metrics={}, seal="0" * 64)
        return TrialRecord(
            number=idea.number, idea=idea, outcome=kind, reason=decision.reason if decision else "recorded",
            status="finished", code_sha=sha, meaning_sha=sha, code_lines=lines, diff=self.diff_of(idea), score=score,
            champion=champion.number if champion is not None and decision is not None else None,
            gain=decision.gain if decision else None, gain_low=decision.low if decision else None,
            gain_high=decision.high if decision else None, z=decision.z if decision else None,
            crowding=Crowding(text=0.5, code=0.5), train_seconds=20.0,
        )  # fmt: skip

    def compare(self, ours: Sequence[int], theirs: Sequence[int]) -> Comparison:
        """Return the gain and its standard error; for a mean over rows the paired bootstrap has this limit."""
        errors = [np.mean([np.abs(cast("Any", self.residuals(n))) for n in side], axis=0) for side in (ours, theirs)]
        gains = errors[1] - errors[0]
        spread = float(gains.std(ddof=1) / np.sqrt(len(gains)))
        gain = float(gains.mean())
        return Comparison(gain=gain, sampling_error=spread, n_challenger=len(ours), n_champion=len(theirs))

    def diff_of(self, idea: Idea) -> str:
        """Return the change of code that carries an idea out, with no line around it."""
        edits = [edit for name in idea.techniques for edit in self.techniques[name].edits]
        edits += [inverse(edit) for name in idea.removed for edit in self.techniques[name].edits]
        lines = [f"{sign}{line}" for e in edits for sign, text in (("-", e.search), ("+", e.replace))
                 for line in text.splitlines()]  # fmt: skip
        for name, value in idea.knobs.items():
            lines += [f"-{name} = {self._constants.get(name)!r}", f"+{name} = {value!r}"]
        return "\n".join(["--- a/train.py", "+++ b/train.py", "@@ -1 +1 @@", *lines, ""]) if lines else ""

    def _known_to_world(self, changes: Sequence[str]) -> frozenset[str]:
        held = set()
        for key in changes:
            name, _, value = key.partition("=")
            if value and value != repr(self._constants.get(name)):
                held.add(f"{self._by_knob[name]}={value.strip(chr(39))}")
            elif not value:
                held.add(name)
        return frozenset(held) & frozenset(self.world.names)

    # Growing.

    def grow(self, until: int, batch_size: int) -> None:
        """Take in random steps, so many to a batch, until that many trials are recorded."""
        while len(self.history.trials) < until:
            batch: list[Entry] = []
            for _ in range(min(batch_size, until - len(self.history.trials))):
                record = self.train(self.next_step(self.history.next_number))
                batch.append(record)
                self.history.add(record)
                if record.outcome == "near-miss":
                    self._to_replicate.append(record.number)
                for decision in judging.decide_again(self.history, record.idea, self.compare):
                    self.history.add(decision)
                    batch.append(decision)
                    if decision.outcome == "near-miss":
                        self._to_replicate.append(decision.trial)
            with (self.place / "journal.jsonl").open("ab") as file:
                file.writelines(map(_format, batch))
            fresh = {entry.number for entry in batch if isinstance(entry, TrialRecord)}
            for entry in batch:
                if isinstance(entry, DecisionRecord) and entry.trial not in fresh:
                    self.ideas.decide(entry)
            in_batch = (e for e in batch if isinstance(e, TrialRecord) or e.trial in fresh)
            self.ideas._upsert(as_decided(in_batch).values(), "")

    def fill_flight(self, n: int) -> None:
        """Begin random steps until so many trials are in flight."""
        while len(self.history.in_flight) < n:
            idea = self.next_step(self.history.next_number)
            self.begin(idea)
            self.write(idea.number, self.diff_of(idea))

    def next_step(self, number: int) -> Idea:
        """Return the baseline, the replicate of a near miss, or else a step that nobody made, if there is one."""
        if not self.history.trials:
            return Idea(number=number, mode="baseline", axis="-", title="seed")
        while self._to_replicate:
            near = self._to_replicate.popleft()
            if near in self.history.near_misses:
                return self._again(number, near)
        if self._random.random() < 0.01:
            return self._again(number, self.history.keeps[-1])
        for _ in range(20):
            idea = self._random_step(number)
            if not self.history.tried.is_file(self.history.changes_after(idea)):
                break
        return idea

    def _again(self, number: int, parent: int) -> Idea:
        title = f"again: {self.history.trials[parent].idea.title}"
        return Idea(number=number, mode="replicate", axis="-", title=title, parent=parent, also_from=(parent,))

    def _random_step(self, number: int) -> Idea:
        parent = self._random.choice(self.history.keeps[-5:])
        present = set(self.history.changes_in(parent))
        free = [t for t in self.techniques.values() if t.knob is None and not t.start and t.id not in present]
        some = self._random.sample(free, min(len(free), self._random.choice((1, 2, 3, 3))))
        ideas = [self._idea(number, parent, t.id) for t in some]
        while ideas and not stand_together(ideas, present, self.techniques):
            ideas.pop()
        added = [self.techniques[idea.techniques[0]] for idea in ideas]
        turned = [t for t in self.techniques.values() if t.knob is not None]
        added += self._random.sample(turned, self._random.choice((0, 1, 1)) if added else 1)
        values = {t.knob.name: self._random.choice(t.knob.values) for t in added if t.knob is not None}
        return Idea(
            number=number, mode="explore", axis=added[0].axis, title=" + ".join(t.title for t in added),
            hypothesis=" ".join(f"{t.description} {t.expect}" for t in added), techniques=tuple(t.id for t in added),
            knobs=values, source="; ".join(dict.fromkeys(t.source for t in added)), parent=parent,
        )  # fmt: skip

    def _idea(self, number: int, parent: int, name: str) -> Idea:
        return Idea(number=number, mode="explore", axis="A1", title=name, techniques=(name,), parent=parent)

    # Recording.

    def parts_of_remembering(self, entry: Entry) -> dict[str, Callable[[], object]]:
        """Return what `remember` does with an entry, part by part."""
        if not isinstance(entry, TrialRecord):
            steps: dict[str, Callable[[], object]] = {"idea memory": partial(self.ideas.decide, entry)}
        else:
            errors = self.residuals(entry.number)
            assert errors is not None, "it was just written"
            steps = {
                "idea memory": partial(self.ideas.add, entry),
                "code index": partial(self._diffs.add, entry.number, entry.diff),
                "behaviour index": partial(self._errors.add, entry.number, errors),
            }
            self._unwrite(entry.number)
        return {"journal": partial(self._journal.append, entry), "history": partial(self.history.add, entry)} | steps

    def sizes(self) -> dict[str, int]:
        """Return the bytes on disk of journal and idea memory."""
        chroma = sum(path.stat().st_size for path in (self.place / "chroma").rglob("*") if path.is_file())
        return {"journal": (self.place / "journal.jsonl").stat().st_size, "idea memory": chroma}
