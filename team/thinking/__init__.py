"""The team that thinks: the four roles played by language models, with the offline team behind each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph.roles import Team
from team.offline import offline_team
from team.thinking.coder import ModelCoder
from team.thinking.reviewer import ModelReviewer
from team.thinking.scout import ModelScout
from team.thinking.strategist import ModelStrategist

if TYPE_CHECKING:
    from team.model.settings import TeamSettings
    from team.thinking.desk import Desk

REPAIRS = 4  # a model, unlike the playbook, has another way to write a change


def model_team(settings: TeamSettings, desk: Desk) -> Team:
    """Return the team in which models play the roles that `settings` names, and the offline team the others."""
    offline = offline_team()
    models = {role: found.model for role, found in settings.roles.items()}
    return Team(
        name=", ".join(dict.fromkeys(models.values())),
        strategist=ModelStrategist(desk, offline.strategist) if "strategist" in models else offline.strategist,
        scout=ModelScout(desk, offline.scout, models["scout"]) if "scout" in models else offline.scout,
        coder=ModelCoder(desk, offline.coder) if "coder" in models else offline.coder,
        reviewer=ModelReviewer(desk, offline.reviewer) if "reviewer" in models else offline.reviewer,
        repairs=REPAIRS if "coder" in models else offline.repairs,
        players={str(role): name for role, name in models.items()},
        stand_ins=desk.stand_ins,
        spent=desk.spent,
    )
