"""What the documentation takes from the program itself: `docs/commands.md`, and pictures of a run.

python docs/build.py commands            writes docs/commands.md (a test checks that it is current)
python docs/build.py pictures RUN        writes docs/images/graph.svg and docs/images/progress.svg of a run
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent
HEAD = """# Commands

Every command, its arguments and options, from the program itself: `make docs` writes this page, and a test checks it.
Every command has `--help`.
"""


@dataclass(frozen=True)
class Command:
    """What the program says of one of its commands.

    Attributes:
        words: How it is called, such as `team graph show`.
        text: Its help.
        arguments: Each name as it is shown, with its help; in brackets where it may be left out.
        options: Each option with its names, and its help with choices and default.
        flags: Every name of every option.
    """

    words: str
    text: str
    arguments: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    flags: frozenset[str]


def commands() -> list[Command]:
    """Return every command of the program, groups before what is below them."""
    import typer.main

    from team.cli import app

    return list(_walk(typer.main.get_command(app), ("team",)))


def commands_page() -> str:
    """Return the text of `docs/commands.md`."""
    parts = [HEAD]
    for command in commands():
        usage = " ".join([command.words, *(name for name, _ in command.arguments)])
        parts.append(f"## {command.words}\n`{usage}`\n\n{command.text}\n")
        rows = [(f"`{name}`", told) for name, told in (*command.arguments, *command.options)]
        if rows:
            parts.append("\n".join(f"- {name}: {told}" for name, told in rows) + "\n")
    return "\n".join(parts)


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[Command]:
    arguments, options, flags = [], [], {"--help", "-h"}
    hints = get_type_hints(command.callback) if command.callback is not None else {}
    for parameter in command.params:
        told = " ".join((getattr(parameter, "help", None) or "").split())
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
            arguments.append((name if parameter.required else f"[{name}]", told))
            continue
        names = [*parameter.opts, *parameter.secondary_opts]
        flags.update(names)
        if parameter.name in ("install_completion", "show_completion"):
            told += " (a shell asks, and offers runs and trials after Tab)" if "install" in names[0] else ""
        if choices := _choices(hints.get(parameter.name)):
            told = f"{told.rstrip('.')}. One of {', '.join(choices)}."
        default = parameter.default
        if isinstance(default, str | int | float | Path) and not isinstance(default, bool) and str(default):
            told = f"{told.rstrip('.')}. Default: `{default}`."
        if parameter.required:
            told += " Required."
        options.append((", ".join(names), told))
    text = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    yield Command(" ".join(words), text, tuple(arguments), tuple(options), frozenset(flags))
    for name, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from _walk(below, (*words, name))


def _choices(annotation: Any) -> list[str]:
    """Return what may be chosen where an annotation is, or holds, an enum or literals."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(choice.value) for choice in annotation]
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def write_pictures(run_path: str) -> None:
    """Write the two pictures of the run in the folder `run_path`."""
    import team
    from team.graph_view.export import write_picture

    run = team.open_run(run_path)
    (DOCS / "images").mkdir(exist_ok=True)
    write_picture(run.graph_figure(), DOCS / "images" / "graph.svg", "svg")
    write_picture(run.progress_figure(), DOCS / "images" / "progress.svg", "svg")


def main(arguments: list[str]) -> int:
    """Do what the command line asks for."""
    if arguments == ["commands"]:
        (DOCS / "commands.md").write_text(commands_page(), encoding="utf-8")
    elif len(arguments) == 2 and arguments[0] == "pictures":
        write_pictures(arguments[1])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
