"""`team graph` and what is below it: lists, one trial, the way to the champion, reasons, diffs, files for others."""

from __future__ import annotations

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import networkx as nx
import numpy as np
import pytest

from graph.errors import RunError
from graph.judging import measure_gain
from graph.run_folder import RunFolder, read_history
from memory import records
from memory.edits import unified_diff
from memory.history import History
from memory.idea_graph import idea_graph
from memory.records import Crowding, Verdict
from team import graph_cli
from team.graph_view.export import html_figure, to_dot
from team.graph_view.filters import Filter
from team.graph_view.layout import lay_out
from team.graph_view.path import gain_over
from team.graph_view.picture import progress_picture
from tests.conftest import TINY_SEED, team_command
from tests.memory.builders import decision, trial
from tests.team.runs import write_run
from tests.team.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    Team = Callable[..., subprocess.CompletedProcess[str]]

HOSTILE = 'boo [red]not red[/red] \x1b[2J\x9b31m\u202e\r\x07 "quoted" $x^2$ <script>alert(1)</script> C:\\n'
READABLE = "[red]not red[/red]"


def told() -> list[records.Entry]:
    """A run with each kind of outcome on two axes, one near miss kept later, one hostile crash."""
    return [
        trial(0, 0.50, "kept", started_at="2026-01-01T10:00:00+00:00"),
        trial(1, 0.49, "replicate", mode="replicate", parent=0, also_from=(0,), code_sha="code-0"),
        trial(
            2,
            0.44,
            "near-miss",
            parent=0,
            axis="A3",
            title="Group and period of the element",
            hypothesis="Rows and columns of the table say what an embedding must learn.",
            source="arXiv:1710.10324",
            why="features are untried",
            champion=0,
            gain=0.06,
            gain_low=-0.01,
            gain_high=0.13,
            z=1.5,
            verdict=Verdict(kind="approve", reasons=("it reads no label",)),
            crowding=Crowding(text=0.31, code=0.12, behaviour=0.5, nearest=(1,)),
            diff=unified_diff("WIDTH = 0\n", "WIDTH = 2\n"),
            started_at="2026-01-02T10:00:00+00:00",
        ),
        decision(2, "kept", gain=0.055),
        trial(3, None, "crashed", parent=2, title=HOSTILE, reason=f"{HOSTILE}\nsecond line", why=HOSTILE),
        trial(
            4,
            0.47,
            parent=2,
            also_from=(0,),
            mode="combine",
            champion=2,
            gain=-0.03,
            gain_low=-0.1,
            gain_high=0.04,
            z=-1.0,
        ),
    ]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "runs", told())


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained, with predictions to compare."""
    runs = tmp_path_factory.mktemp("real")
    command = team_command("run", TINY_SEED, "--runs", runs, "--name", "real", "--trials", 5)
    subprocess.run(command, check=True, capture_output=True, cwd=runs)
    return runs / "real"


def numbers(history: History, **wanted: object) -> list[int]:
    return [t.number for t in Filter(**wanted).choose(history)]  # type: ignore[arg-type]


def test_filters_choose_by_the_latest_outcome_and_by_time() -> None:
    history = History(told())
    assert numbers(history, axes=("A3",)) == [2]
    assert numbers(history, outcomes=("kept",)) == [0, 2], "the near miss was kept later"
    assert numbers(history, modes=("combine", "replicate")) == [1, 4]
    assert numbers(history, since="3") == [3, 4]
    assert numbers(history, since="2026-01-01T12:00") == [2]
    assert numbers(history, since="2026-01-01T12:00+03:00") == [0, 2], "a zone counts: it is nine in the morning"
    recent = trial(5, started_at=(datetime.now(UTC) - timedelta(hours=2)).isoformat())
    assert numbers(History([*told(), recent]), since="3h") == [5]
    assert numbers(History([*told(), recent]), since="90m") == []
    with pytest.raises(RunError, match="'yesterday' is no trial, span or moment"):
        numbers(history, since="yesterday")


def test_choices_of_the_command_line_are_those_of_the_records() -> None:
    assert {choice.value for choice in graph_cli.Axis} == set(get_args(records.Axis))
    assert {choice.value for choice in graph_cli.Outcome} == set(get_args(records.Outcome))
    assert {choice.value for choice in graph_cli.Mode} == set(get_args(records.Mode))


def test_list_takes_filters_as_text_and_as_json(run: RunFolder, team: Team) -> None:
    text = team("graph", "--outcome", "kept", "--outcome", "crashed").stdout
    assert "Group and period" in text and "idea 4" not in text and "3 of 5 trials" in text
    assert "(*): 0 -> 2" in text
    data = json.loads(team("graph", "told", "--axis", "A3", "--json").stdout)
    assert [node["id"] for node in data["nodes"]] == [2]
    assert "no trial is like that" in team("graph", "--mode", "ablate").stdout
    assert team("graph", "--axis", "A9", check=False).returncode == 2


def test_show_holds_everything_that_is_known(run: RunFolder, team: Team) -> None:
    text = team("graph", "show", 2).stdout
    for words in (
        "explore of trial 0 on A3 features",
        "arXiv:1710.10324",
        "Rows and columns",
        "features are untried",
        "approve: it reads no label",
        "mae 0.4400 eV [0.4300, 0.4500] on 500",
        "+0.0550 eV [+0.0500, +0.0600], +2.0 standard errors, over trial 0",
        "kept: decided later",
        "text 0.31, code 0.12, behaviour 0.50; nearest: 1",
        "children    3, 4",
        "-WIDTH = 0\n+WIDTH = 2\n",
    ):
        assert words in text, words
    data = json.loads(team("graph", "show", 2, "told", "--json").stdout)
    assert (data["outcome"], data["gain"], data["children"], data["nearest"]) == ("kept", 0.055, [3, 4], [1])
    missing = team("graph", "show", 9, check=False)
    assert missing.returncode == 1 and "no trial 9: they go from 0 to 4" in missing.stderr


def test_why_tells_each_role_in_turn(run: RunFolder, team: Team) -> None:
    said = json.loads(team("graph", "why", 2, "--json").stdout)["reasons"]
    assert [line["role"] for line in said] == ["strategist", "scout", "reviewer", "judge", "judge later"]
    assert said[3]["says"].startswith("near-miss") and said[4]["says"].startswith("kept")


def test_diff_is_between_any_two_and_the_same_file_has_none(run: RunFolder, team: Team) -> None:
    text = team("graph", "diff", 4, 2).stdout
    assert "-WIDTH = 4" in text and "+WIDTH = 2" in text
    assert "trained the same file" in team("graph", "diff", 2, 2).stdout
    (run.trial(3) / "train.py").unlink()
    done = team("graph", "diff", 0, 3, check=False)
    assert done.returncode == 1 and "left no train.py" in done.stderr


def test_path_uses_the_judges_interval_where_he_compared_with_the_parent(run: RunFolder, team: Team) -> None:
    data = json.loads(team("graph", "path", "--json").stdout)
    assert [step["number"] for step in data["steps"]] == [0, 2]
    assert data["steps"][1]["measured"] == {"gain": 0.055, "low": 0.05, "high": 0.06, "z": 2.0, "over": 0}
    text = team("graph", "path", "told").stdout
    assert "to the champion in 1 step\n" in text and "+0.0550 eV [+0.0500, +0.0600] over trial 0" in text
    nothing = write_run(run.path.parent, [trial(0, None, "crashed")], name="nothing")
    done = team("graph", "path", nothing.name, check=False)
    assert done.returncode == 1 and "kept nothing yet" in done.stderr
    assert team("graph", "path", "nothing", "told", check=False).returncode == 2


def test_a_gain_measured_again_is_what_the_judge_found(real: Path) -> None:
    folder = RunFolder(real)
    history = read_history(folder)
    number, champion = next((n, t.champion) for n, t in history.trials.items() if t.champion is not None)
    judged = gain_over(folder, history, champion, number)
    again = measure_gain(folder, history, number, champion)
    assert judged is not None and again is not None
    assert again.gain == pytest.approx(judged.gain)
    assert again.low < again.gain < again.high
    back = gain_over(folder, history, number, champion)
    assert back is not None and back.gain == pytest.approx(-again.gain), "also the way that nobody recorded"


def test_what_a_trial_says_is_printed_letter_by_letter_and_moves_no_cursor(run: RunFolder, team: Team) -> None:
    for command in (["graph"], ["graph", "show", 3], ["graph", "why", 3], ["graph", "path", 3], ["watch"]):
        text = team(*command).stdout
        assert READABLE in text, command
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), command
        held = team(*command, "--json").stdout
        assert held.isascii() and not re.search(r"[\x00-\x09\x0b-\x1f]", held), command


@pytest.mark.parametrize("columns", [80, 40])
def test_terminals_get_colour_and_lines_that_fit(run: RunFolder, columns: int) -> None:
    cwd = run.path.parent.parent
    for command in (["graph"], ["graph", "show", 2], ["graph", "path"], ["watch"]):
        terminal = Terminal(team_command(*command), cwd, columns)
        assert terminal.finish() == 0
        assert max(map(len, terminal.text.splitlines())) <= columns, command
        assert re.search(r"\x1b\[[\d;]*3[1-6]m", terminal.screen), command
    bare = Terminal(team_command("graph", "show", 2), cwd, columns, NO_COLOR="1")
    bare.finish()
    assert not re.search(r"\x1b\[[\d;]*3\dm", bare.screen), "NO_COLOR is obeyed"


def test_rows_keep_subtrees_together_and_left_out_trials_bridge_over() -> None:
    history = History([*told(), trial(5, 0.4, parent=4), trial(6, 0.4, parent=0)])
    places = {place.number: place for place in lay_out(history)}
    assert sorted(place.row for place in places.values()) == list(range(7)), "a row each"
    assert [place.number for place in lay_out(history)] == [0, 1, 6, 2, 3, 4, 5], "the champion's way comes last"
    assert places[5].depth == 3
    assert [(p.number, p.depth) for p in lay_out(history, [0, 5])] == [(0, 0), (5, 1)]
    assert [(p.number, p.depth) for p in lay_out(history, [4, 5])] == [(4, 0), (5, 1)]


def test_export_graphml_json_and_dot_hold_every_trial(run: RunFolder, team: Team, tmp_path: Path) -> None:
    team("graph", "export", "told", "--out", "made/ideas.graphml")
    graph = nx.read_graphml(tmp_path / "made" / "ideas.graphml", node_type=int)
    assert set(graph.nodes) == {0, 1, 2, 3, 4} and graph.edges[0, 4]["kind"] == "joins"
    assert len(json.loads(team("graph", "export", "--format", "json").stdout)["nodes"]) == 5
    dot = team("graph", "export", "--format", "dot").stdout
    assert re.search(r"0 -> 2 \[style=solid", dot) and re.search(r'2 \[label="2  Group.*penwidth=3', dot)
    label = re.search(r'^  3 \[label="(.*)", color', dot, re.MULTILINE)
    assert label is not None and not re.search(r'(?<!\\)(?:\\\\)*"', label[1]), "every quote in a label is escaped"
    assert team("graph", "export", "--format", "png", check=False).returncode == 1
    assert "--format" in team("graph", "export", "--out", "ideas.txt", check=False).stderr


def test_export_pictures_hold_the_words_and_are_the_same_twice(run: RunFolder, team: Team, tmp_path: Path) -> None:
    team("graph", "export", "--out", "a.svg")
    team("graph", "export", "--out", "b.svg")
    svg = (tmp_path / "a.svg").read_text()
    assert svg == (tmp_path / "b.svg").read_text()
    words = "".join(ET.fromstring(svg).itertext())
    assert "Group and period of the element" in words and READABLE in words and "takes from 0" in words
    team("graph", "export", "--out", "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_export_html_asks_no_network_and_takes_no_script_from_a_title(
    run: RunFolder, team: Team, tmp_path: Path
) -> None:
    team("graph", "export", "--out", "ideas.html")
    page = (tmp_path / "ideas.html").read_text()
    assert "<script>alert" not in page
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=", page)
    figure = html_figure(History(told()), run.read_config())
    hover = [text for trace in figure["data"] for text in trace.get("hovertext", ())]
    assert len(hover) == 5 and any("&lt;script&gt;" in text for text in hover)


def test_pictures_of_an_empty_run_and_of_a_thousand_trials(tmp_path: Path, team: Team) -> None:
    write_run(tmp_path / "runs", [], name="empty")
    assert "nothing was tried yet" in team("graph", "empty").stdout
    team("graph", "export", "empty", "--out", "empty.svg")
    many = [trial(0, 0.5, "kept")] + [trial(n, 0.5, parent=(n - 1) // 3) for n in range(1, 1000)]
    history = History(many)
    assert len({place.row for place in lay_out(history)}) == 1000
    dot = to_dot(idea_graph(history))
    assert dot.count(" -> ") == 999


def test_progress_follows_the_champion_that_is_still_kept(run: RunFolder) -> None:
    axes = progress_picture(History(told()), run.read_config()).axes[0]
    line = next(line for line in axes.get_lines() if line.get_label() == "champion")
    np.testing.assert_allclose(line.get_xydata(), [[0, 0.495], [2, 0.44], [4, 0.44]])
