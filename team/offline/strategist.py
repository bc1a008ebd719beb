"""The strategist without a model: which mode, which parent, which axis, and which of the scout's proposals to pay for.

Gains are weighed relative to the champion's score. Each move has a prior from the literature's evidence; what was
measured on its axis in this run moves it; a draw from what is left uncertain decides (Thompson 1933). Crowding costs,
and a plateau forces another mode, axis or parent.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.keep_rule import MAX_REPLICATES
from graph.roles import RoleError
from graph.state import Plan
from memory.records import AXES
from team.offline.moves import moves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory.history import History
    from memory.knowledge import Knowledge
    from memory.records import Crowding, Idea, TrialRecord

# Expected gain and its spread, relative to the score, by the playbook's evidence (++, +, 0, ?). Element-pair edges and
# space groups each gained 2-3 % of the score in the journal of arXiv 2606.29717; most other changes gained nothing.
PRIOR = {2: (0.03, 0.025), 1: (0.006, 0.015), 0: (0.0, 0.01), -1: (-0.01, 0.015)}
KNOB_DISCOUNT = 0.5
ABLATION = (-0.004, 0.01)
AXIS_SPREAD, TRIAL_SPREAD = 0.015, 0.03
CROWDING_COST = 0.03  # of the score, for a duplicate; nothing below half crowded
TIME_COST = 0.01  # of the score, for a step that takes twice as long
PLATEAU_ROUNDS = 5
LUCK_ROUNDS = 3


class OfflineStrategist:
    """Chooses by figures alone."""

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
        return self._replicate(number, champion, knowledge) or self._search(number, champion, knowledge)

    def choose(self, plan: Plan, proposals: Sequence[tuple[Idea, Crowding]], knowledge: Knowledge) -> int:
        """Return the position of the proposal with the best draw, less what crowding costs."""

        def worth(proposal: tuple[Idea, Crowding]) -> float:
            idea, crowding = proposal
            return _draw(idea, knowledge) - CROWDING_COST * 2 * max(0.0, (crowding.text or 0.0) - 0.5)

        return max(range(len(proposals)), key=lambda i: worth(proposals[i]))

    def _replicate(self, number: int, champion: TrialRecord, knowledge: Knowledge) -> Plan | None:
        """Plan a replicate where the next decision needs one."""
        history = knowledge.history

        def again(parent: int, why: str) -> Plan:
            return Plan(number=number, mode="replicate", parent=parent, axis="-", why=why)

        for trial in history.trials.values():
            attempts = sum(
                t.idea.mode == "replicate" and t.idea.parent == trial.number for t in history.trials.values()
            )
            if history.outcome(trial.number) == "near-miss" and attempts < MAX_REPLICATES - 1:
                return again(trial.number, f"trial {trial.number} is a near miss: once more before it is decided")
        if not history.seed_noise_groups():
            return again(champion.number, "no file was trained twice yet: how large is the noise between seeds?")
        once = len(history.replicates_of(champion.number)) == 1
        if once and history.rounds_since_keep >= LUCK_ROUNDS:
            return again(champion.number, f"nothing beat trial {champion.number} for a while: was its gain luck?")
        return None

    def _search(self, number: int, champion: TrialRecord, knowledge: Knowledge) -> Plan:
        history = knowledge.history
        plateau = history.rounds_since_keep >= PLATEAU_ROUNDS
        offers = list(moves(champion.number, number, knowledge))
        forced = ""
        if plateau:
            recent = [t for t in history.trials.values() if t.gain is not None][-PLATEAU_ROUNDS:]
            worn = Counter((t.idea.mode, t.idea.axis) for t in recent).most_common(1)
            other = _other_parent(champion, knowledge)
            if other is not None:
                offers += moves(other, number, knowledge)
            fresh = [idea for idea in offers if not worn or (idea.mode, idea.axis) != worn[0][0]]
            if fresh and len(fresh) < len(offers):
                offers = fresh
                forced = (
                    f"no keep for {history.rounds_since_keep} rounds, so no more {worn[0][0][0]} on {worn[0][0][1]}; "
                )
        if not offers:
            raise RoleError(
                "the playbook has nothing left that was not tried; write further techniques, or set a model"
            )
        best = max(offers, key=lambda idea: _draw(idea, knowledge))
        mean, spread = _expectation(best, knowledge)
        return Plan(
            number=number,
            mode=best.mode,
            parent=best.parent,
            axis=best.axis,
            also_from=best.also_from,
            forced=bool(forced),
            why=f"{forced}{best.mode} on {best.axis} ({AXES[best.axis]}) of trial {best.parent}: "
            f"expected gain {mean:+.1%} +- {spread:.1%} of the score, best draw of {len(offers)} moves",
        )


def _other_parent(champion: TrialRecord, knowledge: Knowledge) -> int | None:
    """Return the best trial that did not become champion and lost by no more than its interval, if any."""
    beaten = [
        trial
        for trial in knowledge.history.trials.values()
        if trial.champion == champion.number and trial.gain_high is not None and trial.gain_high > 0
    ]
    return max(beaten, key=lambda trial: knowledge.history.decided_gain(trial.number) or 0.0).number if beaten else None


def _expectation(idea: Idea, knowledge: Knowledge) -> tuple[float, float]:
    """Return mean and spread of the gain that an idea promises, relative to the champion's score."""
    if idea.mode == "ablate":
        mean, spread = ABLATION
    elif idea.mode == "combine":
        gains = [_relative_gain(knowledge.history, n) or 0.0 for n in idea.also_from]
        mean, spread = 0.5 * sum(gains), PRIOR[1][1]  # half: what looked good was partly luck
    else:
        technique = knowledge.techniques[idea.techniques[0]]
        mean, spread = PRIOR[technique.evidence if knowledge.n_train >= technique.min_crystals else -1]
        mean -= TIME_COST * math.log2(technique.time_factor)
        if idea.mode == "refine":
            mean, spread = KNOB_DISCOUNT * mean, KNOB_DISCOUNT * spread
    seen = [
        gain
        for trial in knowledge.history.trials.values()
        if trial.idea.axis == idea.axis and (gain := _relative_gain(knowledge.history, trial.number)) is not None
    ]
    # Posterior of the axis's own offset, normal with known variances.
    shrink = AXIS_SPREAD**2 / (AXIS_SPREAD**2 + TRIAL_SPREAD**2 / len(seen)) if seen else 0.0
    offset = shrink * float(np.mean(np.clip(seen, -0.05, 0.05))) if seen else 0.0
    return mean + offset, math.sqrt(spread**2 + AXIS_SPREAD**2 * (1 - shrink))


def _draw(idea: Idea, knowledge: Knowledge) -> float:
    """Return one draw of the gain; the same idea in the same round draws the same, wherever it is asked."""
    mean, spread = _expectation(idea, knowledge)
    key = f"{knowledge.seed}/{idea.number}/{idea.parent}/{idea.title}".encode()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8]))
    return mean + spread * float(rng.standard_normal())


def _relative_gain(history: History, number: int) -> float | None:
    gain, score = history.decided_gain(number), history.trials[number].score
    return None if gain is None or score is None else gain / max(abs(score.value), 1e-12)
