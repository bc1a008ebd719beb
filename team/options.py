"""Options and groups that several commands of `team` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from team.completion import complete_run

RUNS_HELP = "Folder that holds the runs."


class ListByDefault(TyperGroup):
    """A group whose subcommand `list` may be left out: `team graph RUN` is `team graph list RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` before arguments that name no subcommand."""
        if not any(arg in self.commands or arg == "--help" for arg in args[:1]):
            args = ["list", *args]
        return super().parse_args(ctx, args)


RunsOption = Annotated[Path, typer.Option("--runs", envvar="TEAM_RUNS", help=RUNS_HELP)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="Name of the run; the latest where it is left out.", autocompletion=complete_run
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Trials at once, each with a GPU or a share of the threads [default: one a GPU]"),
]
ExecutorOption = Annotated[
    Literal["local", "ray", "slurm"] | None,
    typer.Option("--executor", help="Where trials run: local, ray or slurm [default: team.toml, or local]"),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", help="Language model for all roles: NAME, or PROVIDER:NAME [default: team.toml, or the offline team]"
    ),
]
BaseUrlOption = Annotated[
    str | None, typer.Option("--base-url", help="OpenAI-compatible endpoint, such as http://localhost:11434/v1.")
]
TeamFileOption = Annotated[
    Path | None, typer.Option("--team-file", help="Who plays which role, prices, limits [default: ./team.toml]")
]
MaxCostOption = Annotated[
    float | None, typer.Option("--max-cost", min=0.0001, help="Stop before models cost more USD than this.")
]
MaxTokensOption = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="Stop before models use more tokens than this.")
]
NamedRun = Annotated[str, typer.Argument(metavar="RUN", help="Name of the run.", autocompletion=complete_run)]
