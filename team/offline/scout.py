"""The literature scout without a model: it proposes what the playbook holds for the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph.roles import RoleError
from memory.history import changes_of
from memory.records import Idea
from team.offline.moves import join, moves, start_moves, steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graph.state import Plan
    from memory.knowledge import Knowledge

NAME = "offline scout"


class PlaybookScout:
    """Proposes the playbook's techniques for the plan's mode and axis."""

    def propose(self, plan: Plan, knowledge: Knowledge) -> Sequence[Idea]:
        """Return the moves that carry out the plan, in the playbook's order.

        Raises:
            RoleError: The playbook holds none.
        """
        if plan.mode == "baseline":
            seed = Idea(
                number=plan.number,
                mode="baseline",
                axis="-",
                title="seed",
                hypothesis="The seed as it is: what every idea is measured against.",
                source="the seed folder",
                proposed_by=NAME,
                why=plan.why,
            )
            return [seed]
        if plan.mode == "replicate":
            assert plan.parent is not None
            again = knowledge.history.trials[plan.parent].idea
            return [
                Idea(
                    number=plan.number,
                    mode="replicate",
                    axis="-",
                    title=f"again: {again.title}",
                    hypothesis="The same file with another seed: how much of a gain is luck?",
                    source=again.source,
                    parent=plan.parent,
                    also_from=(plan.parent,),
                    proposed_by=NAME,
                    why=plan.why,
                )
            ]
        assert plan.parent is not None
        open_now = moves(plan.parent, plan.number, knowledge)
        found = [i for i in open_now if i.mode == plan.mode and i.axis == plan.axis]
        if plan.changes:
            wanted = set(plan.changes)
            offered, adds = steps(plan.parent, plan.number, knowledge), plan.mode != "simplify"
            parts = [i for i in offered if (set(changes_of(i)) if adds else set(i.removed)) <= wanted]
            parts = [i for i in parts if bool(i.removed) != adds]
            found = [join(parts, knowledge)] if parts else []
            anew = [i for i in start_moves(plan.number, knowledge) if wanted == {*changes_of(i)}]
            found = anew or found
        if not found:
            raise RoleError(f"the playbook has nothing left to {plan.mode} on axis {plan.axis} of trial {plan.parent}")
        return [idea.model_copy(update={"proposed_by": NAME, "why": plan.why}) for idea in found]
