"""A campaign of 100,000 trials for 1,000 workers, without training: what does a decision cost as the history grows?

    python -m benchmarks.campaign --sizes 1000 10000 100000

Scores and residuals are of the world that the recorded trials span (`benchmarks.search.world`). The history is grown by
random steps from files that were kept, each written as a whole record into journal and idea memory, a thousand at a
time as a thousand workers would hand them in. At each size the real team decides: the offline strategist plans, the
scout proposes, repeats and crowding are looked up, the strategist chooses, and the record is written durably. Those
decisions are sampled, and nothing is trained; so the figures are of one process that decides, and of what it writes.

A thousand workers keep it busy all the time where a trial takes less than a thousand decisions.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.search.world import World, load_table
from evaluation_locked.scorer import Score
from evaluation_locked.task import load_task
from graph import judging
from graph.roles import RoleError
from memory.edits import knobs
from memory.history import History
from memory.idea_memory import IdeaMemory
from memory.journal import Journal, _format
from memory.knowledge import Knowledge
from memory.records import Crowding, Idea, TrialRecord
from memory.techniques import load_playbook
from team.offline.scout import PlaybookScout
from team.offline.strategist import OfflineStrategist

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED = Path(__file__).resolve().parent.parent / "crystal_seed"
WORKERS = 1_000


class Recorded(Knowledge):
    """What is known in a run whose trials have no folders: files and residuals are the world's."""

    def __init__(self, world: World, place: Path):
        techniques = {technique.id: technique for technique in load_playbook(SEED / "playbook")}
        source = (SEED / "train.py").read_text(encoding="utf-8")
        super().__init__(
            task=load_task(SEED),
            brief="",
            techniques=techniques,
            history=History(),
            ideas=IdeaMemory(place / "chroma"),
            journal=Journal(place / "journal.jsonl"),
            trial_folder=lambda number: place,
            seed_train_py=source,
            n_train=3800,
            seed=0,
        )
        self.world = world
        self._constants = knobs(source)
        self._by_knob = {t.knob.name: t.id for t in techniques.values() if t.knob is not None}
        self._held: dict[int, np.ndarray] = {}
        self.sets: dict[int, frozenset[str]] = {}
        self.draw = random.Random(0)
        self.rng = np.random.default_rng(0)

    def knob_values(self, number: int) -> dict[str, Any]:
        return {**self._constants, **self.history.knobs_in(number)}

    def residuals(self, number: int) -> np.ndarray | None:
        held = self._held.get(number)
        return None if held is None else held.astype(np.float32)

    def train(self, idea: Idea) -> TrialRecord:
        """Return the record of a trial of the world."""
        held = set(self.sets[idea.parent]) if idea.parent is not None else set()
        held -= set(idea.removed)
        for knob, value in idea.knobs.items():
            held = {name for name in held if not name.startswith(f"{self._by_knob[knob]}=")}
            if value != self._constants.get(knob):
                held.add(f"{self._by_knob[knob]}={value}")
        knob_techniques = set(self._by_knob.values())
        held |= {name for name in idea.techniques if name not in knob_techniques}
        known = frozenset(name for name in held if name in self.world.names)
        residuals = self.world.train(known, self.rng)
        self.sets[idea.number] = frozenset(held)
        self._held[idea.number] = residuals.astype(np.float16)
        value = float(np.abs(residuals).mean())
        champion = self.history.champion
        gain = None if champion is None or champion.score is None else champion.score.value - value
        spread = float(residuals.std() / np.sqrt(len(residuals)))
        kept = gain is None or (idea.mode != "replicate" and gain > 2 * spread)
        score = Score(metric="mae", value=value, low=value - spread, high=value + spread, n=len(residuals), metrics={},
                      predictions_sha="0" * 64, seal="0" * 64)  # fmt: skip
        lines = [line for name in idea.techniques for edit in self.techniques[name].edits for line in _diff_of(edit)]
        lines += [f"-{name} = {self._constants.get(name)!r}\n+{name} = {value!r}" for name, value in idea.knobs.items()]
        sha = f"{hash(self.sets[idea.number]) & (2**64 - 1):064x}"
        return TrialRecord(
            number=idea.number, idea=idea, reason=f"gain {gain}", status="finished", code_sha=sha, meaning_sha=sha,
            outcome="replicate" if idea.mode == "replicate" else "kept" if kept else "discarded", code_lines=370,
            diff="--- a/train.py\n+++ b/train.py\n@@ -1,3 +1,3 @@\n" + "\n".join(lines) + "\n", score=score,
            champion=None if champion is None else champion.number, gain=gain,
            gain_low=None if gain is None else gain - 2 * spread, gain_high=None if gain is None else gain + 2 * spread,
            z=None if gain is None else gain / spread, crowding=Crowding(text=0.5, code=0.5), train_seconds=20.0,
        )  # fmt: skip

    def grow(self, until: int) -> None:
        """Take in random steps from files that were kept, a thousand at a time."""
        names = [t for t in self.techniques.values() if t.knob is None and t.edits]
        while self.history.next_number < until:
            batch = []
            for _ in range(min(WORKERS, until - self.history.next_number)):
                number = self.history.next_number
                parent = self.draw.choice(self.history.keeps[-5:]) if self.history.keeps else None
                some = self.draw.sample(names, self.draw.choice((1, 1, 2)))
                with_knobs = [t for t in self.techniques.values() if t.knob is not None]
                turned = self.draw.choice(with_knobs).knob if self.draw.random() < 0.4 else None
                assert turned is None or turned.values
                idea = Idea(
                    number=number, mode="baseline" if parent is None else "explore", axis=some[0].axis,
                    title=" + ".join(t.title for t in some) if parent is not None else "seed",
                    hypothesis=" ".join(t.description for t in some),
                    techniques=() if parent is None else tuple(t.id for t in some), parent=parent,
                    knobs={turned.name: self.draw.choice(turned.values)} if turned and parent is not None else {},
                )  # fmt: skip
                record = self.train(idea)
                self.history.add(record)
                batch.append(record)
            with self._journal.path.open("ab") as file:
                file.writelines(map(_format, batch))
            self.ideas._upsert(batch, "")
            for record in batch:
                if "_diffs" in vars(self):
                    self._diffs.add(record.number, record.diff)

    def decide(self, spent: dict[str, list[float]]) -> None:
        """Decide on one trial as a round does, and take it in."""

        def timed(name: str, began: float) -> None:
            spent[name].append(time.process_time() - began)

        number, strategist, scout = self.history.next_number, STRATEGIST, PlaybookScout()
        at = time.process_time()
        plan = strategist.plan(number, self)
        timed("plan", at)
        at = time.process_time()
        proposals = list(scout.propose(plan, self))
        timed("propose", at)
        at = time.process_time()
        news = [idea for idea in proposals if self.repeat(idea) is None] or proposals[:1]
        timed("repeats", at)
        at = time.process_time()
        measured = [(idea, self.crowding_before(idea, "")) for idea in news]
        position = 0 if len(measured) == 1 else strategist.choose(plan, measured, self)
        timed("crowding of words, choice", at)
        record = self.train(measured[position][0])
        at = time.process_time()
        self.crowding_before(record.idea, record.diff)
        timed("crowding of code", at)
        at = time.process_time()
        judging.seed_noise(self.history)
        timed("noise between seeds", at)
        at = time.process_time()
        self.remember(record)
        timed("journal and memory", at)


STRATEGIST = OfflineStrategist()


def _diff_of(edit: Any) -> Sequence[str]:
    return [f"-{line}" for line in edit.search.splitlines()] + [f"+{line}" for line in edit.replace.splitlines()]


def campaign(place: Path, sizes: list[int], decisions: int) -> dict[str, Any]:
    knowledge = Recorded(World(load_table()), place)
    found: dict[str, Any] = {}
    for size in sizes:
        began = time.process_time()
        knowledge.grow(size)
        grown = time.process_time() - began
        spent: dict[str, list[float]] = defaultdict(list)
        made, refused = 0, 0
        knowledge.crowding_before(
            knowledge.history.trials[1].idea, knowledge.history.trials[1].diff
        )  # builds its index
        while made < decisions and refused < decisions:
            try:
                knowledge.decide(spent)
                made += 1
            except RoleError:
                refused += 1
        parts = {name: round(1000 * float(np.mean(values)), 1) for name, values in spent.items()}
        per_decision = sum(parts.values())
        began = time.process_time()
        n_read = len(knowledge._journal.read()) if size <= 20_000 else 0
        found[f"{size} trials"] = {
            "decisions_sampled": made,
            "nothing_left_to_try": refused,
            "cpu_ms_per_decision": round(per_decision, 1),
            "decisions_per_second": round(1000 / per_decision, 1) if per_decision else None,
            "a_trial_must_take_s_for_1000_workers": round(WORKERS * per_decision / 1000, 1),
            "cpu_ms": parts,
            "journal_mb": round(knowledge._journal.path.stat().st_size / 1e6, 1),
            "journal_bytes_per_trial": round(knowledge._journal.path.stat().st_size / size),
            "chroma_mb": round(sum(p.stat().st_size for p in (place / "chroma").rglob("*") if p.is_file()) / 1e6),
            "resident_mb": round(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6),
            "cpu_s_to_grow": round(grown, 1),
            "cpu_s_to_read_journal": round(time.process_time() - began, 2) if n_read else None,
        }
        print(json.dumps({size: found[f"{size} trials"]}), flush=True)
    knowledge.ideas.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--decisions", type=int, default=10, help="sampled at each size")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        campaign(Path(temporary), arguments.sizes, arguments.decisions)


if __name__ == "__main__":
    main()
