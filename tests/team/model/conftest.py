"""A model behind a socket, and access to it."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel

from team.model.access import ModelAccess, Turn
from team.model.retry import RetryPolicy
from team.model.settings import ROLES, RoleSettings, TeamSettings
from team.model.spend import SpendBook, SpendLine, read_spend
from team.scripted.chat import ChatRequest, Reply
from team.scripted.faults import Fault, FaultPlan
from team.scripted.server import Manners, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "sk-test-4f9a1c77d2e84b0c"
SYSTEM = "You are the strategist of a team."
QUESTION = (Turn("system", SYSTEM), Turn("user", "PLAN for trial 3. The options:\n1. explore A1\n2. refine A2"))
CODER = (Turn("system", "You are the coder of a team."), Turn("user", "Write the edit."))
EDIT = "<<<<<<< SEARCH\nWIDTH = 64\n=======\nWIDTH = 96\n>>>>>>> REPLACE\n"


class StrategistAnswer(BaseModel):
    """The number of a line, and why."""

    option: Literal[1, 2]
    why: str


@dataclass
class Said:
    """A script that says what it is told to, and remembers what it was asked."""

    typed: list[str] = field(default_factory=lambda: ['{"option": 2, "why": "It gained twice."}'])
    free: str = EDIT
    asked: list[ChatRequest] = field(default_factory=list)

    def reply(self, request: ChatRequest) -> Reply:
        self.asked.append(request)
        if request.method == "text":
            return Reply(self.free)
        return Reply(self.typed.pop(0) if len(self.typed) > 1 else self.typed[0])


class FaultList(FaultPlan):
    """The given faults in order, then none."""

    def __init__(self, *faults: Fault | None) -> None:
        super().__init__()
        self._faults = list(faults)

    def draw(self, number: int) -> Fault | None:
        return self._faults[number - 1] if number <= len(self._faults) else None


@dataclass
class Line:
    """One run's access to one server, and what came of it."""

    server: ScriptedServer
    script: Said
    access: ModelAccess
    folder: Path
    waits: list[float]
    notes: list[str]

    @property
    def spent(self) -> list[SpendLine]:
        return list(read_spend(self.folder))

    def ask(self) -> StrategistAnswer:
        return self.access.answer("strategist", 3, QUESTION, StrategistAnswer)

    def code(self) -> str:
        return self.access.text("coder", 3, CODER)

    def everything(self) -> str:
        """Return all files of the run as one text."""
        return "\n".join(path.read_text(encoding="utf-8") for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Line]]:
    """Return a function that starts a server and gives access to it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as stack:

        def start(
            *faults: Fault | None,
            script: Said | None = None,
            manners: Manners | None = None,
            attempts: int = 4,
            limits: dict[str, Any] | None = None,
            url: str | None = None,
            seconds_left: Callable[[], float] = lambda: float("inf"),
            cancel: Any = None,
            sleep: Callable[[float], object] | None = None,
            total_seconds: float = 900.0,
            **role: Any,
        ) -> Line:
            said = script or Said()
            server = stack.enter_context(ScriptedServer(said, FaultList(*faults), manners))
            settings = RoleSettings(
                **({"model": "scripted", "base_url": url or server.base_url, "timeout_seconds": 5.0} | role)
            )
            waits: list[float] = []
            notes: list[str] = []
            access = ModelAccess(
                TeamSettings(roles=dict.fromkeys(ROLES, settings), **(limits or {})),
                SpendBook(tmp_path),
                sleep=sleep or waits.append,
                listen=notes.append,
                seconds_left=seconds_left,
                cancel=cancel,
                policy=RetryPolicy(attempts=attempts, total_seconds=total_seconds),
            )
            return Line(server, said, access, tmp_path, waits, notes)

        yield start


@pytest.fixture
def refuse() -> Iterator[Callable[..., tuple[str, list[dict[str, Any]]]]]:
    """Return a function that starts a server which answers every request with one status, unless a body pleases it."""
    with ExitStack() as stack:

        def start(
            status: int, error: dict[str, Any], unless: Callable[[dict[str, Any]], bool] = lambda body: False
        ) -> tuple[str, list[dict[str, Any]]]:
            asked: list[dict[str, Any]] = []

            class Handler(BaseHTTPRequestHandler):
                def log_message(self, *_: object) -> None:
                    pass

                def do_POST(self) -> None:
                    asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                    pleased = unless(asked[-1])
                    message = {"role": "assistant", "content": "fine"}
                    answer = (
                        {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]} if pleased else error
                    )
                    data = json.dumps(answer).encode()
                    self.send_response(200 if pleased else status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            server = HTTPServer(("127.0.0.1", 0), Handler)
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/v1", asked

        yield start
