"""The live page's server as a real process: whom it refuses, what it streams, and what its buttons do to a real run."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from graph.context import Event
from graph.run_folder import RunFolder
from memory.history import History
from memory.journal import Journal
from memory.person import PersonLog
from team.now import announce
from tests.conftest import TINY_SEED, team_command
from tests.memory.builders import trial
from tests.team.report.runs import journal_line, make_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "a-token-of-enough-characters"
WAIT_SECONDS = 120.0


class Served:
    """A `team serve` process and requests to it."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address
        found = re.search(r"http://(.+):(\d+)/", address)
        assert found, address
        self.host, self.port = found[1], int(found[2])

    def ask(
        self, path: str, method: str = "GET", body: object = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Send one request; header names are given with underscores."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named = {"Content-Type": "application/json"} | named
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, data, named)
        answer = connection.getresponse()
        result = answer.status, dict(answer.getheaders()), answer.read().decode()
        connection.close()
        return result

    @contextlib.contextmanager
    def events(self, **headers: str) -> Iterator[Callable[[Callable[[dict[str, Any]], bool]], dict[str, Any]]]:
        """Yield a function that reads the stream until an event fits."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        connection.request("GET", "/events", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.getheader("content-type", "").startswith("text/event-stream")

        def until(fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            event, deadline = {}, time.monotonic() + WAIT_SECONDS
            while line := answer.readline().decode():  # a comment comes every 15 s where nothing changes
                if line.startswith("data: ") and fits(event := json.loads(line[6:])):
                    return dict(event)
                assert time.monotonic() < deadline, f"the event did not come; the last one was {event}"
            raise AssertionError("the stream ended")

        with answer:
            yield until
        connection.close()


@contextlib.contextmanager
def serving(run: RunFolder, *options: object) -> Iterator[Served]:
    command = team_command("serve", run.name, "--runs", run.path.parent, "--port", 0, *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            yield Served(process, process.stdout.readline())
        finally:
            process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("runs"), 12)


@pytest.fixture(scope="module")
def served(made: RunFolder) -> Iterator[Served]:
    with serving(made, "--token", TOKEN) as page:
        yield page


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://127.0.0.1:{port}"}, 200),
        ({}, 401),
        ({"Authorization": "Bearer a-token-of-enough-characterS"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer \u00e9"}, 401),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "null"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://127.0.0.1:1"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "evil.example:{port}"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "127.0.0.1.evil.example"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "192.0.2.7"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "[::1"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "localhost:{port}"}, 200),
    ],
)
def test_only_this_page_with_the_token_gets_data(served: Served, headers: dict[str, str], status: int) -> None:
    sent = {name.replace("-", "_"): value.replace("{port}", str(served.port)) for name, value in headers.items()}
    found, answered, text = served.ask("/payload", **sent)
    assert found == status
    assert (json.loads(text)["name"] == "made") if status == 200 else ("made" not in text)
    assert answered["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "access-control-allow-origin" not in answered
    for path in ("/do/pause", "/do/resume"):
        assert status == 200 or served.ask(path, "POST", {}, **sent)[0] == status


def test_pages_without_data_are_open_and_hold_none(served: Served, made: RunFolder) -> None:
    for path in ("/", "/report.js", "/live.js", "/report.css", "/plotly.js"):
        status, headers, text = served.ask(path)
        assert status == 200 and "frame-ancestors 'none'" in headers["content-security-policy"]
        assert TOKEN not in text and str(made.path) not in text
    assert served.ask("/", Host="evil.example")[0] == 421
    assert served.ask("/../run.toml", Authorization=f"Bearer {TOKEN}")[0] == 404
    assert served.ask("/locked/validation_labels.npy", Authorization=f"Bearer {TOKEN}")[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/do/pause", {}, 409),  # the run is not at work
        ("/do/burn", {}, 400),
        ("/do/resume", {"trials": 0}, 400),
        ("/do/resume", {"trials": True}, 400),
        ("/do/resume", {"trials": "9; rm"}, 400),
        ("/do/resume", [1], 400),
        ("/do/steer", {"wish": ""}, 409),
        ("/do/steer", {"wish": 7}, 400),
        ("/do/approve", {}, 400),
        ("/do/approve", {"trial": 3}, 409),  # nothing waits for an answer
        ("/do/resume", b"{", 400),
        ("/do/resume", {"x": "y" * 30_000}, 413),
    ],
)
def test_a_button_that_cannot_be_pressed_says_why(served: Served, path: str, body: object, status: int) -> None:
    found, _, text = served.ask(path, "POST", body, Authorization=f"Bearer {TOKEN}")
    assert found == status and len(text) > 10
    assert served.ask(path, "POST", body, Authorization=f"Bearer {TOKEN}", Content_Type="text/plain")[0] in (413, 415)


def test_what_is_recorded_reaches_open_pages(made: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "grows")
    shutil.copytree(made.path, run.path)
    with serving(run) as page, page.events() as until:
        first = until(lambda event: True)
        assert first["state"] == "stopped" and first["log"]
        assert len(json.loads(page.ask("/payload")[2])["trials"]) == 12
        with run.journal.open("ab") as journal:
            journal.write(journal_line(trial(12, 0.5, parent=0)))
        second = until(lambda event: event["version"] != first["version"])
        payload = json.loads(page.ask("/payload")[2])
        assert payload["version"] == second["version"]
        assert payload["trials"][-1]["number"] == 12


def test_every_trial_at_work_is_told_once(made: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "several")
    shutil.copytree(made.path, run.path)
    with Journal(run.journal).lock(), announce(run) as announcer, serving(run) as page, page.events() as until:
        for number in (11, 12, 13):  # 11 is recorded, and its round not yet over
            idea = trial(number, title=f"idea {number}").idea
            announcer.listen(Event("node", number, node="train", idea=idea))
            (run.make_trial(idea) / "train.log").write_text(f"loss of {number}\n")
        announcer.listen(Event("phase", 13, phase="training"))
        told = until(lambda event: len(event["trials"]) == 2 and event["trials"][1]["doing"] == "training")
        assert told["trials"] == [
            {"number": 12, "doing": "starting", "title": "idea 12"},
            {"number": 13, "doing": "training", "title": "idea 13"},
        ]
        assert (told["log_of"], told["log"]) == (12, ["loss of 12"])
        announcer.listen(Event("over", 12))
        assert until(lambda event: len(event["trials"]) == 1)["log"] == ["loss of 13"]
        assert page.ask("/do/pause", "POST", {})[0] == 200
        assert [trial["number"] for trial in until(lambda event: event["state"] == "pausing")["trials"]] == [13]


def test_wishes_and_answers_go_where_the_commands_put_them(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = team_command("run", TINY_SEED, "--runs", runs, "--name", "asks", "--trials", 4, "--approve")
    assert subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 3
    run = RunFolder(runs / "asks")
    with serving(run) as page, page.events() as until:
        question = until(lambda event: event["question"] is not None)["question"]
        assert question["diff"].startswith("---") and question["title"]
        number = question["trial"]
        assert page.ask("/do/reject", "POST", {"trial": number, "why": ""})[0] == 409  # a refusal needs a reason
        assert page.ask("/do/approve", "POST", {"trial": number + 1})[0] == 409
        assert page.ask("/do/steer", "POST", {"wish": "more on the readout"})[0] == 200
        assert page.ask("/do/reject", "POST", {"trial": number, "why": "not today"})[0] == 200
        until(lambda event: event["question"] is None)
        said = PersonLog(run.person).read()
        assert [wish.text for wish in said.wishes.values()] == ["more on the readout"]
        assert [(a.word, a.why, a.trial) for a in said.answers.values()] == [("reject", "not today", number)]
        assert page.ask("/do/resume", "POST", {})[0] == 200
        assert until(lambda event: event["question"] is not None)["question"]["trial"] > number
        assert "not today" in History(Journal(run.journal).read()).reason(number)


def test_a_short_token_and_a_taken_port_are_refused(made: RunFolder, served: Served) -> None:
    def told(*options: object) -> str:
        command = team_command("serve", made.name, "--runs", made.path.parent, *options)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "16 at least" in told("--token", "short", "--port", 0)
    assert "--port 0 takes a free port" in told("--port", served.port)


def test_another_address_than_this_machines_own_makes_a_token(made: RunFolder) -> None:
    with serving(made, "--host", "0.0.0.0") as page:
        token = re.search(r"#token=(\S{32})", page.address)
        assert token
        assert page.ask("/payload")[0] == 401
        assert page.ask("/payload", Authorization=f"Bearer {token[1]}")[0] == 200
        assert page.ask("/payload", Authorization=f"Bearer {token[1]}", Host="evil.example")[0] == 421


def test_the_page_survives_its_run_being_killed_paused_and_resumed(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = team_command("run", TINY_SEED, "--runs", runs, "--name", "live", "--trials", 99)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True)
    run = RunFolder(runs / "live")
    try:
        wait(lambda: run.journal.exists() and len(Journal(run.journal).read()) >= 1)
        with serving(run) as page, page.events() as until:
            at_work = until(lambda event: event["state"] == "working" and any(t["title"] for t in event["trials"]))
            assert at_work["trials"][0]["number"] >= 1 and at_work["trials"][0]["doing"]
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
            assert until(lambda event: event["state"] == "stopped")["trials"] == []
            before = len(json.loads(page.ask("/payload")[2])["trials"])

            status, _, text = page.ask("/do/resume", "POST", {})
            assert status == 200, text
            until(lambda event: event["state"] == "working")
            assert page.ask("/do/resume", "POST", {})[0] == 409
            wait(lambda: len(json.loads(page.ask("/payload")[2])["trials"]) > before)

            assert page.ask("/do/pause", "POST", {})[0] == 200
            # a short trial ends before anybody sees that it is the last one
            assert until(lambda event: event["state"] == "stopped")["trouble"] == ""
            recorded = len(Journal(run.journal).read())
            assert before < recorded < 99
            assert "asked to pause" in (run.path / "resume.log").read_text()

            assert page.ask("/do/resume", "POST", {"trials": 1})[0] == 200  # fewer than it has: it ends at once
            wait(lambda: not run.pause.exists() and not Journal(run.journal).writer())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if holder := re.search(r"process (\d+)", Journal(run.journal).writer()):
            os.kill(int(holder[1]), signal.SIGTERM)


def wait(fits: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    until = time.monotonic() + seconds
    while not fits():
        assert time.monotonic() < until
        time.sleep(0.2)
