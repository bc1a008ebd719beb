"""The moves that the playbook offers from a given parent: what the scout can propose and the strategist can weigh.

A move is an idea without a decision behind it. What was tried from the same parent's lineage, or did not run at all, is
left out here; what is merely similar to it is left to crowding.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from memory.edits import knobs
from memory.records import Idea

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memory.knowledge import Knowledge
    from memory.records import TrialRecord
    from memory.techniques import Technique

MAX_COMBINED = 3  # promising trials that are joined two by two


def moves(parent: int, number: int, knowledge: Knowledge) -> tuple[Idea, ...]:
    """Return all moves from trial `parent`, each as the idea of trial `number`."""
    history = knowledge.history
    present = set(history.techniques_in(parent))
    tried = {
        _signature(trial.idea)
        for trial in history.trials.values()
        if _same_ground(trial, parent, knowledge) or trial.outcome in ("crashed", "rejected")
    }
    found = [
        *_explore(parent, number, present, knowledge),
        *_refine(parent, number, knowledge),
        *_combine(parent, number, present, knowledge),
        *_ablate(parent, number, knowledge),
    ]
    return tuple(idea for idea in found if _signature(idea) not in tried)


def applicable(technique: Technique, present: set[str], techniques: dict[str, Technique]) -> bool:
    """Say whether a technique can be added to a file that holds those of `present`."""
    if technique.id in present or not set(technique.requires) <= present:
        return False
    against = set(technique.conflicts) | {t.id for t in techniques.values() if technique.id in t.conflicts}
    return not against & present


def _explore(parent: int, number: int, present: set[str], knowledge: Knowledge) -> Iterator[Idea]:
    techniques = dict(knowledge.techniques)
    for technique in techniques.values():
        if technique.knob is None and applicable(technique, present, techniques):
            yield Idea(
                number=number,
                mode="explore",
                axis=technique.axis,
                title=technique.title,
                hypothesis=f"{technique.description} {technique.expect}",
                techniques=(technique.id,),
                source=technique.source,
                parent=parent,
            )


def _refine(parent: int, number: int, knowledge: Knowledge) -> Iterator[Idea]:
    values = knobs(knowledge.source(parent))
    for technique in knowledge.techniques.values():
        if technique.knob is None or technique.knob.name not in values:
            continue
        name, now = technique.knob.name, values[technique.knob.name]
        for value in technique.knob.values:
            if value != now and not _bracketed(name, value, now, parent, knowledge):
                yield Idea(
                    number=number,
                    mode="refine",
                    axis=technique.axis,
                    title=f"{technique.title}: {name} {_shown(now)} to {_shown(value)}",
                    hypothesis=f"{technique.description} {technique.expect}",
                    techniques=(technique.id,),
                    knobs={name: value},
                    source=technique.source,
                    parent=parent,
                )


def _combine(parent: int, number: int, present: set[str], knowledge: Knowledge) -> Iterator[Idea]:
    """Join the changes of two trials that looked good alone and are not in the parent."""
    history, techniques = knowledge.history, dict(knowledge.techniques)
    promising = [
        trial
        for trial in history.trials.values()
        if (history.decided_gain(trial.number) or 0) > 0
        and trial.idea.mode in ("explore", "refine")
        and history.outcome(trial.number) in ("discarded", "near-miss")
        and not set(trial.idea.techniques) & present
        and all(applicable(techniques[t], present, techniques) for t in trial.idea.techniques if t in techniques)
    ]
    promising.sort(key=lambda trial: -(trial.z or 0))
    for first, second in combinations(promising[:MAX_COMBINED], 2):
        joined = (*first.idea.techniques, *second.idea.techniques)
        clash = not all(applicable(techniques[t], present | set(joined) - {t}, techniques) for t in joined)
        if clash or len(set(joined)) < len(joined) or first.idea.knobs.keys() & second.idea.knobs.keys():
            continue
        yield Idea(
            number=number,
            mode="combine",
            axis=first.idea.axis,
            title=f"{first.idea.title} + {second.idea.title}",
            hypothesis=f"trials {first.number} and {second.number} both gained a little; their changes may add up",
            techniques=joined,
            knobs=first.idea.knobs | second.idea.knobs,
            source=f"{first.idea.source}; {second.idea.source}",
            parent=parent,
            also_from=(first.number, second.number),
        )


def _ablate(parent: int, number: int, knowledge: Knowledge) -> Iterator[Idea]:
    """Take out one technique that the parent holds: does it still carry its weight beside the others?"""
    present = [t for t in knowledge.history.techniques_in(parent) if t in knowledge.techniques]
    for name in present[:-1]:  # the last one was just decided on
        technique = knowledge.techniques[name]
        needed = any(name in knowledge.techniques[other].requires for other in present)
        if technique.knob is None and not needed:
            yield Idea(
                number=number,
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


def _bracketed(name: str, value: object, now: object, parent: int, knowledge: Knowledge) -> bool:
    """Say whether a knob was already turned this way on this ground, less far, and lost."""
    if not isinstance(value, int | float) or not isinstance(now, int | float):
        return False
    for trial in knowledge.history.trials.values():
        tried = trial.idea.knobs.get(name)
        if not isinstance(tried, int | float) or trial.gain is None or trial.gain > 0:
            continue
        same_way = now < tried <= value or value <= tried < now
        if same_way and _same_ground(trial, parent, knowledge):
            return True
    return False


def _same_ground(trial: TrialRecord, parent: int, knowledge: Knowledge) -> bool:
    """Say whether a trial started from `parent` or from a file on its lineage that holds the same techniques."""
    return trial.idea.parent is not None and (
        trial.idea.parent == parent or trial.idea.parent in knowledge.history.lineage(parent)
    )


def _signature(idea: Idea) -> tuple[object, ...]:
    knob_items = tuple(sorted((name, repr(value)) for name, value in idea.knobs.items()))
    return (frozenset(idea.techniques), frozenset(idea.removed), knob_items)
