"""Which techniques of the literature a scout is shown: those open for the plan first, the nearest and untried ones.

A bounded number of lines, whatever the size of the playbook. It proposes nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from memory.edits import knobs
from memory.embedding import LocalEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graph.state import Plan
    from memory.knowledge import Knowledge
    from memory.records import Idea
    from memory.techniques import Technique

MAX_OPEN, MAX_CLOSED = 12, 4
EVIDENCE_SIGNS = {2: "++", 1: "+", 0: "0", -1: "?"}


def catalogue_text(plan: Plan, open_moves: Sequence[Idea], wish: str, knowledge: Knowledge) -> str:
    """Return the entries for a plan: at most MAX_OPEN that may be proposed, and a few near ones that may not, with why.

    Args:
        plan: The strategist's.
        open_moves: Known moves that carry it out.
        wish: What a person asked for, empty where nobody did.
        knowledge: The playbook and the history.
    """
    assert plan.parent is not None
    names = dict.fromkeys(name for move in open_moves for name in move.techniques)
    tried = knowledge.history.tried.last_with
    ranked = _by_relevance(f"{plan.why} {wish}", [knowledge.techniques[name] for name in names])
    ranked.sort(key=lambda technique: technique.id in tried)  # stable: untried first, each half by relevance
    values = knobs(knowledge.source(plan.parent))
    lines = [_entry(technique, "open", values) for technique in ranked[:MAX_OPEN]]
    held = set(knowledge.history.techniques_in(plan.parent))
    closed = [t for t in knowledge.techniques.values() if t.axis == plan.axis and t.id not in names]
    for technique in _by_relevance(plan.why, closed)[:MAX_CLOSED]:
        if technique.id in held:
            state = "in the file"
        elif technique.id in tried:
            state = f"tried in trial {tried[technique.id]}: {knowledge.history.outcome(tried[technique.id])}"
        else:
            state = "not for this plan"
        lines.append(_entry(technique, state, values))
    return "\n".join(lines) or "nothing in the catalogue is open for this plan"


def _entry(technique: Technique, state: str, values: dict[str, object]) -> str:
    parts = [
        f"- {technique.id} ({state}): {technique.title}; {technique.source}",
        f"evidence {EVIDENCE_SIGNS[technique.evidence]}",
        technique.expect,
    ]
    if technique.knob is not None:
        now = values.get(technique.knob.name)
        parts.append(f"knob {technique.knob.name}, now {now}, worth a trial: {list(technique.knob.values)}")
    if technique.time_factor != 1.0:
        parts.append(f"time per step x{technique.time_factor:g}")
    if technique.conflicts:
        parts.append(f"conflicts: {', '.join(technique.conflicts)}")
    return "; ".join(parts)


def _by_relevance(text: str, techniques: Sequence[Technique]) -> list[Technique]:
    """Return the techniques with the nearest to `text` first."""
    if len(techniques) < 2 or not text.strip():
        return list(techniques)
    (asked,) = LocalEmbedder()([text])
    near = np.stack([_vector(f"{t.title}. {t.description} {t.expect}") for t in techniques]) @ asked  # [n_techniques]
    return [techniques[i] for i in np.argsort(-near, kind="stable")]


@lru_cache(maxsize=512)
def _vector(text: str) -> np.ndarray:
    """Return the vector of a technique, of length 1, so that a product is a cosine."""
    return LocalEmbedder()([text])[0]
