"""Prompts: strict variables, a contract and an example in each, and no word of any one task."""

from __future__ import annotations

import re

import pytest

from team.thinking.prompts import FOLDER, PromptError, render

SYSTEMS = sorted(path.stem for path in FOLDER.glob("*.system.md"))


def test_a_variable_that_is_missing_or_not_used_is_an_error() -> None:
    assert "no-op" in render("coder.repair", fault="it is a no-op with $dollars")
    with pytest.raises(PromptError, match=r"coder\.repair: missing fault, not used nothing"):
        render("coder.repair")
    with pytest.raises(PromptError, match="missing nothing, not used more"):
        render("coder.repair", fault="x", more="y")
    with pytest.raises(PromptError, match=r"no prompt 'nobody': there are coder\.code"):
        render("nobody")


def test_an_empty_value_leaves_no_bare_line() -> None:
    values = {"history": "H", "number": 3, "plan": "p", "proposals": "1. x"}
    assert "\n\n\n" not in render("strategist.choose", wish="", **values)
    assert "\nwish\n" in render("strategist.choose", wish="wish", **values)


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_role_has_its_contract_and_an_example(name: str) -> None:
    text = render(name, brief="BRIEF")
    assert text.startswith("You are the ") and text.endswith("<data>\nBRIEF\n</data>"), "what is stable comes first"
    assert "Contract" in text and "Example" in text


def test_words_of_a_task_come_from_its_seed_folder() -> None:
    assert len(SYSTEMS) == 4
    for path in FOLDER.glob("*.md"):
        assert not re.search(
            r"crystal|lattice|band.?gap|\batoms?\b|\beV\b|MatBench", path.read_text(), re.IGNORECASE
        ), path
