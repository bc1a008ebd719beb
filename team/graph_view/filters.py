"""Which trials of a run are meant: by axis, outcome, mode, and since when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from graph.errors import RunError

if TYPE_CHECKING:
    from memory.history import History
    from memory.records import TrialRecord

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([mhd])")
_SPANS = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Filter:
    """What a trial must be to be listed; an empty field asks for nothing.

    Attributes:
        axes, outcomes, modes: One of these each.
        since: A trial's number, a span up to now (`90m`, `2h`, `3d`), or a moment in ISO 8601, by default in UTC.
    """

    axes: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    since: str = ""

    def choose(self, history: History) -> list[TrialRecord]:
        """Return the trials that pass, in the order recorded.

        Raises:
            RunError: `since` is neither a number nor a span nor a moment.
        """
        first, moment = self._beginning()
        return [
            trial
            for trial in history.trials.values()
            if (not self.axes or trial.idea.axis in self.axes)
            and (not self.modes or trial.idea.mode in self.modes)
            and (not self.outcomes or history.outcome(trial.number) in self.outcomes)
            and trial.number >= first
            and (moment is None or (trial.started_at != "" and datetime.fromisoformat(trial.started_at) >= moment))
        ]

    def _beginning(self) -> tuple[int, datetime | None]:
        if not self.since:
            return 0, None
        if self.since.isdecimal():
            return int(self.since), None
        if span := _SPAN.fullmatch(self.since):
            return 0, datetime.now(UTC) - timedelta(**{_SPANS[span[2]]: float(span[1])})
        try:
            moment = datetime.fromisoformat(self.since)
        except ValueError:
            raise RunError(
                f"--since {self.since!r} is no trial, span or moment: give 12, 90m, 2h, 3d, 2026-01-31 or "
                "2026-01-31T18:00"
            ) from None
        return 0, moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
