"""Access to language models: one bounded exchange a turn, typed or free, counted, and never a reason for a run to die.

It holds no prompt and knows no role's business; it hands on what a model said, or raises `ModelError`.
"""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from team.model.endpoint import Endpoint
from team.model.exchange import Bounds, Exchange, ModelError, SpendLimitError, Turn, UnsupportedError
from team.model.retry import RetryPolicy
from team.model.scrub import Scrubber
from team.model.settings import RoleName, read_key
from team.model.structured import AnswerError, read_answer
from team.model.ways import WaysBook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from team.model.settings import Method, TeamSettings
    from team.model.spend import SpendBook

__all__ = ["ModelAccess", "ModelError", "RoleName", "SpendLimitError", "Turn"]

T = TypeVar("T", bound=BaseModel)

_MAX_QUOTED_CHARS = 4000


class ModelAccess:
    """Reaches the models that play the roles.

    Args:
        settings: Who plays which role.
        spend: Where calls are counted; beside it lies `endpoints.json`, what was found out about endpoints.
        sleep: Waits between attempts; `cancel.wait` where it is left out.
        listen: Told in one line of every wait and every other way that is tried.
        seconds_left: How much of the run's hours is left.
        cancel: Set where the run is being stopped; a call under way is then given up.
        policy: How often and how long is tried.
        aside: Entered while a request or a wait is under way, so that others can work meanwhile.

    Raises:
        SettingsError: A key or a package is missing; nothing was spent.
    """

    def __init__(
        self,
        settings: TeamSettings,
        spend: SpendBook,
        *,
        sleep: Callable[[float], object] | None = None,
        listen: Callable[[str], None] = lambda text: None,
        seconds_left: Callable[[], float] = lambda: math.inf,
        cancel: threading.Event | None = None,
        policy: RetryPolicy | None = None,
        aside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self.settings = settings
        self.spend = spend
        cancel = cancel or threading.Event()
        keys = {role: read_key(held) for role, held in settings.roles.items()}
        self._scrubber = Scrubber(keys.values())
        self._endpoints = {
            role: Endpoint(held, keys[role], self._scrubber, cancel) for role, held in settings.roles.items()
        }
        self._bounds = Bounds(
            settings=settings,
            spend=spend,
            ways=WaysBook(spend.path.parent),
            scrubber=self._scrubber,
            sleep=sleep or cancel.wait,
            listen=listen,
            seconds_left=seconds_left,
            cancel=cancel,
            policy=policy or RetryPolicy(),
            aside=aside,
        )

    def answer(self, role: RoleName, trial: int, turns: Sequence[Turn], schema: type[T]) -> T:
        """Return a typed answer; one corrective turn tells the model what did not fit.

        Args:
            role: Who asks.
            trial: The trial that it is for.
            turns: The exchange so far; what is the same in every call comes first, so that providers' caches hit.
            schema: What the answer must fit. Fields without defaults suit endpoints best.

        Raises:
            ModelError: The model cannot take this turn.
            SpendLimitError: The next request could pass a limit.
        """
        exchange = self._exchange(role, trial)
        methods = exchange.endpoint.methods
        known = exchange.ways.structured
        if known in methods:
            methods = (known, *(method for method in methods if method != known))
        fault = ""
        for method in methods:
            try:
                return self._typed(exchange, turns, schema, method)
            except AnswerError as error:
                fault = f"{exchange.endpoint.role.name} answered twice with what does not fit ({error})"
                if method == known:  # it does give typed answers; this one it did not
                    break
            except UnsupportedError as error:
                fault = str(error)
                self._bounds.listen(f"{role}: no typed answer by {method.replace('_', ' ')}: {error}")
        raise ModelError(f"{role}: {self._scrubber.sentence(fault, 400)}")

    def text(self, role: RoleName, trial: int, turns: Sequence[Turn]) -> str:
        """Return a free answer: without reasoning, with line ends of one kind, and never empty.

        Raises:
            ModelError: The model cannot take this turn.
            SpendLimitError: The next request could pass a limit.
        """
        exchange = self._exchange(role, trial)
        reply = exchange.ask(turns)
        exchange.count("answered", turns, reply)
        return self._scrubber.clean(reply.text).replace("\r\n", "\n").replace("\r", "\n")

    def _exchange(self, role: RoleName, trial: int) -> Exchange:
        if role not in self._endpoints:
            raise ModelError(f"no model plays the {role}: name one with --model or in team.toml")
        return Exchange(self._endpoints[role], self._bounds, role, trial)

    def _typed(self, exchange: Exchange, turns: Sequence[Turn], schema: type[T], method: Method) -> T:
        """Return a typed answer by one method.

        Raises:
            AnswerError: It did not fit, twice.
            UnsupportedError: The endpoint does not take the method.
        """
        reply = exchange.ask(turns, schema, method)
        try:
            answer = read_answer(reply.text, schema, self._scrubber)
        except AnswerError as error:
            exchange.count("schema", turns, reply)
            quoted = self._scrubber.clean(reply.text)[:_MAX_QUOTED_CHARS]
            turns = [*turns, Turn("assistant", quoted), Turn("user", _correction(error, schema))]
            reply = exchange.ask(turns, schema, method)
            try:
                answer = read_answer(reply.text, schema, self._scrubber)
            except AnswerError:
                exchange.count("schema", turns, reply)
                raise
        exchange.count("answered", turns, reply)
        exchange.keep(structured=method)
        return answer


def _correction(error: AnswerError, schema: type[BaseModel]) -> str:
    return (
        f"That is no {schema.__name__}: {error}. Answer again, in English, with the one whole JSON object and "
        "nothing else."
    )
