from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import pytest

from memory.history import History
from memory.idea_graph import idea_graph, story, to_json, write_graphml
from memory.records import Crowding
from tests.memory.builders import decision, trial


@pytest.fixture
def history() -> History:
    return History(
        [
            trial(0, 0.30, "kept", title="CGCNN-style baseline", code_sha="a"),
            trial(1, 0.28, "near-miss", parent=0, title="EMA", techniques=("ema", "warmup"), gain=0.02, z=1.5),
            trial(2, None, "crashed", parent=0, title="größer <&>", reason="exit 1: \x1b[31mNaN\x00 < 0\x1b[0m"),
            trial(3, 0.32, "replicate", parent=0, mode="replicate", also_from=(0,), code_sha="a"),
            trial(4, 0.27, "kept", parent=1, also_from=(2, 1), mode="combine", crowding=Crowding(text=0.25)),
            decision(1, "kept", gain=0.015),
            decision(4, "kept", gain=0.005),
            trial(5, 0.26, "kept", parent=4, title="last"),
        ]
    )


def test_edges_say_how_a_trial_came_from_another(history: History) -> None:
    edges = {(a, b): kind for a, b, kind in idea_graph(history).edges(data="kind")}
    assert edges == {
        (0, 1): "lineage",
        (0, 2): "lineage",
        (0, 3): "replicates",
        (1, 4): "lineage",  # also named in also_from: it is edited, not joined
        (2, 4): "joins",
        (4, 5): "lineage",
    }


def test_nodes_carry_the_latest_word_and_nothing_unknown(history: History) -> None:
    graph = idea_graph(history)
    assert (graph.nodes[1]["outcome"], graph.nodes[1]["gain"], graph.nodes[1]["z"]) == ("kept", 0.015, 2.0)
    assert graph.nodes[1]["techniques"] == "ema warmup"
    assert graph.nodes[4]["crowding_text"] == 0.25
    assert not {"score", "gain", "crowding_text"} & set(graph.nodes[2])
    assert [number for number, champion in graph.nodes(data="champion") if champion] == [5]


def test_graphml_comes_back_the_same(history: History, tmp_path: Path) -> None:
    graph = idea_graph(history)
    write_graphml(graph, tmp_path / "ideas.graphml")
    back = nx.read_graphml(tmp_path / "ideas.graphml", node_type=int)
    assert dict(back.nodes(data=True)) == dict(graph.nodes(data=True))
    assert {(a, b): kind for a, b, kind in back.edges(data="kind")} == {
        (a, b): kind for a, b, kind in graph.edges(data="kind")
    }
    assert back.nodes[2]["title"] == "größer <&>"
    assert back.nodes[2]["reason"] == "exit 1: \ufffd[31mNaN\ufffd < 0\ufffd[0m"
    assert [path.name for path in tmp_path.iterdir()] == ["ideas.graphml"]


def test_json_is_node_link(history: History) -> None:
    held = json.loads(to_json(idea_graph(history)))
    assert [node["id"] for node in held["nodes"]] == [0, 1, 2, 3, 4, 5]
    assert {"source": 2, "target": 4, "kind": "joins"} in held["edges"]
    assert held["directed"] is True


def test_the_story_tells_each_step_by_the_means_of_replicates(history: History) -> None:
    steps = story(history)
    assert [step.number for step in steps] == [0, 1, 4, 5]
    assert steps[0].score == pytest.approx(0.31)  # two trainings: 0.30 and 0.32
    assert [step.gain for step in steps] == [None, pytest.approx(0.03), pytest.approx(0.01), pytest.approx(0.01)]
    assert [step.total for step in steps] == pytest.approx([0.0, 0.03, 0.04, 0.05])


def test_before_the_first_keep_there_is_no_story() -> None:
    assert story(History([trial(0, None, "crashed")])) == []
    assert idea_graph(History()).number_of_nodes() == 0
