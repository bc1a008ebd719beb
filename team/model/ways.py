"""What endpoints take, found out once and kept in `endpoints.json`, so that a resumed run does not ask again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from graph.run_folder import write_atomically
from team.model.settings import Method

if TYPE_CHECKING:
    from pathlib import Path

WAYS_FILE = "endpoints.json"


@dataclass(frozen=True)
class Ways:
    """What one model at one address takes.

    Attributes:
        structured: The way of typed answers that worked, None while none has.
        limit_field: The name under which it takes the limit of an answer's tokens.
        without: Settings that it refused, so that they are left out: `temperature`, `effort`.
    """

    structured: Method | None = None
    limit_field: str = "max_completion_tokens"
    without: tuple[str, ...] = ()


_WAYS = TypeAdapter(dict[str, Ways])


class WaysBook:
    """Knows the ways of every endpoint of a run.

    Args:
        run_folder: Where `endpoints.json` lies; one that cannot be read is found out again.
    """

    def __init__(self, run_folder: Path) -> None:
        self._path = run_folder / WAYS_FILE
        try:
            self._ways = _WAYS.validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            self._ways = {}

    def known(self, endpoint: str, otherwise: Ways) -> Ways:
        """Return what is known of an endpoint, `otherwise` where nothing is."""
        return self._ways.get(endpoint, otherwise)

    def keep(self, endpoint: str, before: Ways, **found: Any) -> None:
        """Keep what was found out beside what was known before."""
        ways = replace(before, **found)
        if self._ways.get(endpoint) != ways:
            self._ways[endpoint] = ways
            held = {name: asdict(known) for name, known in self._ways.items()}
            write_atomically(self._path, json.dumps(held, indent=1, ensure_ascii=False) + "\n")
