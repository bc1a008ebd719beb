"""The requests for one answer: how often, how long, within which limits, and what each is counted as."""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from team.model.failure import MOST_ATTEMPTS, TRANSPORT, RequestError, Usage
from team.model.retry import RetryPolicy
from team.model.spend import SpendLine
from team.model.structured import schema_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from team.model.endpoint import Endpoint, Reply
    from team.model.scrub import Scrubber
    from team.model.settings import Method, RoleName, TeamSettings
    from team.model.spend import SpendBook
    from team.model.ways import Ways, WaysBook

BYTES_PER_TOKEN = 3  # a low count, so that an estimate is high: English and code have about 4
TOKENS_PER_TURN = 16
LARGEST_LIMIT = 1_000_000
# Settings that some models refuse, and the words by which their errors name them.
_OPTIONAL = {"temperature": ("temperature",), "effort": ("effort",)}


@dataclass(frozen=True)
class Turn:
    """One message of an exchange."""

    kind: Literal["system", "user", "assistant"]
    text: str


class ModelError(RuntimeError):
    """The model cannot take this turn; the message is one sentence without a secret, fit to be recorded."""


class SpendLimitError(ModelError):
    """The next call might pass --max-cost, --max-tokens or the hours of the run; the run should stop cleanly."""


class UnsupportedError(Exception):
    """The endpoint refuses a typed answer by this method; another may do."""


@dataclass
class Bounds:
    """What all exchanges of a run share.

    Attributes:
        settings: The run's limits.
        spend: Where requests are counted.
        ways: What endpoints take.
        scrubber: Takes keys out of what is sent and said.
        sleep: Waits between attempts; where it returns True, the run is being stopped.
        listen: Told of every wait and every other way that is tried.
        seconds_left: How much of the run's hours is left.
        cancel: Set where the run is being stopped.
        policy: How often and how long is tried.
        draw: Of the jitter.
        aside: Entered while a request or a wait is under way, so that others can work meanwhile.
        down: Endpoints whose last exchange ended without an answer: they get one attempt until they answer again.
    """

    settings: TeamSettings
    spend: SpendBook
    ways: WaysBook
    scrubber: Scrubber
    sleep: Callable[[float], object]
    listen: Callable[[str], None] = lambda text: None
    seconds_left: Callable[[], float] = lambda: math.inf
    cancel: threading.Event = field(default_factory=threading.Event)
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    draw: random.Random = field(default_factory=random.Random)
    aside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    down: set[str] = field(default_factory=set)


class Exchange:
    """Gets one answer for a role, in one turn or more.

    Args:
        endpoint: The role's model.
        bounds: What it may take.
        role: Who asks.
        trial: The trial that it is for.
    """

    def __init__(self, endpoint: Endpoint, bounds: Bounds, role: RoleName, trial: int) -> None:
        self.endpoint = endpoint
        self._bounds = bounds
        self._role: RoleName = role
        self._trial = trial
        self._attempts = 0  # since the last line of the spend book
        self._began = time.monotonic()
        self._taken_seconds = 0.0  # by requests and waits, also where a test's waits take no time

    @property
    def ways(self) -> Ways:
        """What is known of the endpoint."""
        return self._bounds.ways.known(self.endpoint.id, self.endpoint.first_ways)

    def keep(self, **found: Any) -> None:
        """Keep what was found out about the endpoint."""
        self._bounds.ways.keep(self.endpoint.id, self.ways, **found)

    def ask(self, turns: Sequence[Turn], schema: type[BaseModel] | None = None, method: Method | None = None) -> Reply:
        """Return a reply with text, after as many attempts as the policy allows; `count` must be told what it was.

        Raises:
            ModelError: No attempt had a usable answer.
            SpendLimitError: The next attempt could pass a limit.
            UnsupportedError: The endpoint does not take a typed answer by this method.
        """
        turns = [Turn(turn.kind, self._bounds.scrubber.clean(turn.text)) for turn in turns]
        attempts = 1 if self.endpoint.id in self._bounds.down else self._bounds.policy.attempts
        failures: dict[str, int] = {}
        limit = self.endpoint.role.max_output_tokens
        while True:
            prompt_tokens = most_tokens(turns, schema)
            timeout = self._check_limits(prompt_tokens, limit)
            began = time.monotonic()
            self._attempts += 1
            try:
                ways = self.ways
                with self._bounds.aside():
                    reply = self.endpoint.ask(turns, ways, limit, timeout, schema, method)
            except RequestError as error:
                fault = error
            else:
                self._taken_seconds += time.monotonic() - began
                self._bounds.down.discard(self.endpoint.id)
                return reply
            self._taken_seconds += time.monotonic() - began
            self._count_fault(fault, turns, prompt_tokens, limit)
            if fault.kind == "request" and self._leave_out(fault):
                continue
            failures[fault.kind] = failures.get(fault.kind, 0) + 1
            total = sum(failures.values())
            most = MOST_ATTEMPTS.get(fault.kind, attempts)
            if not fault.retried or total >= attempts or failures[fault.kind] >= most:
                self._give_up(fault, total, schema)
            if fault.kind == "truncated":
                limit = min(2 * limit, LARGEST_LIMIT)
            self._wait(fault, total, schema)

    def count(self, outcome: str, turns: Sequence[Turn], reply: Reply) -> None:
        """Write what a reply has used into the spend book."""
        self._write_usage(outcome, reply.usage, turns, reply.text)

    def _check_limits(self, prompt_tokens: int, limit: int) -> float:
        """Return how long the next request may take.

        Raises:
            SpendLimitError: It could pass a limit.
        """
        settings = self._bounds.settings
        passed = self._bounds.spend.claim(
            self,
            prompt_tokens + limit,
            self._most_usd(prompt_tokens, limit),
            max_tokens=settings.max_tokens,
            max_cost=settings.max_cost,
        )
        left = self._bounds.seconds_left()
        if passed or left <= 0:
            self._flush("limit")
            raise SpendLimitError(passed or "the hours of the run are over")
        return min(self.endpoint.role.timeout_seconds, left)

    def _most_usd(self, prompt_tokens: int, limit: int) -> float | None:
        """Return what a request costs at most: nothing cached, and the whole limit used."""
        role = self.endpoint.role
        as_fresh, as_cached = role.usd(prompt_tokens, 0, limit), role.usd(prompt_tokens, prompt_tokens, limit)
        return None if as_fresh is None or as_cached is None else max(as_fresh, as_cached)

    def _count_fault(self, fault: RequestError, turns: Sequence[Turn], prompt_tokens: int, limit: int) -> None:
        if fault.usage is not None or fault.kind in MOST_ATTEMPTS:  # an answer came, whether it was counted or not
            self._write_usage(fault.kind, fault.usage, turns, "")
        elif fault.may_have_cost:
            usd = self._most_usd(prompt_tokens, limit)
            self._write(fault.kind, unconfirmed_tokens=prompt_tokens + limit, unconfirmed_usd=usd or 0.0)

    def _leave_out(self, fault: RequestError) -> bool:
        """Return whether the request was refused for a setting that can be left out, or be named otherwise."""
        ways, words = self.ways, fault.sentence.lower()
        if ways.limit_field == "max_tokens" and "max_completion_tokens" in words:
            self.keep(limit_field="max_completion_tokens")
            return True
        for setting, names in _OPTIONAL.items():
            sent = getattr(self.endpoint.role, setting) is not None and setting not in ways.without
            if sent and any(name in words for name in names):
                self.keep(without=(*ways.without, setting))
                self._bounds.listen(f"{self.endpoint.where} does not take {setting} for this model: it is left out")
                return True
        return False

    def _give_up(self, fault: RequestError, attempts: int, schema: type[BaseModel] | None) -> NoReturn:
        self._flush(fault.kind)
        if fault.kind in TRANSPORT:
            self._bounds.down.add(self.endpoint.id)
        # Some servers fail at a schema that they do not know instead of refusing it.
        if schema is not None and (fault.kind == "request" or (fault.kind == "server" and not self.ways.structured)):
            raise UnsupportedError(fault.sentence)
        mend = ""
        if fault.kind == "truncated":
            mend = f": raise max_output_tokens above {self.endpoint.role.max_output_tokens} in team.toml"
        tried = f", {attempts} attempts" if attempts > 1 else ""
        raise ModelError(f"{self._role}: {fault.sentence}{mend}{tried}")

    def _wait(self, fault: RequestError, failures: int, schema: type[BaseModel] | None) -> None:
        """Wait before the next attempt.

        Raises:
            ModelError: The time for this answer is over, or the run is being stopped.
            SpendLimitError: The hours would be over.
        """
        bounds = self._bounds
        seconds = bounds.policy.wait_seconds(failures, fault.asked_seconds, bounds.draw)
        if self._taken_seconds + seconds > bounds.policy.total_seconds:
            self._give_up(fault, failures, schema)
        if seconds >= bounds.seconds_left():
            self._flush("limit")
            raise SpendLimitError(f"the hours of the run end before {self.endpoint.where} can be asked again")
        bounds.listen(f"{self._role}: {fault.sentence}; attempt {failures + 1} in {seconds:.1f} s")
        self._taken_seconds += seconds
        with bounds.aside():
            stopped = bounds.sleep(seconds) is True
        if stopped or bounds.cancel.is_set():
            self._flush("stopped")
            raise ModelError(f"{self._role}: the run is being stopped")

    def _write_usage(self, outcome: str, usage: Usage | None, turns: Sequence[Turn], text: str) -> None:
        counted = usage is not None
        if usage is None:
            usage = Usage(most_tokens(turns, None), 0, len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)
        usd = self.endpoint.role.usd(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
        self._write(outcome, **asdict(usage), usd=usd, estimated=not counted)

    def _flush(self, outcome: str) -> None:
        """Count requests that used nothing, where an exchange ends with them."""
        if self._attempts:
            self._write(outcome)

    def _write(self, outcome: str, **used: Any) -> None:
        line = SpendLine(
            role=self._role,
            trial=self._trial,
            model=self.endpoint.role.model,
            seconds=round(time.monotonic() - self._began, 3),
            attempts=self._attempts,
            outcome=outcome,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            **used,
        )
        self._bounds.spend.add(line, claimed_by=self)
        self._attempts, self._began = 0, time.monotonic()


def most_tokens(turns: Sequence[Turn], schema: type[BaseModel] | None) -> int:
    """Return a high estimate of a prompt's tokens."""
    n_bytes = sum(len(turn.text.encode("utf-8", "replace")) for turn in turns)
    if schema is not None:
        n_bytes += schema_bytes(schema)
    return n_bytes // BYTES_PER_TOKEN + TOKENS_PER_TURN * (len(turns) + 1)
