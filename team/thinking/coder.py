"""The coder with a model: the whole file and one idea in, exact edits out, with several turns to mend what fails.

An answer is applied by `memory.answers`, which never guesses. Where the model gives none that applies, the playbook's
tested edit stands in for it; an idea that has no such edit ends the round as rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph.roles import RoleError
from memory.answers import apply_answer
from memory.edits import Edit, EditError, apply_edits, format_edits, inverse, set_knob, unified_diff
from memory.starts import begins_anew
from team.model.access import ModelError, Turn
from team.thinking.prompts import render

if TYPE_CHECKING:
    from graph.roles import Coder
    from memory.knowledge import Knowledge
    from memory.records import Idea
    from team.thinking.desk import Desk

MAX_ANSWERS = 4  # to one question, before the offline coder takes the turn
SAME_AGAIN = "it makes the very file that cannot be trained: change what was wrong with it"
MAX_ANSWER_CHARACTERS, MAX_FEEDBACK, MAX_DIFF = 40_000, 6_000, 24_000


class ModelCoder:
    """Lets a model write the edit."""

    def __init__(self, desk: Desk, offline: Coder) -> None:
        self._desk = desk
        self._offline = offline

    def edit(self, idea: Idea, knowledge: Knowledge, feedback: str) -> str:
        """Return the parent's train.py with the idea carried out.

        Raises:
            RoleError: No answer applied, and the playbook has no edit for the idea, or the one that failed.
        """
        if idea.parent is None or idea.mode == "replicate" or begins_anew(idea.techniques, knowledge.techniques):
            return self._offline.edit(idea, knowledge, feedback)
        source = knowledge.source(idea.parent)
        turns = [
            Turn("system", render("coder.system", brief=knowledge.brief.strip())),
            Turn("user", _question(idea, source, knowledge)),
        ]
        failed = knowledge.source(idea.number) if feedback else None
        if failed is not None:
            diff = _bounded(unified_diff(source, failed), MAX_DIFF)
            turns.append(Turn("user", render("coder.feedback", diff=diff, feedback=_bounded(feedback, MAX_FEEDBACK))))
        why = ""
        repair: list[Turn] = []
        for _ in range(MAX_ANSWERS):
            try:
                answer = self._desk.text("coder", idea.number, [*turns, *repair])
            except ModelError as error:
                why = str(error)
                break
            try:
                after = apply_answer(source, answer)
                if after != failed:
                    return after
                if why == SAME_AGAIN:
                    break
                why = SAME_AGAIN
            except EditError as error:
                why = str(error)
            fault = render("coder.repair", fault=_bounded(why, MAX_FEEDBACK))
            repair = [Turn("assistant", _bounded(answer, MAX_ANSWER_CHARACTERS)), Turn("user", fault)]
        return self._stand_in(idea, knowledge, feedback, why.splitlines()[0] if why else "")

    def _stand_in(self, idea: Idea, knowledge: Knowledge, feedback: str, why: str) -> str:
        if not (idea.techniques or idea.removed or idea.knobs):
            self._desk.say(f"the coder's model made no edit, and nobody can stand in for an own idea: {why}")
            raise RoleError(f"no edit came of the idea: {why}")
        after = self._offline.edit(idea, knowledge, "")
        if feedback and after == knowledge.source(idea.number):
            raise RoleError(f"the playbook has no other edit for {idea.title!r}, and the coder's model none: {why}")
        self._desk.hand_over("coder", why)
        return after


def _question(idea: Idea, source: str, knowledge: Knowledge) -> str:
    return render(
        "coder.code",
        parent=idea.parent,
        source=source.rstrip("\n"),
        number=idea.number,
        title=idea.title,
        mode=idea.mode,
        axis=idea.axis,
        hypothesis=idea.hypothesis,
        origin=idea.source,
        tested=tested_edit(idea, source, knowledge),
    )


def tested_edit(idea: Idea, source: str, knowledge: Knowledge) -> str:
    """Return the playbook's edit for the idea, as blocks where they apply to `source`; empty where there is none."""
    try:
        edits = _edits_of(idea, source, knowledge)
        if not edits:
            return ""
        apply_edits(source, edits)
    except (EditError, KeyError):
        return ""  # an edit for another file than this, or two that touch: the model has to write its own
    return f"An edit that was tested for this idea; use it as it is, or better it:\n\n{format_edits(edits)}"


def _edits_of(idea: Idea, source: str, knowledge: Knowledge) -> list[Edit]:
    edits: list[Edit] = []
    for name in idea.removed:
        edits += [inverse(edit) for edit in reversed(knowledge.techniques[name].edits)]
    for name in idea.techniques:
        edits += knowledge.techniques[name].edits
    edits += [set_knob(source, knob, value) for knob, value in idea.knobs.items()]
    return edits


def _bounded(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    half = length // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"
