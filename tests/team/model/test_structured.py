"""How a typed answer is found in what models write, and how it is asked for."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, Field

from team.model.scrub import Scrubber
from team.model.structured import AnswerError, instruction_of, read_answer, response_format_of, tool_of


class Part(BaseModel):
    """A part whose field is called as a keyword of schemas is."""

    default: str = "none"
    note: str = Field("x", min_length=1, max_length=9)


class Answer(BaseModel):
    """An answer."""

    option: int
    parts: list[Part] = []


GOOD = '{"option": 3}'
SCRUBBER = Scrubber(["a-secret-key"])


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\ufeff\n{GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        f"Sure! Here it is:\n\n```json\r\n{GOOD}\r\n```\nAnything else?",
        f"I take {{three}} of them: {GOOD} as said.",
        f'First a draft {{"option": "many"}}, then {GOOD}',
        '{"option": 3, "parts": [{"note": "a\nb"}]}',
        '{"option": 3, "more": {"nested": true}}',
    ],
)
def test_the_object_is_found(text: str) -> None:
    assert read_answer(text, Answer, SCRUBBER).option == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON object"),
        ("three", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ('{"option": NaN}', "no JSON object"),
        ('{"option": 3', "no JSON object"),
        ("{" * 100_000, "no JSON object"),
        ('{"a":' * 100_000, "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('{"option": "three"}', r"option: Input should be a valid integer.* \(found 'three'\)"),
        ('{"choice": 3}', "option: Field required"),
        ('{"option": 3, "parts": [{"note": ""}]}', r"parts.0.note: String should have at least 1 character"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(AnswerError, match=words):
        read_answer(text, Answer, SCRUBBER)


def test_escaped_keys_are_hidden_too() -> None:
    text = json.dumps({"option": 1, "parts": [{"note": "a-secret-key"}]}).replace("a-s", "\\u0061-s")
    assert read_answer(text, Answer, SCRUBBER).parts[0].note == "[secret]"


def test_schemas_hold_what_strict_endpoints_take() -> None:
    schema = response_format_of(Answer)["json_schema"]
    assert (schema["name"], schema["strict"], schema["description"]) == ("Answer", True, "An answer.")
    part = schema["schema"]["$defs"]["Part"]
    assert set(part["properties"]) == {"default", "note"}  # a field's name is no keyword
    assert part["required"] == ["default", "note"]
    assert part["additionalProperties"] is False
    assert part["properties"]["note"].keys().isdisjoint({"default", "minLength", "maxLength"})
    assert tool_of(Answer)["function"]["parameters"] == schema["schema"]


def test_the_instruction_holds_the_whole_schema() -> None:
    text = instruction_of(Answer)
    assert '"maxLength":9' in text
    assert instruction_of(Answer) == text  # the same in every call, for caches of prefixes
