"""The strategist with a model: code lists what is open, with figures, and the model chooses among the numbered lines.

Baseline, replicates and the stops are code's, as in the offline team. The model can choose badly, but nothing that is
not on the list.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, create_model

from graph.roles import RoleError
from graph.state import Plan
from memory.history import changes_of
from memory.records import AXES
from team.model.access import ModelError, Turn
from team.offline.moves import moves, start_moves
from team.offline.strategist import OfflineStrategist
from team.thinking.briefing import gains_text, history_text, wish_text
from team.thinking.desk import limit_ends_the_run
from team.thinking.prompts import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from graph.roles import Strategist
    from memory.knowledge import Knowledge
    from memory.records import Axis, Crowding, Idea, Mode
    from team.thinking.desk import Desk

MAX_OPTIONS = 24
PLATEAU_ROUNDS = OfflineStrategist.plateau_rounds
MEASURED_MOVES = 2  # moves whose crowding stands for an option's
MAX_WHY = 300
EVIDENCE_WORDS = {2: "measured on this task", 1: "plausible", 0: "neutral", -1: "risky"}


class StrategistAnswer(BaseModel):
    """The number of one line, and why."""

    model_config = ConfigDict(extra="forbid")

    option: int
    why: str


@dataclass(frozen=True)
class Option:
    """One thing that the next trial may do.

    Attributes:
        changes: Of a step of several, as the figures put it together; empty where the scout proposes.
        ideas: Known moves that would carry it out.
    """

    mode: Mode
    parent: int
    axis: Axis
    also_from: tuple[int, ...] = ()
    changes: tuple[str, ...] = ()
    ideas: tuple[Idea, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """What tells options apart."""
        return (self.mode, self.parent, self.axis, self.changes)


class ModelStrategist:
    """Lets a model choose among what is open."""

    def __init__(self, desk: Desk, offline: Strategist) -> None:
        self._desk = desk
        self._offline = offline

    def plan(self, number: int, knowledge: Knowledge) -> Plan:
        """Return the plan of trial `number`.

        Raises:
            RoleError: The baseline did not run, or a limit on models is spent.
        """
        usual: Plan | None = None
        try:
            usual = self._offline.plan(number, knowledge)
        except RoleError:
            if knowledge.history.champion is None:
                raise  # what the playbook has not, a model may think of; but not without a champion
        if usual is not None and usual.mode in ("baseline", "replicate"):
            return usual
        wishes = knowledge.wishes[:1]
        options, plateau = open_options(number, usual, knowledge)
        turns = (
            Turn("system", render("strategist.system", brief=knowledge.brief.strip())),
            Turn(
                "user",
                render(
                    "strategist.plan",
                    history=history_text(knowledge),
                    plateau=plateau,
                    wish=wish_text(wishes),
                    number=number,
                    options="\n".join(_numbered(options, usual, knowledge)),
                ),
            ),
        )
        try:
            choice = self._desk.answer("strategist", number, turns, _choice_of(len(options)))
        except ModelError as error:
            limit_ends_the_run(error)
            self._desk.hand_over("strategist", error)
            return usual or _least_tried(number, options, knowledge)
        chosen = options[choice.option - 1]
        return Plan(
            number=number,
            mode=chosen.mode,
            parent=chosen.parent,
            axis=chosen.axis,
            also_from=chosen.also_from,
            changes=chosen.changes,
            forced=bool(plateau),
            wishes=tuple(wish.k for wish in wishes),
            why=_one_line(choice.why),
        )

    def choose(self, plan: Plan, proposals: Sequence[tuple[Idea, Crowding]], knowledge: Knowledge) -> int:
        """Return the position of the proposal that the model would pay for."""
        lines = (
            f"{i}. {idea.title} ({idea.source}): {_one_line(idea.hypothesis)} Crowding {_shown(crowding.text)}"
            for i, (idea, crowding) in enumerate(proposals, start=1)
        )
        turns = (
            Turn("system", render("strategist.system", brief=knowledge.brief.strip())),
            Turn(
                "user",
                render(
                    "strategist.choose",
                    history=history_text(knowledge),
                    wish=wish_text([wish for wish in knowledge.wishes if wish.k in plan.wishes]),
                    number=plan.number,
                    plan=f"{plan.mode} on {plan.axis} of trial {plan.parent}",
                    proposals="\n".join(lines),
                ),
            ),
        )
        try:
            return self._desk.answer("strategist", plan.number, turns, _choice_of(len(proposals))).option - 1
        except ModelError as error:
            self._desk.hand_over("strategist", error)
            return self._offline.choose(plan, proposals, knowledge)


def open_options(number: int, usual: Plan | None, knowledge: Knowledge) -> tuple[list[Option], str]:
    """Return what trial `number` may do, at most MAX_OPTIONS, and the plateau's words where there is one.

    A step of several changes is open where it is what the figures alone would choose, `usual`.
    On a plateau, what filled its last rounds is not open, and the best trial that was not kept is a parent too.
    """
    history = knowledge.history
    champion = history.champion
    assert champion is not None, "the baseline comes first"
    parents = [champion.number]
    worn: tuple[object, object] | None = None
    words = ""
    if history.rounds_since_keep >= PLATEAU_ROUNDS:
        parents += _beaten(champion.number, knowledge)
        recent = [t.idea for t in history.last_measured(PLATEAU_ROUNDS)]
        most = Counter((idea.mode, idea.axis) for idea in recent).most_common(1)
        if most:
            worn = most[0][0]
            words = (
                f"PLATEAU: no keep for {history.rounds_since_keep} rounds. Most of the last ones were {worn[0]} on "
                f"{worn[1]}, so that is closed for now."
            )
    found: dict[tuple[Mode, int, Axis], list[Idea]] = {}
    for parent in parents:
        for idea in moves(parent, number, knowledge):
            found.setdefault((idea.mode, parent, idea.axis), []).append(idea)
        for axis in AXES:  # where the playbook has nothing left, an idea of one's own may
            found.setdefault(("explore", parent, axis), [])  # type: ignore[arg-type]
        found.setdefault(("simplify", parent, "-"), [])
    options = [
        Option(mode, parent, axis, ideas=tuple(ideas))
        for (mode, parent, axis), ideas in found.items()
        if (mode, axis) != worn
    ]
    anew = [
        Option(idea.mode, idea.parent, idea.axis, changes=changes_of(idea), ideas=(idea,))
        for idea in start_moves(number, knowledge)
        if idea.parent is not None
    ]
    if usual is not None and usual.changes and usual.parent is not None:
        chosen = Option(usual.mode, usual.parent, usual.axis, usual.also_from, usual.changes)
        if chosen.key not in [option.key for option in anew]:
            options.insert(0, chosen)
    return [*options[: MAX_OPTIONS - len(anew)], *anew], words


def _beaten(champion: int, knowledge: Knowledge) -> list[int]:
    """Return the best trial that lost to the champion by no more than its interval, if any."""
    since = takewhile(lambda t: t.number != champion, reversed(knowledge.history.trials.values()))
    close = [t.number for t in since if t.champion == champion and t.gain_high is not None and t.gain_high > 0][::-1]
    return sorted(close, key=lambda n: -(knowledge.history.decided_gain(n) or 0.0))[:1]


def _numbered(options: Sequence[Option], usual: Plan | None, knowledge: Knowledge) -> Iterator[str]:
    crowding: dict[object, str] = {}
    for i, option in enumerate(options, start=1):
        axis = f" {option.axis} ({AXES[option.axis]})" if option.axis in AXES else ""
        joined = f" in one step ({', '.join(option.changes)})" if option.changes else ""
        parts = [f"{i}. {option.mode}{axis} of trial {option.parent}{joined}: {_prospect(option, knowledge)}"]
        if option.ideas:
            kind = (option.mode, option.axis)  # its text does not hang on the parent
            if kind not in crowding:
                near = [knowledge.crowding_before(idea).text or 0.0 for idea in option.ideas[:MEASURED_MOVES]]
                crowding[kind] = _shown(sum(near) / len(near))
            parts.append(f"crowding {crowding[kind]}")
        if usual is not None and option.key == (usual.mode, usual.parent, usual.axis, usual.changes):
            parts.append("what the figures alone would choose")
        yield "; ".join(parts)


def _prospect(option: Option, knowledge: Knowledge) -> str:
    """Return what an option promises: known techniques with their evidence, and what its axis gained in this run."""
    known = [knowledge.techniques[t] for idea in option.ideas for t in idea.techniques if t in knowledge.techniques]
    words = "an idea of one's own"
    if option.changes and any(technique.start for technique in known):
        first = next(technique for technique in known if technique.start)
        words = f"leave the seed's file for that of {first.title}; {first.expect}"
    elif option.changes:
        words = "several changes that should add up"
    elif option.mode == "simplify":
        words = "take something out; at no difference the simpler file wins"
    elif option.mode == "ablate":
        words = f"{len(option.ideas)} earlier additions can be taken out"
    elif known:
        best = max(technique.evidence for technique in known)
        names = dict.fromkeys(technique.id for technique in known)
        words = f"{len(names)} known techniques open, the best {EVIDENCE_WORDS[best]}"
    shown = "; gains here {mean:+.4f} on average of {n}, best {best:+.4f}"
    return words + gains_text(knowledge.history, option.axis, shown)


def _least_tried(number: int, options: Sequence[Option], knowledge: Knowledge) -> Plan:
    """Return a plan where neither the model nor the playbook has one: an idea of one's own on the least tried axis."""
    counts = Counter(trial.idea.axis for trial in knowledge.history.trials.values())
    option = min((o for o in options if o.mode == "explore"), key=lambda o: counts[o.axis])
    why = "the playbook has nothing left; the axis with the fewest trials"
    return Plan(number=number, mode="explore", parent=option.parent, axis=option.axis, why=why)


@functools.cache
def _choice_of(n: int) -> type[StrategistAnswer]:
    """Return the schema of an answer that names one of `n` lines; another number is a fault that the model is told."""
    numbers: Any = Literal[tuple(range(1, n + 1))]
    return create_model(
        "StrategistAnswer", __base__=StrategistAnswer, __doc__=StrategistAnswer.__doc__, option=(numbers, ...)
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MAX_WHY]


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
