"""How long to wait before another attempt, and how often: backoff with jitter, bounded in number and in time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping


@dataclass(frozen=True)
class RetryPolicy:
    """Bounds of one exchange.

    Attributes:
        attempts: Requests for one answer, the first among them.
        first_wait_seconds: Before the second attempt; it doubles from there.
        longest_wait_seconds: Of a wait that the endpoint did not ask for.
        longest_asked_seconds: Of a wait that the endpoint asked for with Retry-After.
        total_seconds: Of all attempts and waits for one answer.
    """

    attempts: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 30.0
    longest_asked_seconds: float = 120.0
    total_seconds: float = 900.0

    def wait_seconds(self, failures: int, asked_seconds: float | None, draw: random.Random) -> float:
        """Return how long to wait after `failures` attempts.

        Half of a wait is drawn at random, so that several runs do not knock together (Brooker 2015, AWS Architecture
        Blog, "Exponential backoff and jitter").
        """
        own = min(self.longest_wait_seconds, self.first_wait_seconds * 2 ** (failures - 1))
        if asked_seconds is not None:
            # Never before the time that was asked for, up to the cap.
            return min(self.longest_asked_seconds, asked_seconds) + draw.uniform(0, min(1.0, own / 2))
        return own * draw.uniform(0.5, 1.0)


def asked_seconds(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the wait that a response asks for in `retry-after-ms` or `Retry-After`, None where it asks for none.

    Args:
        headers: Of the response; names in lower case, or a mapping that does not distinguish case.
        now: To count a date from; the present where None.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
