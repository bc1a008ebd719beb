"""A chat completion's request and reply, as a script sees them, and the tokens that they are counted as.

Tokens are counted by a fixed rule of four bytes each, not by a model's tokenizer. What a provider's prompt cache would
have held is the longest beginning that a prompt shares with an earlier one, in whole blocks of 128 tokens, as OpenAI
counts it.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal, cast

BYTES_PER_TOKEN = 4
CACHE_BLOCK_TOKENS = 128
CACHE_FROM_TOKENS = 1024
REMEMBERED_PROMPTS = 64

Role = Literal["strategist", "scout", "coder", "reviewer", "unknown"]
_ROLE = re.compile(r"You are the (?:literature )?(strategist|scout|coder|reviewer)\b")
_FENCED_SCHEMA = re.compile(r"It is a (\w+):\n(\{.*\})\s*\Z", re.DOTALL)


class BadRequestError(ValueError):
    """A request that is no chat completion's; the message says what is missing."""


@dataclass(frozen=True)
class ChatRequest:
    """What a client asks.

    Attributes:
        number: Of the request since the server began, from 1.
        messages: Pairs of a role and its text, in order.
        schema_name: Name of the typed answer that is asked for, empty for free text.
        schema: Its JSON schema.
        method: How it is asked for; `fenced` is free text whose prompt holds the schema.
        max_tokens: Limit of the answer.
        model: The name that the client gave.
    """

    number: int
    messages: tuple[tuple[str, str], ...]
    schema_name: str = ""
    schema: dict[str, Any] | None = None
    method: Literal["json_schema", "tool", "fenced", "text"] = "text"
    max_tokens: int | None = None
    model: str = ""

    @property
    def system(self) -> str:
        """The texts of the system's turns."""
        return "\n".join(text for role, text in self.messages if role in ("system", "developer"))

    @property
    def last(self) -> str:
        """The text of the user's last turn."""
        return next((text for role, text in reversed(self.messages) if role == "user"), "")

    @property
    def prompt(self) -> str:
        """All that a provider would count: the schema, which stands before all turns, and the turns."""
        schema = "" if self.schema is None or self.method == "fenced" else json.dumps(self.schema)
        return schema + "\n".join(f"<{role}>\n{text}" for role, text in self.messages)

    @property
    def role(self) -> Role:
        """Who of the team asks, by the words that its prompt begins with."""
        found = _ROLE.search(self.system)
        return cast(Role, found[1]) if found else "unknown"


@dataclass(frozen=True)
class Reply:
    """What a script answers; faults change it on its way out.

    Attributes:
        text: Free text, or the JSON of a typed answer.
        finish: Why it ends.
        refusal: In place of a text.
    """

    text: str
    finish: Literal["stop", "length", "content_filter"] = "stop"
    refusal: str | None = None


def read_request(number: int, body: object) -> ChatRequest:
    """Return the request in a body.

    Raises:
        BadRequestError: It holds no messages.
    """
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        raise BadRequestError("messages: a list of at least one message is wanted")
    messages = []
    for message in body["messages"]:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRequestError("messages: each wants a role")
        messages.append((message["role"], _text(message.get("content"))))
    name, schema = "", None
    method: Literal["json_schema", "tool", "fenced", "text"] = "text"
    wanted = body.get("response_format")
    tools = body.get("tools")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        held = wanted.get("json_schema")
        if not isinstance(held, dict) or not isinstance(held.get("schema"), dict) or not held.get("name"):
            raise BadRequestError("response_format: json_schema wants a name and a schema")
        name, schema, method = str(held["name"]), held["schema"], "json_schema"
    elif isinstance(tools, list) and tools:
        function = tools[0].get("function") if isinstance(tools[0], dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise BadRequestError("tools: the first wants a function with a name")
        name, schema, method = str(function["name"]), function.get("parameters"), "tool"
    elif found := _FENCED_SCHEMA.search(messages[0][1]):
        name, schema, method = found[1], json.loads(found[2]), "fenced"
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    return ChatRequest(
        number=number,
        messages=tuple(messages),
        schema_name=name,
        schema=schema if isinstance(schema, dict) else None,
        method=method,
        max_tokens=limit if isinstance(limit, int) else None,
        model=str(body.get("model", "")),
    )


def tokens_of(text: str) -> int:
    """Return how many tokens a text is counted as, at least one."""
    return max(1, -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN))


class PromptCache:
    """Remembers the latest prompts, and tells how much of a new one a provider would have had."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[bytes, None] = OrderedDict()
        self._threads = threading.Lock()

    def cached_tokens(self, prompt: str) -> int:
        """Return the cached tokens of a prompt, and remember it."""
        data = prompt.encode("utf-8", "replace")
        with self._threads:
            longest = max((_shared(data, other) for other in self._prompts), default=0)
            self._prompts[data] = None
            self._prompts.move_to_end(data)
            while len(self._prompts) > REMEMBERED_PROMPTS:
                self._prompts.popitem(last=False)
        tokens = longest // BYTES_PER_TOKEN // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS
        return tokens if tokens >= CACHE_FROM_TOKENS else 0


def _shared(one: bytes, other: bytes) -> int:
    """Return the length of the common beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # bisection: comparing slices is done in C
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
