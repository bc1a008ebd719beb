"""How long is waited: what endpoints ask for, in every form that they do, and bounds on all of it."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from team.model.retry import RetryPolicy, asked_seconds

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Fri, 01 May 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Fri, 01 May 2026 14:01:30 +0200"}, 90.0),
        ({"retry-after": "Fri, 01 May 2026 11:00:00 GMT"}, 0.0),  # past: at once
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_what_a_response_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_seconds(headers, NOW) == seconds


def test_waits_double_and_are_capped() -> None:
    policy, draw = RetryPolicy(first_wait_seconds=2, longest_wait_seconds=10), random.Random(0)
    for failures, most in ((1, 2), (2, 4), (3, 8), (4, 10), (60, 10)):
        drawn = [policy.wait_seconds(failures, None, draw) for _ in range(200)]
        assert most / 2 <= min(drawn) < most * 0.55
        assert most * 0.95 < max(drawn) <= most


def test_a_wait_that_was_asked_for_is_never_cut_short_below_the_cap() -> None:
    policy, draw = RetryPolicy(longest_asked_seconds=60), random.Random(0)
    assert all(20 <= policy.wait_seconds(1, 20.0, draw) <= 21 for _ in range(100))
    assert all(60 <= policy.wait_seconds(1, 1e6, draw) <= 61 for _ in range(100))
