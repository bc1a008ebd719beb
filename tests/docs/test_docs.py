"""Documentation against the program: the page of commands is current, and what pages tell people to type exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "evaluation_locked" / "README.md")
    if page.name != "commands.md"
]
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_build"] = module
    spec.loader.exec_module(module)
    return module


def typed(text: str) -> list[str]:
    """Return the calls of `team` that a page shows, in blocks and in spans, comments left out."""
    blocks = FENCED.findall(text)
    lines = [line for block in blocks for line in block.splitlines()]
    spans = SPAN.findall(FENCED.sub("", text))
    calls = [re.sub(r"^\$ ", "", line.strip()).split(" #")[0] for line in [*lines, *spans]]
    return [call for call in calls if call == "team" or re.match(r"team [^-]", call)]


def faults(call: str, commands: dict[str, frozenset[str]]) -> list[str]:
    """Return what a call names that the program does not have."""
    words = shlex.split(re.split(r" [|>&] ?", call.replace("...", ""))[0])
    name, rest = "team", words[1:]
    while rest and f"{name} {rest[0]}" in commands:
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name == "team" and rest and not rest[0].startswith("-"):
        return [f"{rest[0]} is no command"]
    default = commands.get(f"{name} list", frozenset())
    options = [word.split("=")[0] for word in rest if word.startswith("-") and len(word) > 1 and not word[1].isdigit()]
    return [f"{name} has no {option}" for option in options if option not in commands[name] | default]


def test_the_page_of_commands_is_current(build: ModuleType) -> None:
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == build.commands_page(), "run `make docs`"


def test_the_check_of_pages_sees_what_does_not_exist() -> None:
    commands = {"team": frozenset[str](), "team graph": frozenset[str](), "team graph list": frozenset({"--axis"})}
    assert faults("team graph demo --axis A3", commands) == []
    assert faults("team graph demo --axes A3", commands) == ["team graph has no --axes"]
    assert faults("team grpah", commands) == ["grpah is no command"]
    assert typed("a `team run` b\n```\n$ team graph # c\nteams\n```\n") == ["team graph", "team run"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_that_a_page_names_exists(page: Path, build: ModuleType) -> None:
    commands = {command.words: command.flags for command in build.commands()}
    text = page.read_text(encoding="utf-8")
    found = [fault for call in typed(text) for fault in faults(call, commands)]
    known = frozenset[str]().union(*commands.values())
    bare = [span.split()[0].split("=")[0] for span in SPAN.findall(FENCED.sub("", text)) if span.startswith("--")]
    found += [f"no command has {option}" for option in bare if option not in known]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
