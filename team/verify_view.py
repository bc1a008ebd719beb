"""`team verify`: what differs from what was measured, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.markup import escape

from evaluation_locked.prepare import load_facts
from graph.evaluation import looks_of
from graph.run_folder import read_history
from graph.verify import verify
from team.running import cache_folder
from team.summary import open_console

if TYPE_CHECKING:
    from graph.run_folder import RunFolder


def print_verification(folder: RunFolder, *, as_json: bool) -> int:
    """Print every difference; return 1 where there is one, else 0."""
    found = list(verify(folder, cache_folder()))
    scores = [trial.score for trial in read_history(folder).trials.values() if trial.score is not None]
    scored, held = len(scores), sorted({", ".join(score.layers) or "nothing" for score in scores})
    looks = 0 if found else len(looks_of(folder))
    if as_json:
        facts = {"run": folder.name, "scores": scored, "layers": held, "looks": looks}
        print(json.dumps(facts | {"differences": [asdict(d) for d in found]}, indent=1))
        return int(bool(found))
    console = open_console()
    for difference in found:
        where = "run" if difference.trial is None else f"trial {difference.trial}"
        console.print(f"[red]differs[/red]  {where}, {difference.what}: {escape(difference.found)}")
    if not found:
        seal = load_facts(folder.locked).seal
        console.print(
            f"[green]as measured[/green]  {scored} scores again from their predictions, under seal {seal[:12]}; "
            f"{looks} looks at official test folds"
        )
        for layers in held:
            word = "held by" if len(held) == 1 else "some were held by"
            console.print(f"  [dim]{word}[/dim] {escape(layers)}")
    return int(bool(found))
