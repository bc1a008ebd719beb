"""Replay strategies in the world of recorded trials: the same rounds, the same rules, no training.

A replay is one run. The rows that judge are drawn anew for each (with replacement, from those of the table), and so are
the seeds of all trainings; what a champion is truly worth is its mean over seeds on all rows, so that luck with rows
and luck with seeds both count as luck. Strategist, scout, belief, history and keep rule are those of `team run`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from evaluation_locked.scorer import Comparison, Score
from graph import judging
from graph.roles import RoleError
from memory.embedding import LocalEmbedder
from memory.history import History
from memory.mended import MendedCrystals
from memory.records import Crowding, Idea, TrialRecord
from memory.repeats import Repeats
from team.offline.scout import PlaybookScout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.search.world import World
    from graph.roles import Strategist
    from memory.knowledge import Knowledge
    from memory.person import Wish
    from memory.repeats import Repeat
    from memory.techniques import Technique

N_TRAIN = 3800
SEED_LINES = 200


@dataclass
class Step:
    """One training of a replay.

    Attributes:
        champion_mae: True MAE in eV of the champion after it.
        kept: Whether it made a file champion that was none before; to go back to an earlier one is no keep.
        false_keep: Whether it did so although that file is truly no better than the champion before.
        repeat: Whether it trained a set of changes that was trained before, without calling it a replicate.
    """

    champion_mae: float
    kept: bool = False
    false_keep: bool = False
    repeat: bool = False


class Searcher(Protocol):
    """Anything that searches: it names the changes to train next and is told what became of them."""

    def propose(self) -> tuple[frozenset[str], bool]:
        """Return the changes of the next file, and whether it is a deliberate replicate.

        Raises:
            RoleError: There is nothing left.
        """

    def refuse(self) -> None:
        """Hear that the changes of the last proposal do not fit into one file; nothing was paid."""

    def take(self, residuals: np.ndarray) -> None:
        """Take in [n_rows] residuals of the oldest proposal that has none, on the rows that judge."""

    @property
    def champion(self) -> frozenset[str]:
        """The changes of the file that it would hand over now."""


def replay(searcher: Searcher, world: World, seed: int, n_trials: int, workers: int = 1) -> list[Step]:
    """Return the steps of one run of `n_trials` trainings; one that ends early stays where it is.

    With several workers, so many trainings are in flight, and the one that began first ends first; `House` alone can
    plan beside them.
    """
    rng = np.random.default_rng([20261122, seed])
    rows = rng.integers(0, world.n_rows, world.n_rows)
    steps: list[Step] = []
    trained: set[frozenset[str]] = set()
    before: frozenset[str] | None = None
    champions: set[frozenset[str]] = set()
    refused = 0
    flying: deque[tuple[frozenset[str], bool]] = deque()
    while len(steps) < n_trials:
        try:
            while len(flying) < (workers if steps else 1) and len(steps) + len(flying) < n_trials:
                changes, again = searcher.propose()
                if world.fits(changes):
                    flying.append((changes, again))
                    continue
                refused += 1
                if refused > 10 * n_trials:
                    break
                searcher.refuse()
        except RoleError:
            pass  # nothing is left until one that is in flight ends
        if not flying:
            break
        changes, again = flying.popleft()
        searcher.take(world.train(changes, rng)[rows])
        after = searcher.champion
        worth = world.true_mae(after)
        moved = before is not None and after not in champions
        champions.add(after)
        false = moved and before is not None and worth >= world.true_mae(before)
        steps.append(Step(worth, moved, false, changes in trained and not again))
        trained.add(changes)
        before = after
    return steps + [Step(steps[-1].champion_mae)] * (n_trials - len(steps))


class House:
    """The offline team of `team run`, without files: its strategist, scout, history and keep rule."""

    def __init__(
        self,
        strategist: Strategist,
        techniques: Mapping[str, Technique],
        seed_knobs: Mapping[str, Any],
        world: World,
        seed: int,
        *,
        noise_rule: bool = True,
        text_view: bool = True,
        refuse_repeats: bool = True,
    ):
        self.history = History()
        self.techniques = techniques
        self.n_train = N_TRAIN
        self.seed = seed
        self.wishes: tuple[Wish, ...] = ()
        self._strategist = strategist
        self._scout = PlaybookScout()
        self._seed_knobs = seed_knobs
        self._repeats = Repeats(self.history, knobs=[t.id for t in techniques.values() if t.knob is not None])
        self._by_knob = {t.knob.name: t.id for t in techniques.values() if t.knob is not None}
        self._world = world
        self._noise_rule = noise_rule
        self._text_view = text_view
        self._refuse_repeats = refuse_repeats
        self._residuals: dict[int, np.ndarray] = {}
        self.mended = MendedCrystals(self.history, self.residuals)
        self._sets: dict[int, frozenset[str]] = {}
        self._vectors = np.zeros((0, 0))
        self._in_flight: deque[Idea] = deque()

    # What strategist and scout read of `memory.knowledge.Knowledge`.

    def knob_values(self, number: int) -> dict[str, Any]:
        return {**self._seed_knobs, **self.history.knobs_in(number)}

    def residuals(self, number: int) -> np.ndarray | None:
        return self._residuals.get(number)

    def repeat(self, idea: Idea, diff: str = "") -> Repeat | None:
        return self._repeats.find(idea, diff) if self._refuse_repeats else None

    # The searcher.

    @property
    def champion(self) -> frozenset[str]:
        champion = self.history.champion
        assert champion is not None
        return self._sets[champion.number]

    def propose(self) -> tuple[frozenset[str], bool]:
        number, knowledge = self.history.next_number, cast("Knowledge", self)
        plan = self._strategist.plan(number, knowledge)
        proposals = [(idea, self.crowding_before(idea)) for idea in self._scout.propose(plan, knowledge)]
        position = 0 if len(proposals) == 1 else self._strategist.choose(plan, proposals, knowledge)
        idea = proposals[position][0]
        self.history.in_flight[number] = idea
        self._in_flight.append(idea)
        self._sets[number] = self._changes(idea)
        return self._sets[number], idea.mode == "replicate"

    def refuse(self) -> None:
        idea = self._in_flight.pop()
        self._add(TrialRecord(number=idea.number, idea=idea, outcome="rejected", reason="does not fit"))

    def take(self, residuals: np.ndarray) -> None:
        idea, history = self._in_flight.popleft(), self.history
        changes = self._sets[idea.number]
        self._residuals[idea.number] = residuals
        value = float(np.abs(residuals).mean())
        lines = SEED_LINES + self._world.lines(changes)
        champion = history.champion if idea.mode != "replicate" else None
        decision = None
        if champion is not None:
            comparison = self._compare([idea.number], history.replicates_of(champion.number))
            decision = judging.decide_on(history, comparison, simpler=lines < champion.code_lines)
            if not self._noise_rule:
                decision = replace(decision, kind="keep" if comparison.gain > 0 else "discard")
        outcome = {"keep": "kept", "discard": "discarded", "near-miss": "near-miss"}
        kind = "kept" if idea.mode == "baseline" else "replicate" if decision is None else outcome[decision.kind]
        self._add(
            TrialRecord(
                number=idea.number,
                idea=idea,
                outcome=cast("Any", kind),
                reason="replayed",
                status="finished",
                code_sha=repr(sorted(changes)),
                meaning_sha=repr(sorted(changes)),
                code_lines=lines,
                score=Score(
                    metric="mae", value=value, low=value, high=value, n=len(residuals), metrics={}, seal="replay"
                ),
                champion=champion.number if champion is not None and decision is not None else None,
                gain=decision.gain if decision else None,
                gain_low=decision.low if decision else None,
                gain_high=decision.high if decision else None,
                z=decision.z if decision else None,
            )
        )
        for settled in judging.decide_again(history, idea, self._compare):
            history.add(settled)

    def _add(self, record: TrialRecord) -> None:
        self.history.add(record)
        vector = _embed(record.idea.text)
        self._vectors = np.vstack([self._vectors, vector]) if len(self._vectors) else vector[None]

    def _changes(self, idea: Idea) -> frozenset[str]:
        held = set(self._sets[idea.parent]) if idea.parent is not None else set()
        held -= set(idea.removed)
        for knob, value in idea.knobs.items():
            technique = self._by_knob[knob]
            held = {name for name in held if not name.startswith(f"{technique}=")}
            if value != self._seed_knobs[knob]:
                held.add(f"{technique}={value}")
        knobs = set(self._by_knob.values())
        return frozenset(held | {name for name in idea.techniques if name not in knobs})

    def _compare(self, ours: Sequence[int], theirs: Sequence[int]) -> Comparison:
        """Return the gain and its standard error; for a mean over rows the paired bootstrap has this limit."""
        errors = [np.mean([np.abs(self._residuals[n]) for n in numbers], axis=0) for numbers in (ours, theirs)]
        gains = errors[1] - errors[0]
        return Comparison(
            gain=float(gains.mean()),
            sampling_error=float(gains.std(ddof=1) / np.sqrt(len(gains))),
            n_challenger=len(ours),
            n_champion=len(theirs),
        )

    def crowding_before(self, idea: Idea) -> Crowding:
        if not self._text_view or not len(self._vectors):
            return Crowding(text=0.0)
        similar = np.sort(np.clip(self._vectors @ _embed(idea.text), 0.0, 1.0))[-5:]
        return Crowding(text=float(similar.mean()))


@lru_cache(maxsize=200_000)
def _embed(text: str) -> np.ndarray:
    vector = np.asarray(LocalEmbedder()([text])[0], dtype=np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
