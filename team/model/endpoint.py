"""One model at one address: sends a request through LangChain and returns what came back, or why nothing did.

One request is one attempt: retries of LangChain and of the provider's package are off, so that `access` counts all.
"""

from __future__ import annotations

import contextvars
import importlib
import json
import threading
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from team.model.exchange import Turn
from team.model.failure import RequestError, Usage, sort_error
from team.model.scrub import PLACEHOLDER_KEY
from team.model.settings import PROVIDERS, SettingsError, openai_url
from team.model.structured import instruction_of, response_format_of, tool_of, without_thinking
from team.model.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import AIMessage
    from pydantic import BaseModel

    from team.model.scrub import Scrubber
    from team.model.settings import Method, RoleSettings

POLL_SECONDS = 0.2
_CUT = {"length", "max_tokens", "MAX_TOKENS", "max_output_tokens"}
_FILTERED = {"content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "content_filtered"}
_REFUSED = {"refusal"}


@dataclass(frozen=True)
class Reply:
    """An answer with text; usage is None where the endpoint does not count."""

    text: str
    usage: Usage | None


class Endpoint:
    """The model of a role.

    Args:
        role: Its settings.
        key: From the environment, None where none is needed or the provider's package reads its own.
        scrubber: Takes keys out of what errors say.
        cancel: Set where the run is being stopped; a request in flight is then left alone.

    Raises:
        SettingsError: The provider's package is missing, or it does not take the settings.
    """

    def __init__(self, role: RoleSettings, key: str | None, scrubber: Scrubber, cancel: threading.Event) -> None:
        self.role = role
        self.url = openai_url(role) if role.provider == "openai" else role.base_url
        self.where = self.url or {"openai": "OpenAI"}.get(role.provider, role.provider)
        self.id = f"{self.where} {role.name}"
        self._key = key
        self._scrubber = scrubber
        self._cancel = cancel
        self._models: dict[tuple[str, ...], Any] = {}
        self._build(())

    @property
    def first_ways(self) -> Ways:
        """What is assumed before anything is known; servers beside OpenAI's know the older name of the limit."""
        return Ways(limit_field="max_tokens" if self.url else "max_completion_tokens")

    @property
    def methods(self) -> tuple[Method, ...]:
        """The ways of typed answers that are worth trying, best first."""
        if self.role.structured != "auto":
            return (self.role.structured,)
        return ("json_schema", "tool", "fenced") if self.role.provider == "openai" else ("tool", "fenced")

    def ask(
        self,
        turns: Sequence[Turn],
        ways: Ways,
        max_output_tokens: int,
        timeout_seconds: float,
        schema: type[BaseModel] | None = None,
        method: Method | None = None,
    ) -> Reply:
        """Send one request.

        Args:
            turns: The exchange so far.
            ways: What the endpoint takes.
            max_output_tokens: Limit of the answer.
            timeout_seconds: Until the last byte.
            schema: Of a typed answer, None for free text.
            method: How the typed answer is asked for.

        Raises:
            RequestError: There is no usable answer.
        """
        model = self._build(ways.without)
        if schema is not None and method == "fenced":
            turns = _with_instruction(turns, instruction_of(schema))
        runnable = self._bind(model, ways, max_output_tokens, schema, method)
        messages = [(turn.kind, turn.text) for turn in turns]
        message = self._within(timeout_seconds, lambda: runnable.invoke(messages))
        return _read(message["raw"] if isinstance(message, dict) else message)

    def _bind(self, model: Any, ways: Ways, limit: int, schema: type[BaseModel] | None, method: Method | None) -> Any:
        """Return the model with the limit of the answer and the wanted shape of it."""
        bound: dict[str, Any] = {"max_tokens": limit}
        if self.role.provider == "openai" and ways.limit_field == "max_tokens":
            bound = {"extra_body": {"max_tokens": limit}}  # LangChain would rename it, and older servers ignore it then
        if schema is not None and method == "json_schema":
            if self.role.provider == "openai":
                return model.bind(response_format=response_format_of(schema), **bound)
            plain = tool_of(schema)["function"]
            wanted = {"title": plain["name"], "description": plain.get("description", ""), **plain["parameters"]}
            return model.with_structured_output(wanted, method="json_schema", include_raw=True)
        if schema is not None and method == "tool":
            tool = tool_of(schema)
            return model.bind_tools([tool], tool_choice=tool["function"]["name"], **bound)
        return model.bind(**bound)

    def _build(self, without: tuple[str, ...]) -> Any:
        """Return LangChain's model, made once for each set of settings that are left out."""
        if without in self._models:
            return self._models[without]
        role = self.role
        settings: dict[str, Any] = {"model": role.name, "timeout": role.timeout_seconds, "max_retries": 0}
        if role.temperature is not None and "temperature" not in without:
            settings["temperature"] = role.temperature
        if role.effort is not None and "effort" not in without:
            settings["effort" if role.provider == "anthropic" else "reasoning_effort"] = role.effort
        try:
            model = self._openai(settings) if role.provider == "openai" else self._other(settings)
        except (TypeError, ValueError, ImportError) as error:
            said = self._scrubber.sentence(str(error))
            raise SettingsError(f"{role.model} cannot be set up: {said}") from None
        self._models[without] = model
        return model

    def _openai(self, settings: dict[str, Any]) -> Any:
        from langchain_openai import ChatOpenAI

        # Its advice on other methods is for those who choose one themselves.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"langchain_openai")
        if self.url is not None:
            settings |= {"base_url": self.url, "use_responses_api": False}
        return ChatOpenAI(api_key=self._key or PLACEHOLDER_KEY, **settings)

    def _other(self, settings: dict[str, Any]) -> Any:
        package = PROVIDERS[self.role.provider]
        try:
            importlib.import_module(package.replace("-", "_"))
            from langchain.chat_models import init_chat_model
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"{self.role.model} needs {error.name}, which is not installed: pip install langchain {package}"
            ) from None
        if self.url is not None:
            settings["base_url"] = self.url
        if self._key is not None:
            settings["api_key"] = self._key
        settings["max_tokens"] = self.role.max_output_tokens
        return init_chat_model(model_provider=self.role.provider, **settings)

    def _within(self, seconds: float, call: Callable[[], Any]) -> Any:
        """Return what `call` returns, or give it up: HTTP clients bound the wait for a byte, not for an answer.

        The thread of a call that is given up ends with its connection, and keeps nothing alive.
        """
        done = threading.Event()
        result: list[Any] = []
        failed: list[Exception] = []
        context = contextvars.copy_context()  # LangSmith's tracing reads it

        def work() -> None:
            try:
                result.append(context.run(call))
            except Exception as error:
                failed.append(error)
            finally:
                done.set()

        threading.Thread(target=work, name="model request", daemon=True).start()
        end = time.monotonic() + seconds
        while not done.wait(min(POLL_SECONDS, max(0.0, end - time.monotonic()))):
            if self._cancel.is_set():
                raise RequestError("stopped", "the run is being stopped", may_have_cost=True)
            if time.monotonic() >= end:
                raise RequestError("timeout", f"{self.where} gave no answer in {seconds:g} s", may_have_cost=True)
        if failed:
            raise sort_error(failed[0], self.where, self.role.name, self._scrubber) from None
        return result[0]


def _with_instruction(turns: Sequence[Turn], instruction: str) -> list[Turn]:
    """Return the turns with an instruction at the end of the system's turn, where a provider's cache keeps it."""

    if turns and turns[0].kind == "system":
        return [Turn("system", f"{turns[0].text}\n\n{instruction}"), *turns[1:]]
    return [Turn("system", instruction), *turns]


def _read(message: AIMessage) -> Reply:
    """Return the reply in a message of LangChain.

    Raises:
        RequestError: It was cut off, refused, filtered, or is empty.
    """
    usage = _usage(message)
    metadata = message.response_metadata or {}
    finish = str(metadata.get("finish_reason") or metadata.get("stop_reason") or "")
    if metadata.get("status") == "incomplete":  # OpenAI's responses API
        finish = str((metadata.get("incomplete_details") or {}).get("reason") or "length")
    refusal = message.additional_kwargs.get("refusal")
    if refusal or finish in _REFUSED:
        raise RequestError("refused", "the model refused", usage=usage)
    if finish in _FILTERED:
        raise RequestError("filtered", "a content filter took the answer", usage=usage)
    if finish in _CUT:
        raise RequestError("truncated", "the answer was cut off", usage=usage)
    if message.tool_calls:
        text = json.dumps(message.tool_calls[0]["args"], ensure_ascii=False)
    elif message.invalid_tool_calls:
        text = message.invalid_tool_calls[0]["args"] or ""
    else:
        text = without_thinking(str(message.text))
    if not text.strip():
        raise RequestError("empty", "the answer is empty", usage=usage)
    return Reply(text, usage)


def _usage(message: AIMessage) -> Usage | None:
    counted = message.usage_metadata
    if not counted or not counted["input_tokens"] + counted["output_tokens"]:
        return None
    details = counted.get("input_token_details") or {}
    cached = sum(value for name, value in details.items() if name.endswith("cache_read") and isinstance(value, int))
    return Usage(counted["input_tokens"], min(cached, counted["input_tokens"]), counted["output_tokens"])
