"""The report as a file: nothing of a trial becomes markup, nothing is loaded, and its figures are those of the run."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
import zlib
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import pytest

from evaluation_locked import sandbox
from evaluation_locked.looks import Look, Subject
from evaluation_locked.official import OfficialScore
from graph.context import Event
from graph.run_folder import RunFolder
from team.model.spend import SpendBook, SpendLine
from team.report import palette, standing
from team.report.build import Gatherer
from team.report.page import asset, json_for_html, report_html
from team.report.trials import source_links, trial_rows
from team.report.writer import ReportWriter, write_report
from tests.conftest import TINY_SEED
from tests.memory.builders import decision, trial
from tests.team.report.runs import HOSTILE, journal_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Team = Callable[..., subprocess.CompletedProcess[str]]


class Page(html.parser.HTMLParser):
    """Elements of a page as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)

    @property
    def policy(self) -> str:
        return next(a["content"] or "" for tag, a in self.elements if a.get("http-equiv") == "Content-Security-Policy")


def unpacked(payload: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(zlib.decompress(base64.b64decode(payload["details"]))))


def figures(payload: dict[str, Any]) -> list[dict[str, Any]]:
    panels = payload["panels"]
    return [f for p in panels for f in p.get("figures", [])] + [
        b["figure"] for p in panels for b in p.get("blocks", [])
    ]


@pytest.fixture(scope="module")
def payload(hostile_run: RunFolder) -> dict[str, Any]:
    return Gatherer(hostile_run).payload()


def test_what_a_trial_says_is_never_markup(payload: dict[str, Any]) -> None:
    page = Page(report_html(payload))
    tags = {tag for tag, _ in page.elements}
    assert "img" not in tags and len(page.scripts) == 3  # data, Plotly, the page's own
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    data = next(text for attributes, text in page.scripts if attributes.get("id") == "payload")
    assert json.loads(data) == json.loads(json.dumps(payload))
    assert "<" not in data
    assert payload["trials"][3]["title"].startswith(HOSTILE)
    told = unpacked(payload)["3"]
    assert (
        HOSTILE in told["diff"] and HOSTILE in told["log"] and HOSTILE in told["why"] and HOSTILE in told["hypothesis"]
    )
    assert [link["url"] for link in told["links"]] == ["https://arxiv.org/abs/1706.05098"]


def test_text_that_plotly_would_take_for_markup_is_escaped(payload: dict[str, Any]) -> None:
    text = json.dumps(figures(payload))
    assert "&lt;/script&gt;" in text
    assert "<script" not in text and "<img" not in text


def test_only_the_pages_own_scripts_may_run_and_nothing_may_be_loaded(payload: dict[str, Any]) -> None:
    page = Page(report_html(payload))
    run = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    hashes = {"sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run}
    allowed = re.search(r"script-src ([^;]*)", page.policy)
    assert allowed and {word.strip("'") for word in allowed[1].split()} == hashes
    assert "default-src 'none'" in page.policy and "connect-src 'none'" in page.policy
    assert not [a for tag, a in page.elements if a.get("src") or (a.get("href") or "#")[0] != "#"]


def test_every_figure_is_one_that_plotly_takes(payload: dict[str, Any], long_run: RunFolder) -> None:
    shown = figures(payload) + figures(Gatherer(long_run).payload())
    assert len(shown) > 12
    for figure in shown:
        go.Figure(figure)  # raises on a property that Plotly does not know


def test_a_thousand_trials_stay_below_eight_megabytes(long_run: RunFolder, tmp_path: Path) -> None:
    path = write_report(long_run, tmp_path / "report.html")
    assert path.stat().st_size < 8e6
    assert len(Gatherer(long_run).payload()["trials"]) == 1_000


def test_the_champions_line_follows_keeps_and_what_took_them_back() -> None:
    entries = [
        trial(0, 0.9, "kept"),
        trial(1, 0.8, "kept", parent=0),
        trial(2, 0.95, parent=1),
        decision(1, "discarded"),
    ]
    _, rows = trial_rows([*entries, trial(3, 0.7, "kept", parent=0)])
    assert [row.champion_score for row in rows] == [0.9, 0.8, 0.9, 0.7]
    assert [row.outcome for row in rows] == ["kept", "discarded", "discarded", "kept"]
    assert rows[1].gain == 0.01  # of the decision, not of the trial


def test_money_and_hours_add_up_over_trials() -> None:
    entries = [trial(n, 0.9, train_seconds=1800.0, overhead_seconds=1800.0) for n in range(3)]
    _, rows = trial_rows(entries, {0: 0.5, 2: 0.25})
    assert [row.hours for row in rows] == [1.0, 2.0, 3.0]
    assert [row.usd for row in rows] == [0.5, 0.5, 0.75]


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("arXiv:1709.07871", "https://arxiv.org/abs/1709.07871"),
        ("Zhang, Yakobson 2026, arXiv 2606.29717", "https://arxiv.org/abs/2606.29717"),
        ("Tobit: Tobin 1958, doi:10.2307/1907382", "https://doi.org/10.2307/1907382"),
        ("see 2403.11857.", "https://arxiv.org/abs/2403.11857"),
    ],
)
def test_papers_become_links(source: str, url: str) -> None:
    assert [link["url"] for link in source_links(source)] == [url]


@pytest.mark.parametrize("source", ["own", "javascript:alert(1)", "https://evil.example/x", "0.12345 of 10.5"])
def test_nothing_else_becomes_a_link(source: str) -> None:
    assert source_links(source) == []


def test_text_has_contrast_in_light_and_dark() -> None:
    css = asset("report.css")
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r"\{([^}]*--page[^}]*)\}", css)[:2]
    )
    assert light["page"] != dark["page"]
    for colours in (light, dark):
        for text in ("ink", "muted", "accent", "bad"):
            for ground in ("page", "panel"):
                assert palette.contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert palette.contrast(colours["muted"], colours["code-page"]) >= 4.5
        for kind in ("added", "removed"):
            assert palette.contrast(colours[kind], colours[f"{kind}-page"]) >= 4.5, kind
        for mark in {**palette.OUTCOME_COLOURS, **palette.AXIS_COLOURS}.values():
            assert palette.contrast(mark, colours["panel"]) >= 3.0, mark
    for share in range(101):
        ground = palette.heat_colour(share / 100)
        assert palette.contrast(palette.readable_on(ground), ground) >= 4.5


def test_outcomes_differ_by_shape_and_the_style_sheet_has_the_axes_colours() -> None:
    assert len(set(palette.OUTCOME_SYMBOLS.values())) == len(palette.OUTCOME_SYMBOLS)
    found = dict(re.findall(r'\[data-axis="([^"]+)"\] \{ fill: (#[0-9a-f]{6})', asset("report.css")))
    assert found == palette.AXIS_COLOURS


def test_search_validation_and_official_results_are_never_in_one_figure(hostile_run: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "matbench")
    shutil.copytree(hostile_run.path, run.path)
    assert "standing" not in {panel["id"] for panel in Gatherer(run).payload()["panels"]}  # another task's crystals
    config = run.config_file.read_text()
    run.config_file.write_text(config.replace('source = "tight-binding"', 'source = "matbench:matbench_mp_gap"'))
    payload = Gatherer(run).payload()
    panel = next(panel for panel in payload["panels"] if panel["id"] == "standing")
    validation, official = panel["blocks"]
    ours = payload["header"]["champion_score"]
    assert ours in validation["figure"]["data"][0]["x"]
    assert ours not in official["figure"]["data"][0]["x"]
    assert not [name for name in official["figure"]["data"][0]["y"] if "this run" in name]
    assert 0.1559 in official["figure"]["data"][0]["x"]  # coGN
    assert 0.1559 not in validation["figure"]["data"][0]["x"]

    place = run.path / "official" / "fold-0" / "0004-x"
    place.mkdir(parents=True)
    task = "matbench_mp_gap"
    hashes = {"code_sha": "c", "predictions_sha": "p"}
    subject = Subject(task=task, fold=0, trial=4, seed=0, train_seconds=9, **hashes)
    score = OfficialScore(
        task=task,
        fold=0,
        metric="mae",
        value=0.21,
        low=0.2,
        high=0.22,
        n_train=84_890,
        n_test=21_223,
        recorder={},
        mean_predictor=1.3,
        look=Look(number=2, at_fold=2, at="", subject=subject, previous=""),
        seal="s",
        sealed=True,
        layers=(),
    )
    (place / "score.json").write_text(score.model_dump_json())
    (place.parent / "0009-x").mkdir()
    (place.parent / "0009-x" / "score.json").write_text("{")  # a damaged one is left out
    block = next(p for p in Gatherer(run).payload()["panels"] if p["id"] == "standing")["blocks"][1]
    assert "this run: trial 4, fold 0, look 2" in block["figure"]["data"][0]["y"]
    assert "2 looks" in block["note"]
    assert len(standing.official_results(run)) == 1


def test_the_writer_follows_the_run_and_leaves_the_last_state(hostile_run: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "followed")
    shutil.copytree(hostile_run.path, run.path)
    said: list[str] = []
    with ReportWriter(run, said.append) as report:
        with run.journal.open("ab") as journal:
            journal.write(journal_line(trial(24, 0.5, parent=0)))
        report.listen(Event("record", 24, entry=trial(24, 0.5, parent=0)))
    text = next(t for a, t in Page(run.report.read_text()).scripts if a.get("id") == "payload")
    assert json.loads(text)["trials"][-1]["number"] == 24
    assert said == []


def test_what_models_used_is_summed_in_the_report(hostile_run: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "paid")
    shutil.copytree(hostile_run.path, folder.path)
    book = SpendBook(folder.path)
    for role in ("coder", "reviewer"):
        book.add(SpendLine(role=role, trial=3, model="m", prompt_tokens=100, completion_tokens=20, usd=0.25))
    header = Gatherer(folder).payload()["header"]
    assert (header["tokens"], header["usd"]) == (240, 0.5)
    assert '"usd":0.5' in write_report(folder).read_text().replace(" ", "")


def test_a_report_that_cannot_be_written_does_not_end_a_run(hostile_run: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "closed")
    shutil.copytree(hostile_run.path, run.path)
    run.report.mkdir()
    said: list[str] = []
    with ReportWriter(run, said.append):
        pass
    assert len(said) == 1 and "report" in said[0]


def test_a_run_leaves_its_report_and_the_command_writes_one_elsewhere(team: Team, tmp_path: Path) -> None:
    team("run", TINY_SEED, "--name", "small", "--trials", 3)
    text = next(
        t for a, t in Page((tmp_path / "runs/small/report.html").read_text()).scripts if a.get("id") == "payload"
    )
    shown = json.loads(text)
    assert shown["header"]["trained"] == 3
    assert {"progress", "ideas", "errors", "elements"} <= {panel["id"] for panel in shown["panels"]}
    done = team("report", "small", "--out", tmp_path / "elsewhere.html")
    assert done.stdout.strip() == str(tmp_path / "elsewhere.html")
    assert "small" in (tmp_path / "elsewhere.html").read_text()
    assert team("report", "none", check=False).returncode == 1


def test_no_trial_can_read_the_report(hostile_run: RunFolder) -> None:
    place = hostile_run.trial(3)
    rules = sandbox.file_rules(place / "train.py", place / "scratch")
    report = hostile_run.report.resolve()
    opened = [*rules.read, *rules.read_proc, *rules.write]
    assert not [path for path in opened if report.is_relative_to(path)]


def test_json_in_a_page_cannot_leave_its_element() -> None:
    value = {"a": "</script><!--\u2028&"}
    text = json_for_html(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_for_html({"a": float("nan")})
