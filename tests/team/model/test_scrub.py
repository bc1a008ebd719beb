"""No key leaves in a text, and ordinary words do."""

from __future__ import annotations

import pytest

from team.model.scrub import PLACEHOLDER_KEY, Scrubber


def test_known_keys_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "other-secret-value")
    monkeypatch.setenv("SHORT_TOKEN", "graph")
    scrubber = Scrubber(["secret", "secret-and-more", None, ""])
    said = scrubber.clean("secret-and-more, secret, other-secret-value, the graph")
    assert said == "[secret], [secret], [secret], the graph"


@pytest.mark.parametrize("key", [PLACEHOLDER_KEY, "ollama", "x", ""])
def test_what_is_no_secret_stays(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert Scrubber([key]).clean(f"run {key} here") == f"run {key} here"


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abc***********wxyz.",
        "headers {'Authorization': 'Bearer abcdefgh'}",
        "GET https://host/v1?api_key=abcdefgh&x=1",
        "token hf_abcdefghijkl",
    ],
)
def test_messages_lose_what_looks_like_a_key(text: str) -> None:
    said = Scrubber([]).sentence(text)
    assert "[secret]" in said
    assert "abc" not in said


def test_a_message_is_one_line_of_bounded_length() -> None:
    assert Scrubber([]).sentence("a\n\n  b\tc") == "a b c"
    assert len(Scrubber([]).sentence("x " * 1000)) == 240


def test_a_scrubber_shows_no_key() -> None:
    assert "secret-and-more" not in repr(Scrubber(["secret-and-more"]))
