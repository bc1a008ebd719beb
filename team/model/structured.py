"""Typed answers: how they are asked for in three ways, and how the object is found in what came back."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from team.model.scrub import Scrubber

T = TypeVar("T", bound=BaseModel)

# What OpenAI's strict schemas do not take; pydantic checks it afterwards, and the corrective turn tells.
_DROPPED = {"default", "examples", "minLength", "maxLength", "uniqueItems"}
_NAMED = {"properties", "$defs", "definitions"}  # their keys are names, not keywords
_FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_THINKING = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>\s*", re.DOTALL)
_INVISIBLE = "\ufeff\u200b\u2060"
_MAX_OPENINGS = 64


class AnswerError(ValueError):
    """An answer that does not fit its schema; the message is what the model is told."""


@functools.cache  # a round asks a handful of times, always for the same few
def tool_of(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the tool in OpenAI's format whose arguments are the answer, as strict as the endpoint can be."""
    import openai

    tool = dict(openai.pydantic_function_tool(schema))
    function = dict(tool["function"])  # type: ignore[call-overload]
    function["parameters"] = _plain(function["parameters"])
    return {"type": "function", "function": function}


@functools.cache
def response_format_of(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the `response_format` in OpenAI's format."""
    function = tool_of(schema)["function"]
    held = {"name": function["name"], "strict": True, "schema": function["parameters"]}
    if "description" in function:
        held["description"] = function["description"]
    return {"type": "json_schema", "json_schema": held}


@functools.cache
def instruction_of(schema: type[BaseModel]) -> str:
    """Return what a model is told that knows neither schemas nor tools; the same for every call of a role."""
    text = json.dumps(schema.model_json_schema(), separators=(",", ":"), ensure_ascii=False)
    return f"Answer with one JSON object in a ```json fence and nothing else. It is a {schema.__name__}:\n{text}"


@functools.cache
def schema_bytes(schema: type[BaseModel]) -> int:
    """Return the length of a schema as JSON."""
    return len(json.dumps(schema.model_json_schema()))


def read_answer(text: str, schema: type[T], scrubber: Scrubber) -> T:
    """Return the first JSON object in `text` that fits the schema.

    The whole text, then fenced parts, then whatever begins with a brace is tried.

    Raises:
        AnswerError: There is none; the message says what was wrong with the first.
    """
    fault = ""
    for value in _objects(text):
        try:
            return schema.model_validate(scrubber.clean_all(value))
        except ValidationError as error:
            fault = fault or explain(error)
    raise AnswerError(fault or "there is no JSON object in it")


def explain(error: ValidationError) -> str:
    """Return the faults of an answer in one line, at most five."""
    faults = error.errors(include_url=False)
    parts = []
    for fault in faults[:5]:
        field = ".".join(map(str, fault["loc"])) or "the object"
        found = "" if fault["type"] == "missing" else f" (found {_short(fault['input'])})"
        parts.append(f"{field}: {fault['msg']}{found}")
    more = f", and {len(faults) - 5} more" if len(faults) > 5 else ""
    return "; ".join(parts) + more


def without_thinking(text: str) -> str:
    """Return an answer without the reasoning that some servers leave in it, and without invisible marks around it."""
    return _THINKING.sub("", text.strip(_INVISIBLE)).strip(_INVISIBLE)


def _objects(text: str) -> list[dict[str, Any]]:
    text = text.strip().strip(_INVISIBLE).strip()
    found = [value for part in (text, *_FENCE.findall(text)) if isinstance(value := _parse(part), dict)]
    if found:
        return found
    at = -1
    for _ in range(_MAX_OPENINGS):
        at = text.find("{", at + 1)
        if at < 0:
            break
        value = _parse(text[at:], whole=False)
        if isinstance(value, dict) and value:
            found.append(value)
    return found


def _parse(text: str, *, whole: bool = True) -> Any:
    try:
        decoder = json.JSONDecoder(strict=False, parse_constant=_refuse)  # models break lines inside strings
        return decoder.decode(text) if whole else decoder.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


def _plain(schema: Any) -> Any:
    """Return a schema without the keywords that strict endpoints refuse."""
    if isinstance(schema, list):
        return [_plain(held) for held in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _plain(part) for name, part in held.items()} if key in _NAMED else _plain(held)
        for key, held in schema.items()
        if key not in _DROPPED
    }


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
