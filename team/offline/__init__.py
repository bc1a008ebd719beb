"""The offline team: the four roles without a language model.

The scout reads the playbook, the coder applies its tested edits, strategist and reviewer are code. It is a searcher in
its own right, and the baseline that a language model must beat.
"""

from __future__ import annotations

from graph.roles import Team
from team.offline.coder import PlaybookCoder
from team.offline.reviewer import StaticReviewer
from team.offline.scout import PlaybookScout
from team.offline.strategist import OfflineStrategist


def offline_team() -> Team:
    """Return the team that needs no model, key or network."""
    return Team("offline", OfflineStrategist(), PlaybookScout(), PlaybookCoder(), StaticReviewer())
