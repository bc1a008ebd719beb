"""What access does with each thing that can go wrong, over a socket, with langchain-openai in between."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from team.model.access import ModelAccess, ModelError, SpendLimitError, Turn
from team.model.settings import RoleSettings, SettingsError, TeamSettings
from team.model.spend import SpendBook
from team.scripted.faults import FAULTS
from team.scripted.server import Manners
from tests.team.model.conftest import CODER, EDIT, KEY, QUESTION, Said, StrategistAnswer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


Connect = "Callable[..., Line]"
# What a first request ends as in the spend book, where a second is needed. Those whose tokens nobody counted are bound.
UNCOUNTED = {
    "timeout": "timeout",
    "trickle": "timeout",
    "drop_before": "connection",
    "drop_within": "connection",
    "html": "malformed",
    "broken_json": "malformed",
    "no_choices": "malformed",
}
COUNTED = {
    "empty": "empty",
    "truncated": "truncated",
    "refusal": "refused",
    "content_filter": "filtered",
    "not_json": "schema",
    "wrong_schema": "schema",
}
FREE = {"rate_limit_seconds", "rate_limit_date", "error_500", "error_503", "error_echo"}
HARMLESS = {"wrong_type", "language", "code_fences", "crlf", "unicode", "echo"}


def test_every_kind_of_fault_has_a_test() -> None:
    assert set(FAULTS) == UNCOUNTED.keys() | COUNTED.keys() | FREE | HARMLESS


def test_a_typed_answer_is_counted_and_its_way_is_remembered(connect: Connect) -> None:
    line = connect(price_in=2.0, price_out=8.0)
    assert line.ask() == StrategistAnswer(option=2, why="It gained twice.")
    [request] = line.script.asked
    assert (request.method, request.schema_name) == ("json_schema", "StrategistAnswer")
    [spent] = line.spent
    assert (spent.role, spent.trial, spent.attempts, spent.outcome) == ("strategist", 3, 1, "answered")
    assert spent.completion_tokens == 10  # 40 bytes, four to a token
    assert spent.usd == pytest.approx((2.0 * spent.prompt_tokens + 8.0 * 10) / 1e6)
    [(name, ways)] = json.loads((line.folder / "endpoints.json").read_text()).items()
    assert name == f"{line.server.base_url} scripted"
    assert ways["structured"] == "json_schema"


@pytest.mark.parametrize("fault", sorted({*UNCOUNTED, *COUNTED, *FREE}))
def test_a_fault_is_tried_again_and_counted(connect: Connect, fault: str) -> None:
    slow = fault in ("timeout", "trickle")
    line = connect(fault, timeout_seconds=0.5 if slow else 5.0, price_in=1.0, price_out=1.0, max_output_tokens=100)
    assert line.ask().option == 2
    assert line.server.stats.requests == 2
    *before, last = line.spent
    assert last.outcome == "answered"
    if fault in FREE:
        assert before == []
        assert last.attempts == 2
    else:
        [first] = before
        assert first.outcome == (UNCOUNTED | COUNTED)[fault]
        assert (first.attempts, last.attempts) == (1, 1)
    if fault in UNCOUNTED:
        assert first.prompt_tokens == first.completion_tokens == 0
        assert first.unconfirmed_tokens > 100  # the prompt, and all that the answer may hold
        assert first.unconfirmed_usd == pytest.approx(first.unconfirmed_tokens / 1e6)
    if fault in COUNTED:
        assert first.prompt_tokens > 0
        assert first.unconfirmed_tokens == 0
    # A fault of the answer's form gets a corrective turn at once, the others a wait.
    assert len(line.waits) == (0 if fault in ("not_json", "wrong_schema") else 1)


@pytest.mark.parametrize("fault", sorted(HARMLESS))
def test_a_harmless_fault_costs_no_second_request(connect: Connect, fault: str) -> None:
    line = connect(fault, fault)
    assert line.ask().option == 2
    said = line.code()
    assert line.server.stats.requests == 2
    if fault == "language":
        assert "SEARCH" not in said  # what it means is the coder's to find out
    else:
        assert "WIDTH = 96\n" in said
    assert "\r" not in said
    assert not said.startswith("\ufeff")
    assert KEY not in said


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_ends_in_one_sentence_without_the_key(connect: Connect, fault: str) -> None:
    slow = fault in ("timeout", "trickle")
    line = connect(*[fault] * 12, attempts=2, timeout_seconds=0.3 if slow else 5.0)
    told = []
    for call in (line.ask, line.code):
        try:
            told.append(repr(call()))
        except ModelError as error:
            assert error.__cause__ is None or KEY not in repr(error.__cause__)
            assert "\n" not in str(error)
            assert len(str(error)) < 600
            told.append(str(error))
    text = "\n".join([*told, *line.notes, line.everything(), repr(line.access), repr(line.access.settings)])
    assert KEY not in text
    assert "Bearer sk" not in text


def test_a_rate_limit_is_waited_for_as_long_as_it_asks(connect: Connect) -> None:
    line = connect("rate_limit_seconds", "rate_limit_date", manners=Manners(asked_seconds=17))
    line.code()
    in_seconds, as_date = line.waits
    assert 17 <= in_seconds <= 18
    assert 17 <= as_date <= 19  # a date has whole seconds, and the server adds one


def test_waits_are_capped_and_bounded_in_total(connect: Connect) -> None:
    line = connect(*["rate_limit_seconds"] * 9, manners=Manners(asked_seconds=3600), attempts=9, total_seconds=300)
    with pytest.raises(ModelError, match="429"):
        line.code()
    assert line.waits == [pytest.approx(120, abs=1)] * 2  # a third would pass 300 seconds
    assert line.spent[0].attempts == 3


def test_an_endpoint_that_is_down_gets_one_attempt_until_it_answers(connect: Connect) -> None:
    line = connect(*["error_503"] * 5)
    for _ in range(2):
        with pytest.raises(ModelError):
            line.code()
    assert [spent.attempts for spent in line.spent] == [4, 1]
    line.server.faults = type(line.server.faults)()
    assert line.code() == EDIT


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "invalid_api_key", "export a key"),
        (403, None, "may not use"),
        (404, None, "base_url"),
        (402, None, "credit"),
    ],
)
def test_what_a_person_must_mend_is_not_tried_again(
    connect: Connect, refuse: Callable[..., str], status: int, code: str | None, words: str
) -> None:
    url, asked = refuse(status, {"error": {"message": f"no: Bearer {KEY}", "code": code}})
    line = connect(url=url)
    with pytest.raises(ModelError, match=words) as raised:
        line.code()
    assert len(asked) == 1
    assert KEY not in str(raised.value)
    assert line.waits == []


def test_spent_credit_is_no_rate_limit(connect: Connect, refuse: Callable[..., str]) -> None:
    url, asked = refuse(429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}})
    with pytest.raises(ModelError, match="credit"):
        connect(url=url).code()
    assert len(asked) == 1


def test_a_schema_error_is_told_and_mended(connect: Connect) -> None:
    line = connect(script=Said(typed=['{"option": 7}', '{"option": 1, "why": "now"}']))
    assert line.ask().option == 1
    first, second = line.script.asked
    assert second.messages[: len(first.messages)] == first.messages  # so that a cache of prefixes holds
    assert second.messages[-2] == ("assistant", '{"option": 7}')
    assert "option: Input should be 1 or 2 (found 7)" in second.last
    assert "why: Field required" in second.last
    assert [spent.outcome for spent in line.spent] == ["schema", "answered"]


def test_an_endpoint_that_gives_typed_answers_gets_one_corrective_turn(connect: Connect) -> None:
    line = connect(script=Said(typed=['{"option": 1, "why": "x"}', "{}"]))
    line.ask()
    with pytest.raises(ModelError, match="twice"):
        line.ask()
    assert line.server.stats.requests == 3
    assert {request.method for request in line.script.asked} == {"json_schema"}


@pytest.mark.parametrize(("taken", "method"), [(("tool",), "tool"), ((), "fenced")])
def test_the_way_of_typed_answers_is_found_out_once(connect: Connect, taken: tuple[str, ...], method: str) -> None:
    line = connect(manners=Manners(methods=taken))
    assert line.ask().option == 2
    refused = line.server.stats.requests - 1
    assert refused == {"tool": 1, "fenced": 2}[method]
    line.ask()
    assert [request.method for request in line.script.asked] == [method] * 2
    again = ModelAccess(line.access.settings, SpendBook(line.folder))  # a resumed run
    assert again.answer("strategist", 4, QUESTION, StrategistAnswer).option == 2
    assert line.server.stats.requests == refused + 3


def test_a_server_that_ignores_schemas_is_asked_otherwise(connect: Connect) -> None:
    prose = "I would take the second line."
    line = connect(script=Said(typed=[prose, prose, '{"option": 2, "why": "x"}']))
    assert line.ask().option == 2
    assert [request.method for request in line.script.asked] == ["json_schema", "json_schema", "tool"]


def test_a_setting_that_a_model_refuses_is_left_out(connect: Connect, refuse: Callable[..., str]) -> None:
    words = "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) is supported."
    url, asked = refuse(400, {"error": {"message": words}}, unless=lambda body: "temperature" not in body)
    line = connect(url=url, temperature=0.2)
    assert line.code() == "fine"
    assert [body.get("temperature") for body in asked] == [0.2, None]
    assert line.code() == "fine"
    assert len(asked) == 3


def test_the_limit_of_an_answer_is_sent_as_other_servers_know_it(connect: Connect, refuse: Callable[..., str]) -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    url, asked = refuse(400, {"error": {"message": words}}, unless=lambda body: "max_tokens" not in body)
    line = connect(url=url, max_output_tokens=777)
    assert line.code() == "fine"
    assert asked[0]["max_tokens"] == asked[1]["max_completion_tokens"] == 777
    assert "max_completion_tokens" not in asked[0]


def test_a_cut_answer_is_asked_for_again_with_more_room(connect: Connect) -> None:
    line = connect(script=Said(free="x" * 4 * 100), max_output_tokens=64)
    assert len(line.code()) == 400
    assert [request.max_tokens for request in line.script.asked] == [64, 128]


@pytest.mark.parametrize(
    ("limits", "words"), [({"max_tokens": 1000}, "--max-tokens"), ({"max_cost": 1e-3}, "--max-cost")]
)
def test_no_limit_is_ever_passed(connect: Connect, limits: dict[str, float], words: str) -> None:
    line = connect(limits=limits, price_in=1.0, price_out=1.0, max_output_tokens=200)
    with pytest.raises(SpendLimitError, match=words):
        for _ in range(100):
            line.code()
    spent = line.access.spend.totals()
    assert 800 - 250 < spent.tokens <= 1000  # what is left is less than the next call may use
    requests = line.server.stats.requests
    assert requests == spent.attempts
    resumed = ModelAccess(line.access.settings, SpendBook(line.folder))
    with pytest.raises(SpendLimitError, match=words):
        resumed.text("coder", 4, CODER)
    assert line.server.stats.requests == requests  # refused before it was sent


def test_requests_without_an_answer_count_against_a_limit(connect: Connect) -> None:
    line = connect(*["drop_before"] * 9, limits={"max_tokens": 1000}, attempts=9, max_output_tokens=400)
    with pytest.raises(SpendLimitError, match="--max-tokens"):
        line.code()
    assert line.server.stats.requests == 2  # two may have used 400 each


def test_hours_that_are_over_stop_a_run(connect: Connect) -> None:
    with pytest.raises(SpendLimitError, match="hours of the run"):
        connect(seconds_left=lambda: 0.0).code()
    line = connect("rate_limit_seconds", seconds_left=lambda: 30.0, manners=Manners(asked_seconds=60))
    with pytest.raises(SpendLimitError, match="hours of the run"):
        line.code()
    assert line.waits == []


def test_a_run_that_is_stopped_waits_for_no_model(connect: Connect) -> None:
    cancel = threading.Event()
    line = connect("timeout", timeout_seconds=60.0, cancel=cancel)
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(ModelError, match="being stopped"):
        line.code()
    assert line.spent[0].outcome == "stopped"
    line = connect("error_503", cancel=threading.Event(), sleep=lambda seconds: True)
    with pytest.raises(ModelError, match="being stopped"):
        line.code()


def test_an_endpoint_without_counts_is_estimated_high(connect: Connect) -> None:
    line = connect(manners=Manners(counts_tokens=False))
    line.code()
    [spent] = line.spent
    assert spent.estimated
    assert spent.prompt_tokens >= sum(len(turn.text) for turn in CODER) // 4
    assert spent.completion_tokens >= len(EDIT) // 4


def test_a_local_endpoint_needs_no_key(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    line = connect()
    monkeypatch.delenv("OPENAI_API_KEY")
    access = ModelAccess(line.access.settings, SpendBook(line.folder))
    assert access.text("coder", 1, CODER) == EDIT


def test_a_named_key_is_the_one_that_is_sent(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_KEY", "another-secret-key")
    manners = Manners(key="another-secret-key")
    assert connect(manners=manners, api_key_env="VLLM_KEY").code() == EDIT
    with pytest.raises(ModelError, match="401") as raised:
        connect(manners=manners).code()
    assert KEY not in str(raised.value)


def test_answers_lose_reasoning_and_what_no_file_can_hold(connect: Connect) -> None:
    line = connect(
        script=Said(
            free="<think>\nWhat now?\n</think>\n\nWIDTH = 96\r\n# \ud800 \x00",
            typed=['{"option": 1, "why": "\\ud800"}'],
        )
    )
    assert line.code() == "WIDTH = 96\n# \ufffd "
    assert line.ask().why == "\ufffd"


def test_prompts_lose_keys_too(connect: Connect) -> None:
    line = connect()
    line.access.text("coder", 1, [Turn("user", f"the log said {KEY}")])
    assert line.script.asked[0].last == "the log said [secret]"


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "GROQ_API_KEY", "x" * 20)
    settings = TeamSettings(roles={"coder": RoleSettings(model="groq:llama-3")})
    with pytest.raises(SettingsError, match="pip install langchain langchain-groq"):
        ModelAccess(settings, SpendBook(tmp_path))


def test_a_role_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model plays the coder"):
        ModelAccess(TeamSettings(), SpendBook(tmp_path)).text("coder", 1, CODER)


def test_nothing_is_traced_unasked(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    from langsmith.utils import tracing_is_enabled

    monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2_pt_0123456789abcdef")
    connect().code()
    assert not tracing_is_enabled()
