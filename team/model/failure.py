"""What went wrong with a request: every error of every library, sorted into kinds that say whether to try again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from team.model.retry import asked_seconds
from team.model.settings import is_local

if TYPE_CHECKING:
    from team.model.scrub import Scrubber

Kind = Literal[
    "rate_limit",
    "server",
    "timeout",
    "connection",
    "malformed",
    "empty",
    "truncated",
    "refused",
    "filtered",
    "key",
    "quota",
    "not_found",
    "too_long",
    "request",
    "stopped",
]
TRANSPORT: frozenset[Kind] = frozenset({"rate_limit", "server", "timeout", "connection", "malformed"})
# How often a kind is worth an attempt; None is as often as the policy allows.
MOST_ATTEMPTS: dict[Kind, int] = {"empty": 3, "truncated": 2, "refused": 2, "filtered": 2}
_RETRIED_STATUS = {408, 409, 425, 429}
_FORMS = ("tool", "response_format", "structured", "json_schema")
_QUOTA = ("insufficient_quota", "billing", "credit balance", "exceeded your current quota")
_TOO_LONG = ("context_length", "context length", "context window", "prompt is too long", "maximum context")


class RequestError(Exception):
    """A request without a usable answer.

    Attributes:
        kind: What was wrong.
        sentence: The same for a person, without a secret and without a full stop.
        asked_seconds: The wait that the endpoint asked for.
        may_have_cost: Whether tokens may have been used without being counted.
        usage: What was counted, None where nothing was.
    """

    def __init__(
        self,
        kind: Kind,
        sentence: str,
        *,
        asked_seconds: float | None = None,
        may_have_cost: bool = False,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
        self.asked_seconds = asked_seconds
        self.may_have_cost = may_have_cost
        self.usage = usage

    @property
    def retried(self) -> bool:
        """Whether another attempt may help."""
        return self.kind in TRANSPORT or self.kind in MOST_ATTEMPTS


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer, as the endpoint counted them."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


def sort_error(error: Exception, where: str, model: str, scrubber: Scrubber) -> RequestError:
    """Return what a library's error means.

    Args:
        error: Whatever LangChain, the provider's package or the HTTP client raised.
        where: The address, or the provider's name.
        model: The model's name.
        scrubber: Takes keys out of the error's words.
    """
    status = getattr(error, "status_code", None)
    words = _words(error)
    said = scrubber.sentence(words).rstrip(".")
    if isinstance(status, int):
        return _sort_status(status, error, words.lower(), said, where, model)
    completion = getattr(error, "completion", None)  # of openai's errors for a typed answer that was cut off
    if completion is not None:
        usage = _usage_of(completion)
        if "Length" in type(error).__name__:
            return RequestError("truncated", "the answer was cut off", usage=usage)
        return RequestError("filtered", "a content filter took the answer", usage=usage)
    names = [type(found).__name__ for found in _chain(error)]
    if any("Timeout" in name for name in names):
        sent = not any("ConnectTimeout" in name for name in names)
        return RequestError("timeout", f"{where} gave no answer in time", may_have_cost=sent)
    if any("Connect" in name or "Protocol" in name or "ReadError" in name or "WriteError" in name for name in names):
        refused = "ConnectError" in names
        mend = " (is it running? A proxy needs NO_PROXY for it)" if refused and is_local(where) else ""
        return RequestError(
            "connection",
            f"{where} cannot be reached{mend}" if refused else f"{where} dropped the connection",
            may_have_cost=not refused,
        )
    return RequestError("malformed", f"{where} sent no chat completion ({said})", may_have_cost=True)


def _sort_status(status: int, error: Exception, words: str, said: str, where: str, model: str) -> RequestError:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    kind, mend = _kind_of(status, words, model)
    told = f"{where} answered {status}{f': {mend}' if mend else ''} ({said})"
    return RequestError(kind, told, asked_seconds=asked_seconds(headers) if kind in TRANSPORT else None)


def _kind_of(status: int, words: str, model: str) -> tuple[Kind, str]:
    """Return what a status means, and what a person can do about it."""
    found: tuple[Kind, str] = ("request", "")
    if status == 401:
        found = ("key", "export a key that is valid there")
    elif status == 403:
        found = ("key", f"the key may not use {model}; allow it there, or name another model")
    elif status == 404 and not any(word in words for word in _FORMS):  # OpenRouter's word for "takes no tools"
        found = ("not_found", f"is {model} a model there, and does base_url end as it should, mostly in /v1?")
    elif status == 402 or (status == 429 and any(word in words for word in _QUOTA)):
        found = ("quota", "the account has no credit left")
    elif status in _RETRIED_STATUS or (status >= 500 and status != 501):
        found = ("rate_limit" if status == 429 else "server", "")
    elif any(word in words for word in _TOO_LONG):
        found = ("too_long", f"the prompt is too long for {model}")
    elif "content_filter" in words or "content management policy" in words:
        found = ("filtered", "a content filter took the prompt")
    return found


def _words(error: Exception) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        held: Any = body.get("error", body)
        message = held.get("message") if isinstance(held, dict) else held
        code = body.get("code") or (held.get("code") if isinstance(held, dict) else None)
        if message:
            return f"{message} [{code}]" if code else str(message)
    return str(error)[:10_000]


def _usage_of(completion: Any) -> Usage | None:
    usage = getattr(completion, "usage", None)
    if usage is None:
        return None
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        prompt_tokens=usage.prompt_tokens or 0,
        cached_tokens=getattr(details, "cached_tokens", None) or 0,
        completion_tokens=usage.completion_tokens or 0,
    )


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in found:
        found.append(at)
        at = at.__cause__ or at.__context__
    return found
