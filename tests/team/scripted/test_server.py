"""The endpoint's own behaviour, over a socket: the protocol, its counts, its faults."""

from __future__ import annotations

import http.client
import json
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from team.scripted.chat import ChatRequest, Reply
from team.scripted.faults import FAULTS, FaultPlan
from team.scripted.server import Manners, ScriptedServer

SCHEMA = {"type": "object", "properties": {"option": {"type": "integer"}}, "required": ["option"]}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
TYPED = ASKED | {"response_format": {"type": "json_schema", "json_schema": {"name": "Choice", "schema": SCHEMA}}}


class Echo:
    """Says what it was asked last."""

    def reply(self, request: ChatRequest) -> Reply:
        return Reply('{"option": 1}' if request.schema else request.last)


def ask(
    server: ScriptedServer, body: Any, path: str = "/v1/chat/completions", **headers: str
) -> tuple[Any, Any, bytes]:
    """Return status, headers and body of a request."""
    host = server.base_url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_it_answers_and_counts() -> None:
    with ScriptedServer(Echo()) as server:
        status, _, data = ask(server, ASKED)
        body = json.loads(data)
        assert (status, body["object"], body["model"]) == (200, "chat.completion", "m")
        assert body["choices"][0]["message"]["content"] == "hello"
        assert body["usage"]["completion_tokens"] == 2  # 5 bytes
        _, _, data = ask(server, None, "/stats")
        assert json.loads(data)["tokens_by_role"]["unknown"]["completion_tokens"] == 2
        assert json.loads(ask(server, None, "/v1/models")[2])["data"][0]["id"] == "scripted"
        assert server.base_url.startswith("http://127.0.0.1:")


def test_typed_answers_come_as_they_were_asked_for() -> None:
    tool = {"type": "function", "function": {"name": "Choice", "parameters": SCHEMA}}
    with ScriptedServer(Echo()) as server:
        message = json.loads(ask(server, TYPED)[2])["choices"][0]["message"]
        assert message["content"] == '{"option": 1}'
        choice = json.loads(ask(server, ASKED | {"tools": [tool]})[2])["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["tool_calls"][0]["function"] == {"name": "Choice", "arguments": '{"option": 1}'}


def test_ways_that_it_does_not_take_are_refused() -> None:
    with ScriptedServer(Echo(), manners=Manners(methods=())) as server:
        status, _, data = ask(server, TYPED)
        assert status == 400
        assert b"response_format is not supported" in data


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": ["x"]}, [], "x", ASKED | {"tools": [{}]}])
def test_what_is_no_request_is_refused(body: object) -> None:
    with ScriptedServer(Echo()) as server:
        assert ask(server, body)[0] == 400
        assert ask(server, ASKED, "/v1/completions")[0] == 404
        assert ask(server, None, "/etc/passwd")[0] == 404


def test_it_wants_the_key_that_it_was_given() -> None:
    with ScriptedServer(Echo(), manners=Manners(key="k" * 8)) as server:
        assert ask(server, ASKED, authorization="Bearer wrong")[0] == 401
        assert ask(server, ASKED, authorization=f"Bearer {'k' * 8}")[0] == 200


def test_prefixes_are_counted_as_cached() -> None:
    system = {"role": "system", "content": "s" * 4 * 3000}
    with ScriptedServer(Echo()) as server:

        def usage(*texts: str) -> dict[str, Any]:
            turns = [{"role": "user", "content": text} for text in texts]
            return json.loads(ask(server, {"messages": [system, *turns]})[2])["usage"]

        assert usage("one")["prompt_tokens_details"]["cached_tokens"] == 0
        again = usage("two")
        assert again["prompt_tokens_details"]["cached_tokens"] == 2944  # 3,000 in whole blocks of 128
        assert 3000 < again["prompt_tokens"] < 3020
        system["content"] = "12:01 " + system["content"]
        assert usage("one")["prompt_tokens_details"]["cached_tokens"] == 0  # what a time stamp in front costs


def test_an_answer_is_cut_at_its_limit() -> None:
    with ScriptedServer(Echo()) as server:
        body = ASKED | {"messages": [{"role": "user", "content": "x" * 400}], "max_completion_tokens": 10}
        choice = json.loads(ask(server, body)[2])["choices"][0]
        assert (choice["finish_reason"], len(choice["message"]["content"])) == ("length", 40)


@pytest.mark.parametrize(
    ("fault", "status", "content_type"),
    [
        ("rate_limit_seconds", 429, "application/json"),
        ("rate_limit_date", 429, "application/json"),
        ("error_500", 500, "application/json"),
        ("error_503", 503, "application/json"),
        ("html", 200, "text/html"),
        ("wrong_type", 200, "text/plain; charset=utf-8"),
    ],
)
def test_faults_of_the_response(fault: str, status: int, content_type: str) -> None:
    with ScriptedServer(Echo(), FaultPlan((fault,), 1.0), Manners(asked_seconds=5)) as server:
        found, headers, _ = ask(server, ASKED)
        assert (found, headers["content-type"]) == (status, content_type)
        if fault == "rate_limit_seconds":
            assert headers["retry-after"] == "5"
        if fault == "rate_limit_date":
            asked = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
            assert 5 <= asked.total_seconds() <= 6
        assert server.stats.faults == {fault: 1}


@pytest.mark.parametrize("fault", ["drop_before", "drop_within", "timeout", "trickle"])
def test_faults_of_the_connection(fault: str) -> None:
    with (
        ScriptedServer(Echo(), FaultPlan((fault,), 1.0), Manners(hang_seconds=0.2)) as server,
        pytest.raises((http.client.HTTPException, ConnectionError)),
    ):
        ask(server, ASKED)


def test_a_hanging_request_does_not_keep_a_server_from_closing() -> None:
    with ScriptedServer(Echo(), FaultPlan(("timeout",), 1.0), Manners(hang_seconds=3600)) as server:
        host = server.base_url.removeprefix("http://").removesuffix("/v1")
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("POST", "/v1/chat/completions", json.dumps(ASKED))
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        connection.getresponse()
    connection.close()


def test_faults_repeat_with_their_seed_and_keep_their_rate() -> None:
    drawn = [FaultPlan(rate=0.3, seed=1).draw(number) for number in range(3000)]
    assert drawn == [FaultPlan(rate=0.3, seed=1).draw(number) for number in range(3000)]
    assert drawn != [FaultPlan(rate=0.3, seed=2).draw(number) for number in range(3000)]
    met = [fault for fault in drawn if fault]
    assert 0.27 < len(met) / 3000 < 0.33
    assert set(met) == set(FAULTS)
    assert FaultPlan(rate=0.0).draw(1) is None
