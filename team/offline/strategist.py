"""The strategist without a model: which mode, which parent, which axis, and which of the scout's proposals to pay for.

It believes what the literature says of each change until the run's own trials say otherwise (`memory.belief`), draws
once from what is left uncertain, and takes the best step under that draw (Thompson 1933): from the champion or from
another file that may be as good, one change or several that should add up. Crowding costs, and a plateau forces
another mode or axis, or a file that is no edit of the seed at all.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from evaluation_locked.keep_rule import MAX_REPLICATES
from evaluation_locked.noise import PRIOR_SEED_NOISE, shrunk_seed_noise
from graph.roles import RoleError
from graph.state import Plan
from memory.belief import Belief, Prior
from memory.history import changes_of
from memory.records import AXES
from memory.starts import begins_anew
from team.offline.moves import join, moves, stand_together, start_moves, steps
from team.offline.wishes import Named, narrow, shown, understand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory.history import History
    from memory.knowledge import Knowledge
    from memory.person import Wish
    from memory.records import Crowding, Idea, Mode, TrialRecord

    Weighed: TypeAlias = tuple[float, Idea]  # what it is worth under the round's draw, in log score, and an idea

# Expected gain and its spread, relative to the score, by the playbook's evidence (++, +, 0, ?). Element-pair edges and
# space groups each gained 2-3 % of the score in the journal of arXiv 2606.29717; most other changes gained nothing.
PRIOR = {2: (0.03, 0.03), 1: (0.006, 0.02), 0: (0.0, 0.015), -1: (-0.01, 0.02)}
KNOB_SPREAD = 0.015
JOINED = ("combine", "simplify")
FURTHER_DRAWS = 16  # where all moves under a draw repeat, more draws join others, and what was tried alone
LOOKED_AT = 8  # best offers under the draw, no repeats among them, whose crowding is measured
UNHEARD = 1e3  # a noise under which no trial says anything
TIME_COST = 0.01  # of the score, for a step that takes twice as long


@dataclass(frozen=True)
class OfflineStrategist:
    """Chooses by figures alone.

    Attributes:
        max_changes: New changes that one trial may make; the belief tells them apart afterwards.
        other_parents: Files beside the champion from which a step may start.
        crowding_cost: Log score that a proposal loses for being a duplicate in words; nothing below half crowded.
        overlap_cost: Share of the smaller gain that a joined change loses where both mend the same crystals.
        plateau_rounds: Rounds without a keep after which the worn mode and axis are closed.
        luck_rounds: Rounds without a keep after which a champion that was trained once is trained again.
        modes: Kinds of step that it may take beside baseline and replicate.
        learns: Whether trials move what it believes; without, the literature alone speaks (for the search benchmark).
    """

    max_changes: int = 3
    other_parents: int = 2
    crowding_cost: float = 0.03
    overlap_cost: float = 0.5
    plateau_rounds: int = 5
    luck_rounds: int = 3
    modes: frozenset[Mode] = frozenset({"explore", "refine", "combine", "ablate", "simplify"})
    learns: bool = True
    _fitted: list[object] = field(default_factory=lambda: [None, -1, None], init=False, repr=False, compare=False)

    def plan(self, number: int, knowledge: Knowledge) -> Plan:
        """Return the plan of trial `number`.

        Raises:
            RoleError: The baseline did not run, or the playbook has nothing left.
        """
        history = knowledge.history
        champion = history.champion
        if champion is None:
            if history.trials:
                last = history.trials[max(history.trials)]
                raise RoleError(f"the seed itself did not pass, so there is nothing to improve: {last.reason}")
            return Plan(number=number, mode="baseline", parent=None, axis="-", why="the seed as it is comes first")
        return (
            self._replicate(number, champion, knowledge)
            or self._replicate_as_wished(number, champion, knowledge)
            or self._search(number, champion, knowledge)
        )

    def choose(self, plan: Plan, proposals: Sequence[tuple[Idea, Crowding]], knowledge: Knowledge) -> int:
        """Return the position of the proposal with the best draw, less what crowding costs."""
        drawn = _draw(self._belief(knowledge), plan.number, knowledge)

        worths = [_worth(idea, drawn) - self._cost(crowding) for idea, crowding in proposals]
        left = [idea for idea, _ in proposals]
        for wish in knowledge.wishes:
            if wish.k in plan.wishes:
                left, _ = narrow(left, wish, knowledge.techniques)
        wished = {id(idea) for idea in left}
        return max((i for i, (idea, _) in enumerate(proposals) if id(idea) in wished), key=lambda i: worths[i])

    def _least_crowded(self, offers: Sequence[Weighed], knowledge: Knowledge) -> Idea:
        """Return the offer that is best when what crowding costs is paid; the best draw comes first."""
        best, most = offers[0][1], -math.inf
        for draw, idea in offers:
            if draw <= most:
                break  # no crowding makes it better
            if (left := draw - self._cost(knowledge.crowding_before(idea))) > most:
                best, most = idea, left
        return best

    def _cost(self, crowding: Crowding) -> float:
        """Return what crowding costs an idea in log score: nothing up to half crowded, all of it for a duplicate."""
        return self.crowding_cost * 2 * max(0.0, max(crowding.text or 0.0, crowding.code or 0.0) - 0.5)

    def _replicate(self, number: int, champion: TrialRecord, knowledge: Knowledge) -> Plan | None:
        """Plan a replicate where the next decision needs one, and none in flight will bring what it needs."""
        history = knowledge.history

        def again(parent: int, why: str) -> Plan:
            return Plan(number=number, mode="replicate", parent=parent, axis="-", why=why)

        flying = {idea.parent for idea in history.beside(number) if idea.mode == "replicate"}
        for trial in sorted(history.near_misses.keys() - flying):
            if history.replicated[trial] < MAX_REPLICATES - 1:
                return again(trial, f"trial {trial} is a near miss: once more before it is decided")
        if not history.seed_spread[1] and not flying:
            return again(champion.number, "no file was trained twice yet: how large is the noise between seeds?")
        once = len(history.replicates_of(champion.number)) == 1 and champion.number not in flying
        if once and history.rounds_since_keep >= self.luck_rounds:
            return again(champion.number, f"nothing beat trial {champion.number} for a while: was its gain luck?")
        return None

    def _replicate_as_wished(self, number: int, champion: TrialRecord, knowledge: Knowledge) -> Plan | None:
        wish = _first_wish(knowledge)
        wanted, _ = understand(wish.text, knowledge.techniques) if wish is not None else (Named(), Named())
        if wish is None or "replicate" not in wanted.modes:
            return None
        parent = next(iter(_scored(wanted.trials, knowledge.history)), champion.number)
        why = f"a person's wish {wish.k} ({shown(wish)}): trial {parent} once more"
        return Plan(number=number, mode="replicate", parent=parent, axis="-", why=why, wishes=(wish.k,))

    def _search(self, number: int, champion: TrialRecord, knowledge: Knowledge) -> Plan:
        belief = self._belief(knowledge)
        drawn = _draw(belief, number, knowledge)
        rng = _rng(number, knowledge, "parents")
        offers: list[Weighed] = []
        grounds: list[tuple[float, int]] = []
        wish = _first_wish(knowledge)
        wanted, _ = understand(wish.text, knowledge.techniques) if wish is not None else (Named(), Named())
        named = _scored(wanted.trials, knowledge.history)
        for parent in dict.fromkeys((*self._parents(champion, knowledge, belief), *named)):
            behind, uncertain = belief.value(parent, champion.number)
            start = behind + uncertain * float(rng.standard_normal())
            grounds.append((start, parent))
            singles = _weighed(moves(parent, number, knowledge), drawn)
            offers += [(start + worth, idea) for worth, idea in singles]
            offers += self._joined(start, singles, knowledge)
        for idea in start_moves(number, knowledge):
            assert idea.parent is not None
            behind, uncertain = belief.value(idea.parent, champion.number)
            offers.append((behind + uncertain * float(rng.standard_normal()) + _worth(idea, drawn), idea))
        offers = self._allowed(offers)
        history = knowledge.history
        told = ""
        plateau = history.rounds_since_keep >= self.plateau_rounds
        if wish is not None:
            left, told = narrow([idea for _, idea in offers], wish, knowledge.techniques)
            wished = {id(idea) for idea in left}
            plateau = plateau and len(left) == len(offers)  # a person's choice goes before a forced one
            offers = [offer for offer in offers if id(offer[1]) in wished]
            told += "; "
        offers.sort(key=lambda offer: -offer[0])
        looked_at, forced = [], ""
        if plateau:
            recent = history.last_measured(self.plateau_rounds)
            worn = Counter((t.idea.mode, t.idea.axis) for t in recent).most_common(1)
            fresh = [offer for offer in offers if not worn or (offer[1].mode, offer[1].axis) != worn[0][0]]
            anew = [offer for offer in offers if begins_anew(offer[1].techniques, knowledge.techniques)]
            if anew and self._is_time_to_begin_anew(number, knowledge) and (looked_at := _news(anew, knowledge)):
                forced = f"no keep for {history.rounds_since_keep} rounds, so anew from another start; "
            elif len(fresh) < len(offers) and (looked_at := _news(fresh, knowledge)):
                forced = (
                    f"no keep for {history.rounds_since_keep} rounds, so no more {worn[0][0][0]} on {worn[0][0][1]}; "
                )
        looked_at = looked_at or _news(offers, knowledge)
        if not looked_at and wish is None:
            looked_at = self._further(grounds, number, knowledge)
        if not looked_at:
            raise RoleError(
                f"all {len(offers)} moves that are left repeat other trials: write further techniques"
                if offers
                else "the playbook has nothing left that was not tried; write further techniques, or set a model"
            )
        best = self._least_crowded(looked_at, knowledge)
        mean, spread = _expectation(best, belief)
        return Plan(
            number=number,
            mode=best.mode,
            parent=best.parent,
            axis=best.axis,
            also_from=best.also_from,
            changes=(*changes_of(best), *best.removed) if _is_settled(best, knowledge) else (),
            forced=bool(forced),
            wishes=() if wish is None else (wish.k,),
            why=f"{told}{forced}{best.mode} on {best.axis} ({AXES[best.axis]}) of trial {best.parent}: "
            f"expected gain {mean:+.1%} +- {spread:.1%} of the score, best draw of {len(offers)} moves",
        )

    def _is_time_to_begin_anew(self, number: int, knowledge: Knowledge) -> bool:
        """Say whether this plateau has had fewer new starts than it is times as long as the shortest one."""
        history = knowledge.history
        kept_at = len(history.trials) - history.rounds_since_keep
        starts = [technique.id for technique in knowledge.techniques.values() if technique.start]
        begun = {place for name in starts for place in history.tried.began.get(name, ()) if place >= kept_at}
        flying = sum(begins_anew(idea.techniques, knowledge.techniques) for idea in history.beside(number))
        return len(begun) + flying < history.rounds_since_keep // self.plateau_rounds

    def _belief(self, knowledge: Knowledge) -> Belief:
        """Return what the trials so far say of every change that the playbook offers."""
        held, n_entries, fitted = self._fitted
        belief = cast("Belief", fitted) if held is knowledge else self._fit(knowledge)
        if held is knowledge and n_entries != knowledge.history.n_entries:
            belief.update(self._seed_noise(knowledge.history))
        self._fitted[:] = knowledge, knowledge.history.n_entries, belief
        return belief

    def _fit(self, knowledge: Knowledge) -> Belief:
        techniques = knowledge.techniques
        by_knob = {technique.knob.name: technique for technique in techniques.values() if technique.knob is not None}

        def prior(key: str) -> Prior:
            if key in techniques:
                technique = techniques[key]
                if technique.knob is not None:
                    return Prior(0.0, KNOB_SPREAD / 2, technique.axis)
                mean, spread = PRIOR[technique.evidence if knowledge.n_train >= technique.min_crystals else -1]
                return Prior(mean - TIME_COST * math.log2(technique.time_factor), spread, technique.axis)
            knob = by_knob.get(key.partition("=")[0])
            if knob is not None:
                return Prior(0.5 * PRIOR[knob.evidence][0], KNOB_SPREAD, knob.axis)
            if key.startswith("trial "):
                return Prior(*PRIOR[0], knowledge.history.trials[int(key[6:])].idea.axis)
            return Prior(*PRIOR[0], "-")

        keys = [key for key, technique in techniques.items() if technique.knob is None]
        for technique in techniques.values():
            if technique.knob is not None:
                keys += [technique.id, *(f"{technique.knob.name}={value!r}" for value in technique.knob.values)]
        return Belief(knowledge.history, keys, prior, self._seed_noise(knowledge.history))

    def _seed_noise(self, history: History) -> float:
        """Return the seed noise of a log score, as far as replicates tell."""
        champion = history.champion
        if not self.learns:
            return UNHEARD
        if champion is None or champion.score is None:
            return PRIOR_SEED_NOISE
        typical = abs(champion.score.perfect - (history.mean_score(champion.number) or 0.0)) or 1.0
        return shrunk_seed_noise(*history.seed_spread, typical) / typical

    def _parents(self, champion: TrialRecord, knowledge: Knowledge, belief: Belief) -> list[int]:
        """Return the champion, and the files beside it that are most probably as good."""
        history = knowledge.history
        lineage = set(history.lineage(champion.number))
        best: list[int] = []
        for behind, uncertain, number in sorted(
            belief.rivals(champion.number), key=lambda rival: (rival[0] + rival[1], rival[2]), reverse=True
        ):
            if behind + uncertain <= 0 or len(best) == self.other_parents:
                break
            if number in lineage or history.trials[number].code_sha == champion.code_sha:
                continue
            if history.outcome(number) not in ("set-aside", "crashed", "replicate"):
                best.append(number)
        return [champion.number, *best]

    def _joined(self, start: float, singles: Sequence[Weighed], knowledge: Knowledge) -> list[Weighed]:
        """Return what can be made of the single moves from a file together, with what it is worth under their draw."""
        made = (self._together(singles, knowledge), _simplification(singles, knowledge))
        return [(start + worth, idea) for worth, idea in (found for found in made if found is not None)]

    def _further(self, grounds: Sequence[tuple[float, int]], number: int, knowledge: Knowledge) -> list[Weighed]:
        """Return what can be made together under other draws, where no other move is left; empty where all repeats.

        Args:
            grounds: What a file is worth, and the file's trial.
        """
        for further in range(FURTHER_DRAWS):
            drawn = _draw(self._belief(knowledge), number, knowledge, f"further gains {further}")
            joined: list[Weighed] = []
            for start, parent in grounds:
                joined += self._joined(start, _weighed(steps(parent, number, knowledge), drawn), knowledge)
            if found := _news(sorted(self._allowed(joined), key=lambda offer: -offer[0]), knowledge):
                return found
        return []

    def _allowed(self, offers: Sequence[Weighed]) -> list[Weighed]:
        return [offer for offer in offers if offer[1].mode in self.modes]

    def _together(self, singles: Sequence[Weighed], knowledge: Knowledge) -> Weighed | None:
        """Join the best additions under the draw that fit into one file; None where there are not two.

        What was in a file that did not run, and in none that did, is tried alone: it would take others down with it.
        """
        doubtful = knowledge.history.tried.failed - knowledge.history.tried.ran
        profiles = knowledge.mended.profiles() if self.overlap_cost else {}
        additions = [
            (worth, idea, profiles.get(keys[-1]))
            for worth, idea in singles
            if worth > 0 and not idea.removed and not doubtful.intersection(keys := changes_of(idea))
        ]
        parent = next((idea.parent for _, idea, _ in additions), None)
        present = set(knowledge.history.changes_in(parent)) if parent is not None else set()
        chosen: list[Weighed] = []
        shared = [0.0] * len(additions)  # by addition: what those chosen gain already
        left = list(range(len(additions)))

        def left_of(at: int) -> float:
            return additions[at][0] - self.overlap_cost * shared[at]

        while left and len(chosen) < self.max_changes:
            best = max(left, key=left_of)
            left.remove(best)
            worth, idea, profile = additions[best]
            beside_it = [*(other for _, other in chosen), idea]
            if left_of(best) > 0 and stand_together(beside_it, present, knowledge.techniques):
                chosen.append((worth, idea))
                for at in left:
                    other, _, beside = additions[at]
                    shared[at] += min(other, worth) * _overlap(beside, profile)
        return _join(chosen, knowledge)


def _overlap(one: np.ndarray | None, other: np.ndarray | None) -> float:
    """Return the correlation of what two changes mend, 0 where it is negative or one was never trained."""
    return 0.0 if one is None or other is None else max(0.0, float(one @ other))


def _is_settled(idea: Idea, knowledge: Knowledge) -> bool:
    """Say whether the scout is told what to propose, and not only where."""
    return idea.mode in JOINED or len(idea.techniques) > 1 or begins_anew(idea.techniques, knowledge.techniques)


def _first_wish(knowledge: Knowledge) -> Wish | None:
    """Return the wish of this round; those behind it wait for rounds of their own."""
    return next(iter(knowledge.wishes), None)


def _scored(numbers: Sequence[int], history: History) -> list[int]:
    return [n for n in numbers if n in history.trials and history.trials[n].score is not None]


def _simplification(singles: Sequence[Weighed], knowledge: Knowledge) -> Weighed | None:
    """Join the removals that the draw calls no loss; None where there are not two."""
    return _join([(worth, idea) for worth, idea in singles if worth > 0 and idea.removed], knowledge)


def _join(parts: Sequence[Weighed], knowledge: Knowledge) -> Weighed | None:
    """Join several moves; together they are worth the sum. None where there are not two."""
    if len(parts) < 2:
        return None
    return sum(worth for worth, _ in parts), join([idea for _, idea in parts], knowledge)


def _weighed(ideas: Sequence[Idea], drawn: dict[str, float]) -> list[Weighed]:
    return [(_worth(idea, drawn), idea) for idea in ideas]


def _news(offers: Sequence[Weighed], knowledge: Knowledge) -> list[Weighed]:
    """Return the first offers that repeat no earlier trial."""
    return list(islice((offer for offer in offers if knowledge.repeat(offer[1]) is None), LOOKED_AT))


def _rng(number: int, knowledge: Knowledge, what: str) -> np.random.Generator:
    key = f"{knowledge.seed}/{number}/{what}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8]))


def _draw(belief: Belief, number: int, knowledge: Knowledge, what: str = "gains") -> dict[str, float]:
    """Return one draw of all gains; the same round draws the same, wherever it is asked."""
    return belief.draw(_rng(number, knowledge, what))


def _worth(idea: Idea, drawn: dict[str, float]) -> float:
    return sum(drawn.get(key, 0.0) for key in changes_of(idea)) - sum(drawn.get(name, 0.0) for name in idea.removed)


def _expectation(idea: Idea, belief: Belief) -> tuple[float, float]:
    if idea.removed:
        mean, spread = belief.gain(idea.removed)
        return -mean, spread
    return belief.gain(changes_of(idea))
