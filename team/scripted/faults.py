"""What goes wrong with a model's endpoint, on purpose and reproducibly: each kind alone, or a share of all requests.

A fault is drawn from the seed and the number of the request, so that the same requests in the same order meet the same
faults. Faults of the answer change what the script said; the others end the request otherwise.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from team.scripted.chat import ChatRequest, Reply

TransportFault = Literal[
    "rate_limit_seconds",  # 429 with Retry-After in seconds
    "rate_limit_date",  # 429 with Retry-After as an HTTP date
    "error_500",
    "error_503",
    "error_echo",  # 500 whose message repeats the Authorization header
    "timeout",  # nothing, for longer than a client waits
    "trickle",  # a byte now and then, so that a client that bounds only the wait for a byte waits for ever
    "drop_before",  # the connection ends before an answer
    "drop_within",  # and within its body
    "html",  # a proxy's error page with status 200
    "wrong_type",  # a completion whose content type is not JSON's
    "broken_json",  # a body that is not JSON
    "no_choices",  # a completion without a choice
]
AnswerFault = Literal[
    "empty",
    "truncated",  # cut, finish_reason length
    "not_json",  # prose where JSON or blocks were asked for
    "wrong_schema",  # JSON that is something else
    "refusal",
    "content_filter",
    "language",  # an answer in another language
    "code_fences",  # fences around the answer, and fences within its code
    "crlf",  # Windows line ends
    "unicode",  # a byte order mark, no-break spaces, typographic quotes
    "echo",  # an answer that repeats the Authorization header
]
Fault = TransportFault | AnswerFault
ANSWER_FAULTS: tuple[AnswerFault, ...] = get_args(AnswerFault)
FAULTS: tuple[Fault, ...] = (*get_args(TransportFault), *ANSWER_FAULTS)

_PROSE = "I would rather make the network wider, since its errors are largest for crystals with many elements."
_OTHER_LANGUAGE = (
    "Ich schlage vor, das Netz breiter zu machen; die Änderung überlasse ich Ihnen. 我建议增加网络的宽度。"
)
_INSTEAD: dict[AnswerFault, str] = {
    "empty": "",
    "not_json": _PROSE,
    "wrong_schema": json.dumps({"suggestion": _PROSE, "confidence": "high"}),
}


class FaultPlan:
    """Which request meets which fault.

    Args:
        kinds: Those that may occur.
        rate: Share of requests that meet one, from 0 to 1.
        seed: Of the draw.
    """

    def __init__(self, kinds: Sequence[Fault] = FAULTS, rate: float = 0.0, seed: int = 0) -> None:
        self.kinds = tuple(kinds)
        self.rate = rate
        self.seed = seed

    def draw(self, number: int) -> Fault | None:
        """Return the fault of request `number`, None where it meets none."""
        drawn = random.Random(f"{self.seed}/{number}")
        return drawn.choice(self.kinds) if self.kinds and drawn.random() < self.rate else None


def spoil(reply: Reply, fault: AnswerFault, request: ChatRequest, authorization: str) -> Reply:
    """Return a reply with a fault in it.

    Args:
        reply: What the script said.
        fault: What is wrong with the answer.
        request: What was asked.
        authorization: The header that the request came with.
    """
    if fault == "truncated":
        return replace(reply, text=reply.text[: len(reply.text) // 2], finish="length")
    if fault == "refusal":
        return replace(reply, text="", refusal="I cannot help with that.")
    if fault == "content_filter":
        return replace(reply, text="", finish="content_filter")
    if fault in _INSTEAD:
        return replace(reply, text=_INSTEAD[fault])
    typed = request.method != "text"
    change = _in_texts if typed else _in_whole
    said = f"Your header was Authorization: {authorization}"
    spoiled = {
        "language": lambda text: change(text, lambda _: _OTHER_LANGUAGE),
        "code_fences": lambda text: f"```json\n{text}\n```" if typed else _fenced(text),
        "crlf": lambda text: (_indented(text) if typed else text).replace("\n", "\r\n"),
        "unicode": lambda text: "\ufeff" + change(text, _typeset),
        "echo": lambda text: _in_texts(text, lambda _: said) if typed else f"{said}\n{text}",
    }
    return replace(reply, text=spoiled[fault](reply.text))


def _fenced(text: str) -> str:
    """Return a text in a fence, with another one inside what it adds, as an answer that documents its code has it."""
    inner = text.replace(">>>>>>> REPLACE", "# ```python```\n>>>>>>> REPLACE")
    return f"Here is the edit:\n```python\n{inner}\n```\n"


def _typeset(text: str) -> str:
    return text.replace("  ", "\u00a0 ").replace('"', "\u201d").replace("'", "\u2019")


def _indented(text: str) -> str:
    return json.dumps(json.loads(text), indent=1) if _is_json(text) else text


def _in_whole(text: str, change: Callable[[str], str]) -> str:
    return change(text)


def _in_texts(text: str, change: Callable[[str], str]) -> str:
    """Return JSON with `change` applied to its texts of several words; names and choices have none."""
    if not _is_json(text):
        return change(text)
    return json.dumps(_changed(json.loads(text), change), ensure_ascii=False)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _changed(held, change) for key, held in value.items()}
    if isinstance(value, list):
        return [_changed(held, change) for held in value]
    return change(value) if isinstance(value, str) and " " in value else value


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
