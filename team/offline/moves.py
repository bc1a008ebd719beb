"""The moves that the playbook offers from a given parent: what the scout can propose and the strategist can weigh.

A move is an idea without a decision behind it. What was tried from the same parent's lineage, or did not run at all, is
no move, though it may be a part of several made together; what is merely similar to it is left to crowding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from memory.edits import EditError, apply_edits
from memory.history import changes_of
from memory.records import Idea
from memory.tried import signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memory.knowledge import Knowledge
    from memory.records import Mode
    from memory.techniques import Technique
    from memory.tried import Signature


@dataclass(frozen=True)
class _Step:
    """A single move from one file, whichever trial makes it.

    Attributes:
        idea: What it is; its number says nothing.
        mark: See `memory.tried.signature`.
        turns: Name, value and present value of the constant that it turns.
    """

    idea: Idea
    mark: Signature
    turns: tuple[str, object, object] | None


# By parent, of late: its file never changes, nor what the literature offers there.
_STEPS: WeakKeyDictionary[Knowledge, dict[int, tuple[_Step, ...]]] = WeakKeyDictionary()
# What was found last: strategist and scout of one round ask the same.
_MOVES: WeakKeyDictionary[Knowledge, dict[tuple[int, int, int, bool], tuple[Idea, ...]]] = WeakKeyDictionary()
_N_FOUND = 32


def moves(parent: int, number: int, knowledge: Knowledge) -> tuple[Idea, ...]:
    """Return the single moves from trial `parent` that were not tried there, each as the idea of trial `number`.

    What another trial is trying now is among them, to be joined with others; alone it is a repeat. What was tried on an
    ancestor counts as tried there, and what did not run counts everywhere.
    """
    return _found(parent, number, knowledge, untried=True)


def steps(parent: int, number: int, knowledge: Knowledge) -> tuple[Idea, ...]:
    """Return all single moves from trial `parent`, tried there or not, each as the idea of trial `number`.

    Nothing is taken out where that leads back to a file that was trained, and no constant is turned as far as it was
    turned in vain.
    """
    return _found(parent, number, knowledge, untried=False)


def _found(parent: int, number: int, knowledge: Knowledge, *, untried: bool) -> tuple[Idea, ...]:
    found = _MOVES.setdefault(knowledge, {})
    key = (knowledge.history.n_entries, parent, number, untried)
    if key not in found:
        if len(found) >= _N_FOUND:
            found.clear()
        found[key] = tuple(_find(parent, number, knowledge, untried=untried))
    return found[key]


def _find(parent: int, number: int, knowledge: Knowledge, *, untried: bool) -> Iterator[Idea]:
    tried, lineage = knowledge.history.tried, knowledge.history.lineage(parent)
    present = set(knowledge.history.changes_in(parent))
    closed = tried.steps_from(lineage) if untried else ()
    lost: dict[str, list[int | float]] = {}
    for step in _steps_from(parent, knowledge):
        if step.mark in closed:
            continue
        if step.turns is not None:
            name, value, now = step.turns
            if name not in lost:
                lost[name] = tried.lost_values(name, lineage)
            if _bracketed(value, now, lost[name]):
                continue
        if step.idea.removed and tried.is_file(present - {*step.idea.removed}):
            continue
        yield step.idea.model_copy(update={"number": number})


def _steps_from(parent: int, knowledge: Knowledge) -> tuple[_Step, ...]:
    known = _STEPS.setdefault(knowledge, {})
    if parent not in known:
        if len(known) >= _N_FOUND:
            known.clear()
        present = set(knowledge.history.changes_in(parent))
        known[parent] = (
            *(_Step(idea, signature(idea), None) for idea in _explore(parent, present, knowledge)),
            *_refine(parent, knowledge),
            *(_Step(idea, signature(idea), None) for idea in _ablate(parent, knowledge)),
        )
    return known[parent]


def start_moves(number: int, knowledge: Knowledge) -> tuple[Idea, ...]:
    """Return, for each starting point that no trial began from, the idea of beginning anew from it.

    It takes along those of the champion's techniques that the start's file has room for; knobs stay the start's own.
    """
    history = knowledge.history
    champion = history.champion
    starts = [technique for technique in knowledge.techniques.values() if technique.start]
    flying = {name for idea in history.beside(number) for name in idea.techniques}
    starts = [start for start in starts if start.id not in history.tried.began and start.id not in flying]
    if champion is None or not starts:
        return ()
    held = [
        knowledge.techniques[name] for name in history.techniques_in(champion.number) if name in knowledge.techniques
    ]
    found = []
    for start in starts:
        source, taken = start.start, [start]
        for technique in held:
            if technique.knob is not None or technique.start or not applicable(technique, {t.id for t in taken}):
                continue
            try:
                source = apply_edits(source, technique.edits)
            except EditError:  # it fits the start, and not beside another that was taken along
                continue
            taken.append(technique)
        found.append(
            Idea(
                number=number,
                mode="explore",
                axis=start.axis,
                title=" + ".join([f"Anew from {start.title}", *(technique.title for technique in taken[1:])]),
                hypothesis=f"{start.description} {start.expect}",
                techniques=tuple(technique.id for technique in taken),
                source="; ".join(dict.fromkeys(technique.source for technique in taken)),
                parent=history.lineage(champion.number)[0],
            )
        )
    return tuple(found)


def join(ideas: Sequence[Idea], knowledge: Knowledge) -> Idea:
    """Return one idea that makes the changes of several single moves from the same parent, additions or removals.

    It explores where one of its additions was never tried; where all were, it combines, and names the trials that did.
    Removals simplify.
    """
    first = ideas[0]
    made = knowledge.history.tried.first_with
    seen = [] if first.removed else [made.get(changes_of(idea)[-1]) for idea in ideas]
    mode: Mode = "simplify" if first.removed else "explore" if None in seen else "combine"
    knobs: dict[str, object] = {}
    for idea in ideas:
        knobs |= idea.knobs
    return first.model_copy(
        update={
            "mode": mode,
            "title": " + ".join(idea.title for idea in ideas),
            "hypothesis": " ".join(idea.hypothesis for idea in ideas),
            "techniques": tuple(name for idea in ideas for name in idea.techniques),
            "removed": tuple(name for idea in ideas for name in idea.removed),
            "knobs": knobs,
            "source": "; ".join(dict.fromkeys(idea.source for idea in ideas)),
            "also_from": tuple(dict.fromkeys(n for n in seen if n is not None)) if mode == "combine" else (),
        }
    )


def stand_together(ideas: Sequence[Idea], present: set[str], techniques: Mapping[str, Technique]) -> bool:
    """Say whether the additions of several moves fit into one file that holds the changes of `present`."""
    names = [name for idea in ideas for name in idea.techniques]
    if len(set(names)) < len(names):
        return False
    joined = present | set(names)
    return all(applicable(techniques[name], joined - {name}) for name in names if techniques[name].knob is None)


def applicable(technique: Technique, present: set[str]) -> bool:
    """Say whether a technique can be added to a file that holds those of `present`."""
    if technique.id in present or not set(technique.requires) <= present:
        return False
    return not set(technique.conflicts) & present  # `load_playbook` makes conflicts symmetric


def _explore(parent: int, present: set[str], knowledge: Knowledge) -> Iterator[Idea]:
    for technique in knowledge.techniques.values():
        if technique.knob is None and not technique.start and applicable(technique, present):
            yield Idea(
                number=parent,
                mode="explore",
                axis=technique.axis,
                title=technique.title,
                hypothesis=f"{technique.description} {technique.expect}",
                techniques=(technique.id,),
                source=technique.source,
                parent=parent,
            )


def _refine(parent: int, knowledge: Knowledge) -> Iterator[_Step]:
    values = knowledge.knob_values(parent)
    for technique in knowledge.techniques.values():
        if technique.knob is None or technique.knob.name not in values:
            continue
        name, now = technique.knob.name, values[technique.knob.name]
        for value in technique.knob.values:
            if value != now:
                idea = Idea(
                    number=parent,
                    mode="refine",
                    axis=technique.axis,
                    title=f"{technique.title}: {name} {_shown(now)} to {_shown(value)}",
                    hypothesis=f"{technique.description} {technique.expect}",
                    techniques=(technique.id,),
                    knobs={name: value},
                    source=technique.source,
                    parent=parent,
                )
                yield _Step(idea, signature(idea), (name, value, now))


def _ablate(parent: int, knowledge: Knowledge) -> Iterator[Idea]:
    """Take out one technique that the parent holds: does it still carry its weight beside the others?"""
    present = [t for t in knowledge.history.changes_in(parent) if t in knowledge.techniques]
    for name in present:
        technique = knowledge.techniques[name]
        needed = any(name in knowledge.techniques[other].requires for other in present)
        if technique.knob is None and not technique.start and not needed:
            yield Idea(
                number=parent,
                mode="ablate",
                axis=technique.axis,
                title=f"without {technique.title}",
                hypothesis="later changes may have made it superfluous; at no difference the simpler file wins",
                removed=(name,),
                source=technique.source,
                parent=parent,
            )


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bracketed(value: object, now: object, lost: Sequence[int | float]) -> bool:
    """Say whether a knob was already turned this way on this ground, less far or as far, and lost."""
    if not isinstance(value, int | float) or not isinstance(now, int | float):
        return False
    return any(now < tried <= value or value <= tried < now for tried in lost)
