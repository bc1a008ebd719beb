"""`team memory`: what a run remembers, as text and as JSON: search it, see where it is crowded, make it anew.

It reads, except `rebuild_memory`, which replaces what follows from journals, and `fetch_model`, which downloads.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from graph.errors import RunError
from graph.run_folder import read_history
from graph.run_memory import open_to_read, rebuild_own, rebuild_shared
from memory.embedders import fetch_onnx
from memory.records import AXES
from memory.shared_memory import SharedMemory
from team.display import COLOURS
from team.summary import open_console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from graph.run_folder import RunFolder
    from memory.history import History
    from memory.records import Crowding, TrialRecord

CROWDED, EMPTY = 0.5, 3  # a mean text view above, an axis with fewer ideas than
UNBROKEN = 10_000


def search_memory(
    folder: RunFolder, text: str, k: int, *, outcome: str | None, axis: str | None, as_json: bool
) -> None:
    """Print the ideas that say something like `text`, the nearest first.

    Raises:
        RunError: The question is empty.
        IdeaMemoryError, EmbedderError: The memory or its embedder cannot be used.
    """
    if not text.strip():
        raise RunError("the question is empty: say in words what to look for, such as team memory search 'bond angles'")
    fields = {name: value for name, value in (("outcome", outcome), ("axis", axis)) if value is not None}
    with open_to_read(folder) as memory:
        hits, n_ideas, remark = memory.search(text, k, **fields), len(memory), memory.remark
    if as_json:
        found = [asdict(hit) | {"run": hit.run or folder.read_config().name} for hit in hits]
        print(json.dumps({"query": text, "ideas": n_ideas, "remark": remark, "found": found}, indent=1))
        return
    console = open_console()
    if remark:
        console.print(f"[dim]{remark}[/dim]", markup=True)
    if not hits:
        among = "".join(f" with {name} {value}" for name, value in fields.items())
        console.print(f"nothing found{among} among {n_ideas} ideas")
        return
    _print_table(
        ("trial>", "alike>", "outcome", "gain>", "title"),
        [
            (
                str(hit.label),
                f"{hit.similarity:.2f}",
                Text(hit.outcome, COLOURS.get(hit.outcome, "default")),
                "" if hit.gain is None else f"{hit.gain:+.4f}",
                hit.title,
            )
            for hit in hits
        ],
    )


def print_crowding(folder: RunFolder, *, as_json: bool) -> None:
    """Print the three views of crowding of every trial, as they were when it was tried, and by axis.

    Raises:
        RunError, JournalError: There is no such run, or its journal is damaged.
    """
    history = read_history(folder)
    axes = _by_axis(history)
    if as_json:
        trials = [
            {"trial": n, "axis": t.idea.axis, "title": t.idea.title, "outcome": history.outcome(n)}
            | t.crowding.model_dump()
            for n, t in history.trials.items()
        ]
        print(json.dumps({"run": folder.name, "trials": trials, "axes": axes, "says": _says(axes)}, indent=1))
        return
    console = open_console()
    if not history.trials:
        console.print("nothing was tried yet")
        return
    _print_table(
        ("trial>", "axis", "text>", "code>", "errors>", "near", "outcome", "title"),
        [
            (
                str(trial.number),
                trial.idea.axis,
                *map(_figure, (trial.crowding.text, trial.crowding.code, trial.crowding.behaviour)),
                _near(trial.crowding),
                Text(history.outcome(trial.number), COLOURS[history.outcome(trial.number)]),
                trial.idea.title,
            )
            for trial in history.trials.values()
        ],
    )
    console.print()
    _print_table(
        ("axis", "", "ideas>", "kept>", "text>", "code>", "errors>"),
        [
            (
                str(row["axis"]),
                AXES[str(row["axis"])],
                str(row["ideas"]),
                str(row["kept"]),
                *(_figure(row[view]) for view in ("text", "code", "behaviour")),
            )
            for row in axes
        ],
    )
    console.print()
    for line in _says(axes):
        console.print(line)
    console.print(
        "[dim]each view from 0, alone, to 1, a duplicate, when it was tried; near: by code and text | by errors[/dim]"
    )


def rebuild_memory(runs: Sequence[RunFolder], shared: Path | None, *, as_json: bool) -> None:
    """Make a memory anew from journals, a run's own or a shared one, and say counts and seconds.

    Args:
        runs: Whose journals to read; for a shared memory none means those that feed it.
        shared: The shared memory's folder, None for the runs' own.
        as_json: Print one JSON object.

    Raises:
        SharedMemoryError: The runs differ in task or embedder, or another run is at work with the memory.
        RunLockedError: A run is at work.
    """
    done = [rebuild_own(folder) for folder in runs] if shared is None else [rebuild_shared(SharedMemory(shared), runs)]
    if as_json:
        print(json.dumps([asdict(one) for one in done], indent=1))
        return
    for one in done:
        open_console().print(
            f"{one.n_ideas:,} ideas of {', '.join(one.runs)} in {one.seconds:.1f} s: {one.place}", markup=False
        )


def fetch_model(url: str | None) -> None:
    """Download the model of the embedder `onnx` where it is not there yet.

    Raises:
        EmbedderError: It cannot be downloaded, or is not the one that Chroma knows.
    """
    open_console().print(f"the model is in {fetch_onnx(url)}: team run --embedder onnx", markup=False)


def _by_axis(history: History) -> list[dict[str, str | int | float | None]]:
    rows: list[dict[str, str | int | float | None]] = []
    for axis in AXES:
        trials = [t for t in history.trials.values() if t.idea.axis == axis and t.idea.mode != "replicate"]
        row: dict[str, str | int | float | None] = {
            "axis": axis,
            "ideas": len(trials),
            "kept": sum(history.outcome(t.number) == "kept" for t in trials),
        }
        rows.append(row | {view: _mean(trials, view) for view in ("text", "code", "behaviour")})
    return rows


def _mean(trials: Sequence[TrialRecord], view: str) -> float | None:
    values = [value for t in trials if (value := getattr(t.crowding, view)) is not None]
    return round(sum(values) / len(values), 4) if values else None


def _says(axes: Sequence[dict[str, str | int | float | None]]) -> list[str]:
    """Return in words which axes are crowded and which are empty."""
    crowded = [row for row in axes if isinstance(row["text"], float) and row["text"] > CROWDED]
    empty = [row for row in axes if isinstance(row["ideas"], int) and row["ideas"] < EMPTY]
    crowded.sort(key=lambda row: -float(row["text"] or 0))

    def named(rows: Sequence[dict[str, str | int | float | None]]) -> str:
        return ", ".join(f"{row['axis']} {AXES[str(row['axis'])]} ({row['ideas']})" for row in rows)

    return [
        f"crowded (mean text view above {CROWDED}): {named(crowded) or 'no axis'}",
        f"empty (fewer than {EMPTY} ideas): {named(empty) or 'no axis'}",
    ]


def _figure(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "-"


def _near(crowding: Crowding) -> str:
    before = ",".join(map(str, crowding.nearest[:2]))
    after = ",".join(map(str, crowding.behaves_like[:1]))
    return f"{before} | {after}" if after else before


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a table whose last column takes what is left of the width; in a pipe nothing is cut.

    Args:
        columns: Their heads; one that ends in `>` is set to the right.
        rows: Their cells.
    """
    console = open_console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for at, column in enumerate(columns):
        last = at == len(columns) - 1
        table.add_column(
            column.rstrip(">"),
            justify="right" if column.endswith(">") else "left",
            no_wrap=not last,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    if console.is_terminal:
        console.print(table, soft_wrap=False)
        return
    console.width = UNBROKEN
    console.width = console.measure(table).maximum
    with console.capture() as lines:
        console.print(table, soft_wrap=False)
    print("\n".join(line.rstrip() for line in lines.get().splitlines()))
