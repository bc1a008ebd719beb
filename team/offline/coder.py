"""The coder without a model: it applies the playbook's tested edits to the parent's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph.roles import RoleError
from memory.edits import EditError, apply_edits, inverse, set_knob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory.edits import Edit
    from memory.knowledge import Knowledge
    from memory.records import Idea


class PlaybookCoder:
    """Applies edits; it has one way to code an idea, so a file that failed is not tried again."""

    def edit(self, idea: Idea, knowledge: Knowledge, feedback: str) -> str:
        """Return the parent's train.py with the idea's techniques, knobs and removals applied.

        Raises:
            RoleError: There was feedback, an edit does not fit the file, or there is none; the message names which.
        """
        if feedback:
            raise RoleError(f"the playbook has no other edit for {idea.title!r}")
        if idea.parent is None:
            return knowledge.seed_train_py
        if idea.mode != "replicate" and not (idea.techniques or idea.removed or idea.knobs):
            raise RoleError(
                "the offline team makes no code of words alone: give the idea a technique, a knob or an edit, "
                "or set a model"
            )
        source = knowledge.source(idea.parent)
        for name in idea.removed:
            source = self._apply(source, name, [inverse(e) for e in reversed(knowledge.techniques[name].edits)])
        whole_file_first = sorted(idea.techniques, key=lambda name: not knowledge.techniques[name].start)
        for name in whole_file_first:
            technique = knowledge.techniques[name]
            if technique.knob is None:
                source = self._apply(source, name, technique.edits_for(source))
        turned = [set_knob(source, knob, value) for knob, value in idea.knobs.items()]
        return self._apply(source, ", ".join(idea.knobs), turned) if turned else source

    def _apply(self, source: str, name: str, edits: Sequence[Edit]) -> str:
        try:
            return apply_edits(source, edits)
        except EditError as error:
            raise RoleError(f"playbook edit {name!r} does not fit the file: {error}") from error
