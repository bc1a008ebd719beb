"""Another provider of LangChain's, where its package is installed: Anthropic's messages over a socket."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from team.model.access import ModelAccess
from team.model.settings import RoleSettings, TeamSettings
from team.model.spend import SpendBook, read_spend
from tests.team.model.conftest import CODER, QUESTION, StrategistAnswer

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-ant-test-0123456789"
USAGE = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 7}


def test_anthropic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_anthropic", reason="pip install -e '.[anthropic]'")
    pytest.importorskip("langchain", reason="pip install -e '.[anthropic]'")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append(body)
            status, block, stop = 200, {"type": "text", "text": "fine"}, "end_turn"
            if body.get("tools"):
                name = body["tools"][0]["name"]
                block = {"type": "tool_use", "id": "t", "name": name, "input": {"option": 2, "why": "x"}}
                stop = "tool_use"
            message: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "model": "c"}
            message |= {"content": [block], "stop_reason": stop, "usage": USAGE}
            if len(asked) == 1:
                said = f"Overloaded: {self.headers['x-api-key']}"
                status, message = 529, {"type": "error", "error": {"type": "overloaded_error", "message": said}}
            if len(asked) == 3:
                message["stop_reason"] = "max_tokens"
            data = json.dumps(message).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        role = RoleSettings(model="anthropic:claude-sonnet-4-5", base_url=url, max_output_tokens=500, temperature=0.3)
        settings = TeamSettings(roles={"strategist": role, "coder": role})
        notes: list[str] = []
        access = ModelAccess(settings, SpendBook(tmp_path), sleep=lambda seconds: None, listen=notes.append)
        assert access.answer("strategist", 3, QUESTION, StrategistAnswer).option == 2
        assert access.text("coder", 3, CODER) == "fine"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert [body["max_tokens"] for body in asked] == [500, 500, 500, 1000]  # the third was cut
    assert asked[0]["temperature"] == 0.3
    assert [line.outcome for line in read_spend(tmp_path)] == ["answered", "truncated", "answered"]
    first = read_spend(tmp_path)[0]
    assert (first.attempts, first.prompt_tokens, first.cached_tokens, first.completion_tokens) == (2, 17, 7, 5)
    assert KEY not in "\n".join(notes)
