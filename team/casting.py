"""Who plays the roles of a run: from options and the run's own team.toml to a team, opened before a round begins.

A run keeps the settings of its team without a key in `team.toml`, so that `team resume` needs no option.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from graph.run_folder import write_atomically
from team.model.settings import TEAM_FILE, TeamSettings, load_team_settings, read_key
from team.offline import offline_team

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from graph.roles import Team
    from graph.run_folder import RunConfig, RunFolder


@dataclass(frozen=True)
class TeamOptions:
    """What the command line says of the team; None leaves it to team.toml, or to the run that is resumed."""

    model: str | None = None
    base_url: str | None = None
    team_file: Path | None = None
    max_cost: float | None = None
    max_tokens: int | None = None


def settle_team(options: TeamOptions, folder: RunFolder | None = None) -> TeamSettings:
    """Return the settings of a team, with its keys found to be there.

    Args:
        options: Of the command line.
        folder: The run that is resumed, None for a new one.

    Raises:
        SettingsError: They cannot be used, or a key is missing; nothing was made or spent.
    """
    path = options.team_file
    if folder is not None and (options.model, options.base_url, options.team_file) == (None, None, None):
        path = folder.path / TEAM_FILE
        if not path.exists():  # the offline team's run, whatever ./team.toml says
            return TeamSettings()
    settings = load_team_settings(path, options.model, options.base_url, options.max_cost, options.max_tokens)
    for role in settings.roles.values():
        read_key(role)
    return settings


def keep_team(settings: TeamSettings, folder: RunFolder) -> None:
    """Write the settings into the run, in the form of a team.toml."""
    prices: dict[str, dict[str, float]] = {}
    roles: dict[str, dict[str, Any]] = {}
    for name, role in settings.roles.items():
        held = role.model_dump(exclude_none=True)
        price = {key: held.pop(f"price_{key}") for key in ("in", "out", "cached_in") if f"price_{key}" in held}
        roles[name] = held
        if price:
            prices[role.model] = price
    tables = {"roles": roles, "prices": prices, "limits": settings.model_dump(include={"max_cost", "max_tokens"})}
    tables["limits"] = {key: value for key, value in tables["limits"].items() if value is not None}
    write_atomically(folder.path / TEAM_FILE, tomli_w.dumps({name: table for name, table in tables.items() if table}))


def open_team(
    settings: TeamSettings,
    folder: RunFolder,
    config: RunConfig,
    listen: Callable[[str], None],
    cancel: threading.Event,
    aside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> Team:
    """Return the team that plays a run.

    Args:
        settings: Of `settle_team`.
        folder: The run.
        config: The run's; its hours bound the models too, from now on.
        listen: Told in one line of every wait for a model.
        cancel: Set where a person stops the run.
        aside: Entered while a model is asked, so that other rounds can work meanwhile.

    Raises:
        SettingsError: A key or a package is missing.
        SpendError: The run's spend file is damaged.
    """
    if not settings.roles:
        return offline_team()
    from team.model.access import ModelAccess
    from team.model.spend import SpendBook
    from team.thinking import model_team
    from team.thinking.desk import Desk

    until = float("inf") if config.hours is None else time.monotonic() + 3600 * config.hours
    access = ModelAccess(
        settings,
        SpendBook(folder.path),
        listen=listen,
        seconds_left=lambda: until - time.monotonic(),
        cancel=cancel,
        aside=aside,
    )
    return model_team(settings, Desk(access, folder, cancel))
