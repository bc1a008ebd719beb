"""The idea graph: trials as nodes and who came from whom as edges, for a reader, a report or a graph program.

It is made from a history when it is wanted, and holds nothing of its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation_locked.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    import networkx as nx

    from memory.history import History
    from memory.records import TrialRecord

Scalar = str | int | float | bool

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Step:
    """One trial on the way from the seed to another.

    Attributes:
        number: The trial.
        title: Of its idea.
        mode, axis: Of its idea.
        score: Mean over its replicates, None where none finished.
        gain: Mean score against that of the step before; positive is better. None for the first, or without a score.
        total: Mean score against that of the first step; 0 for the first.
    """

    number: int
    title: str
    mode: str
    axis: str
    score: float | None
    gain: float | None
    total: float | None


def idea_graph(history: History) -> nx.DiGraph:
    """Return the trials of a run as a graph.

    Nodes are trial numbers; their attributes are flat, and those that are not known are left out. Edges point from
    the earlier trial to the later one, and their `kind` is `lineage` (it was edited), `joins` (its change was taken
    in too) or `replicates` (its code was trained again). `gain` and its interval are against the champion of that
    time, as the latest decision has them.
    """
    import networkx as nx

    graph = nx.DiGraph()
    champion = history.champion
    for number, record in history.trials.items():
        graph.add_node(
            number, **_attributes(history, record), champion=champion is not None and champion.number == number
        )
    for number, record in history.trials.items():
        idea = record.idea
        if idea.parent is not None:
            graph.add_edge(idea.parent, number, kind="replicates" if idea.mode == "replicate" else "lineage")
        for other in idea.also_from:
            if other in history.trials and not graph.has_edge(other, number) and other != number:
                graph.add_edge(other, number, kind="replicates" if idea.mode == "replicate" else "joins")
    return graph


def story(history: History, number: int | None = None) -> list[Step]:
    """Return the way from the seed to a trial, one step a trial.

    Args:
        history: Of the run.
        number: Where it leads; to the champion where it is None, and nowhere before the first keep.

    Raises:
        KeyError: The trial is not recorded.
    """
    if number is None:
        if history.champion is None:
            return []
        number = history.champion.number
    path = history.lineage(number)
    steps = []
    for before, here in zip([None, *path], path, strict=False):
        idea = history.trials[here].idea
        steps.append(
            Step(
                number=here,
                title=idea.title,
                mode=idea.mode,
                axis=idea.axis,
                score=history.mean_score(here),
                gain=None if before is None else history.gain(before, here),
                total=history.gain(path[0], here),
            )
        )
    return steps


def write_graphml(graph: nx.DiGraph, path: Path) -> None:
    """Write the graph for Gephi, yEd, Cytoscape or `networkx.read_graphml(path, node_type=int)`.

    Raises:
        OSError: The file cannot be written.
    """
    import networkx as nx

    with whole_file(path, durable=False) as file:
        nx.write_graphml_xml(graph, file, infer_numeric_types=True)


def to_json(graph: nx.DiGraph) -> str:
    """Return the graph as JSON: `nodes` with an `id`, `edges` with `source` and `target` (networkx's node-link)."""
    import networkx as nx

    # As ASCII: a title may hold characters that a terminal obeys.
    return json.dumps(nx.node_link_data(graph, edges="edges"), allow_nan=False)


def _attributes(history: History, record: TrialRecord) -> dict[str, Scalar]:
    number, idea = record.number, record.idea
    judged = history.decisions.get(number, record)
    fields: dict[str, Scalar | None] = {
        "title": idea.title,
        "slug": idea.slug,
        "mode": idea.mode,
        "axis": idea.axis,
        "outcome": history.outcome(number),
        "reason": history.reason(number),
        "score": None if record.score is None else record.score.value,
        "gain": judged.gain,
        "gain_low": judged.gain_low,
        "gain_high": judged.gain_high,
        "z": judged.z,
        "techniques": " ".join(idea.techniques),
        "source": idea.source,
        "crowding_text": record.crowding.text,
        "crowding_code": record.crowding.code,
        "crowding_behaviour": record.crowding.behaviour,
        "seconds": record.train_seconds,
    }
    return {
        # A crash's reason may hold characters that XML forbids.
        name: _NOT_XML.sub("\ufffd", value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }
