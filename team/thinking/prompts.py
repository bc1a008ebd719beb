"""Prompts as templates with strict variables: one that is missing, or given and not used, is an error.

A template is a file of `team/prompts/`, plain text with `$name` where a value goes. Values are not read again, so that
text from outside cannot name a variable. Words about a task come from its seed folder, never from here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template

FOLDER = Path(__file__).resolve().parent.parent / "prompts"


class PromptError(LookupError):
    """A template and its values do not fit; it is a fault of ours, and the message names both."""


def render(name: str, **values: object) -> str:
    """Return the template `name` with its variables filled in; lines that an empty value left bare are dropped.

    Raises:
        PromptError: There is no such template, or its variables are not those of `values`.
    """
    template = _load(name)
    wanted, given = set(template.get_identifiers()), set(values)
    if wanted != given:
        missing, unused = ", ".join(sorted(wanted - given)), ", ".join(sorted(given - wanted))
        raise PromptError(f"prompt {name}: missing {missing or 'nothing'}, not used {unused or 'nothing'}")
    bare = {f"${key}" for key, value in values.items() if not str(value)}
    lines = [line for line in template.template.split("\n") if line.strip() not in bare]
    return Template("\n".join(lines)).substitute(values).strip()


@cache
def _load(name: str) -> Template:
    path = FOLDER / f"{name}.md"
    try:
        template = Template(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.md")))
        raise PromptError(f"there is no prompt {name!r}: there are {known}") from None
    if not template.is_valid():
        raise PromptError(f"prompt {name} holds a '$' that is no variable: write '$$' for the sign")
    return template
