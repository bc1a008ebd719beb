"""The endpoint: OpenAI's `/v1/chat/completions` and `/v1/models` on this machine alone, answered by a script.

It speaks HTTP and counts; what is said comes from `script`, what goes wrong from `faults`. It keeps no header and no
prompt, and binds to loopback only.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

from team.scripted.chat import BadRequestError, ChatRequest, PromptCache, Reply, read_request, tokens_of
from team.scripted.faults import ANSWER_FAULTS, Fault, FaultPlan, spoil

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from team.scripted.chat import Role
    from team.scripted.script import Script

LOOPBACK = "127.0.0.1"
MODEL = "scripted"
MAX_BODY_BYTES = 32 << 20
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass
class Stats:
    """What a server was asked and what it did."""

    requests: int = 0
    by_role: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    tokens: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them."""
        return {
            "requests": self.requests,
            "by_role": dict(self.by_role),
            "tokens_by_role": {role: dict(counted) for role, counted in self.tokens.items()},
            "faults": dict(self.faults),
        }


@dataclass(frozen=True)
class Manners:
    """How the endpoint behaves beside its script.

    Attributes:
        methods: The ways of typed answers that it takes; a request for another is refused with 400.
        hang_seconds: How long a `timeout` says nothing, where the client does not hang up before.
        asked_seconds: The Retry-After of a 429.
        key: The key that it wants, None where it takes every request.
        counts_tokens: Whether answers hold a usage.
    """

    methods: Collection[str] = ("json_schema", "tool")
    hang_seconds: float = 600.0
    asked_seconds: int = 1
    key: str | None = None
    counts_tokens: bool = True


class ScriptedServer:
    """A scripted model's endpoint; use it as a context, or call `serve` and `close`.

    Args:
        script: Answers.
        faults: What goes wrong.
        manners: How it behaves otherwise.
        port: To listen at, 0 for a free one.
        log: Told of each request in one line, without its text.

    Raises:
        OSError: The port is taken.
    """

    def __init__(
        self,
        script: Script,
        faults: FaultPlan | None = None,
        manners: Manners | None = None,
        port: int = 0,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.script = script
        self.faults = faults or FaultPlan()
        self.manners = manners or Manners()
        self.stats = Stats()
        self.log = log
        self.cache = PromptCache()
        self.closing = threading.Event()
        self._threads = threading.Lock()
        self._http = _Http((LOOPBACK, port), _Handler)
        self._http.owner = self
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"http://{LOOPBACK}:{self._http.server_address[1]}/v1"

    def __enter__(self) -> ScriptedServer:
        self._thread = threading.Thread(target=self.serve, name="scripted model", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(self) -> None:
        """Answer requests until `close`."""
        self._http.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop, and let go of the port; requests that hang end."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        if self._thread is not None:
            self._thread.join()

    def next_number(self) -> int:
        """Return the number of a new request."""
        with self._threads:
            self.stats.requests += 1
            return self.stats.requests

    def count(self, role: Role, fault: Fault | None, used: dict[str, int]) -> None:
        """Count a request."""
        with self._threads:
            self.stats.by_role[role] += 1
            self.stats.tokens[role].update(used)
            if fault is not None:
                self.stats.faults[fault] += 1


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: ScriptedServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is nothing to print a traceback for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes, which would wait 40 ms for each other
    server_version = "team-scripted-model"
    sys_version = ""

    @property
    def owner(self) -> ScriptedServer:
        return cast(_Http, self.server).owner

    def log_message(self, *_: object) -> None:
        """Requests are logged by `_finish`, in our words."""

    def do_GET(self) -> None:
        path = self.path.rstrip("/")
        if path == "/v1/models":
            self._send_json(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "team"}]})
        elif path == "/stats":
            self._send_json(200, self.owner.stats.as_dict())
        else:
            self._send_error(404, f"no such address: {path}; there are /v1/models, /v1/chat/completions and /stats")

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send_error(413, f"a body of at most {MAX_BODY_BYTES} bytes is wanted")
            return
        body = self.rfile.read(int(length))
        if self.path.rstrip("/") != "/v1/chat/completions":
            self._send_error(404, f"no such address: {self.path}; POST to /v1/chat/completions")
            return
        key, given = self.owner.manners.key, self.headers.get("authorization", "")
        if key is not None and given != f"Bearer {key}":
            self._send_error(401, f"Incorrect API key provided: {given}", "invalid_api_key")
            return
        try:
            request = read_request(self.owner.next_number(), json.loads(body))
        except (BadRequestError, ValueError) as error:
            self._send_error(400, str(error))
            return
        if request.method in ("json_schema", "tool") and request.method not in self.owner.manners.methods:
            field_name = "response_format" if request.method == "json_schema" else "tools"
            self._finish(request, None, {}, 400)
            self._send_error(400, f"{field_name} is not supported by this model")
            return
        self._answer(request, given)

    def _answer(self, request: ChatRequest, authorization: str) -> None:
        fault = self.owner.faults.draw(request.number)
        if fault is not None and fault not in ANSWER_FAULTS and self._fail(request, fault, authorization):
            return
        reply = self.owner.script.reply(request)
        if fault in ANSWER_FAULTS:
            reply = spoil(reply, cast(Any, fault), request, authorization)
        prompt, spent = request.prompt, tokens_of(reply.text)
        if request.max_tokens is not None and spent > request.max_tokens:
            cut = reply.text.encode()[: 4 * request.max_tokens].decode(errors="ignore")
            reply, spent = Reply(cut, "length"), request.max_tokens
        used = {
            "prompt_tokens": tokens_of(prompt),
            "cached_tokens": self.owner.cache.cached_tokens(prompt),
            "completion_tokens": spent,
        }
        body = _completion(request, reply, used if self.owner.manners.counts_tokens else None)
        self._finish(request, fault, used, 200)
        data = json.dumps(body).encode()
        if fault == "no_choices":
            data = json.dumps(body | {"choices": []}).encode()
        elif fault == "broken_json":
            data = data[: len(data) // 2]
        if fault == "drop_within":
            self._send(200, data, "application/json", promise=len(data), upto=len(data) // 2)
            self._drop()
        else:
            self._send(200, data, "text/plain; charset=utf-8" if fault == "wrong_type" else "application/json")

    def _fail(self, request: ChatRequest, fault: Fault, authorization: str) -> bool:
        """End a request without an answer; return False where the fault lies in the answer's form instead."""
        manners = self.owner.manners
        if fault in ("wrong_type", "broken_json", "no_choices", "drop_within"):
            return False
        status = {"rate_limit_seconds": 429, "rate_limit_date": 429, "error_500": 500, "error_echo": 500}.get(
            fault, 503
        )
        self._finish(request, fault, {}, status)
        match fault:
            case "rate_limit_seconds":
                self._send_error(429, "Rate limit reached", retry_after=str(manners.asked_seconds))
            case "rate_limit_date":
                date = datetime.now(UTC) + timedelta(seconds=manners.asked_seconds + 1)  # dates have whole seconds
                self._send_error(429, "Rate limit reached", retry_after=format_datetime(date, usegmt=True))
            case "error_500":
                self._send_error(500, "The server had an error while processing your request")
            case "error_503":
                self._send_error(503, "The engine is overloaded")
            case "error_echo":
                self._send_error(500, f"Upstream failed for request with headers Authorization: {authorization}")
            case "html":
                self._send(200, _HTML.encode(), "text/html")
            case "timeout":
                self._hang(trickle=False)
            case "trickle":
                self._hang(trickle=True)
            case _:
                self._drop()
        return True

    def _hang(self, *, trickle: bool) -> None:
        """Wait until the client hangs up, the server closes, or the time is over."""
        end = time.monotonic() + self.owner.manners.hang_seconds
        with contextlib.suppress(OSError):
            if trickle:
                self._send(200, b"", "application/json", promise=1 << 20, upto=0)
            while time.monotonic() < end and not self.owner.closing.is_set():
                readable, _, _ = select.select([self.connection], [], [], 0.05)
                if readable and not self.connection.recv(1, socket.MSG_PEEK):
                    break
                if trickle:
                    self.wfile.write(b" ")
                    self.wfile.flush()
        self._drop()

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send_json(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), "application/json", headers)

    def _send_error(self, status: int, message: str, code: str | None = None, retry_after: str | None = None) -> None:
        body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
        self._send_json(status, body, {"Retry-After": retry_after} if retry_after else None)

    def _send(
        self,
        status: int,
        data: bytes,
        content_type: str,
        headers: dict[str, str] | None = None,
        *,
        promise: int | None = None,
        upto: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data) if promise is None else promise))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:upto])
        self.wfile.flush()

    def _finish(self, request: ChatRequest, fault: Fault | None, used: dict[str, int], status: int) -> None:
        self.owner.count(request.role, fault, used)
        words = f", {fault}" if fault else ""
        tokens = f", {used['prompt_tokens']} + {used['completion_tokens']} tokens" if used else ""
        self.owner.log(f"{request.number} {request.role} {request.method}: {status}{tokens}{words}")


def _completion(request: ChatRequest, reply: Reply, used: dict[str, int] | None) -> dict[str, Any]:
    """Return a chat completion as OpenAI's API documents it."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    finish: str = reply.finish
    if request.method == "fenced" and reply.text.startswith("{"):
        message["content"] = f"```json\n{reply.text}\n```"
    elif request.method == "tool" and reply.text and reply.refusal is None:
        call = {"name": request.schema_name, "arguments": reply.text}
        message["content"] = None
        message["tool_calls"] = [{"id": f"call_{request.number}", "type": "function", "function": call}]
        finish = "tool_calls" if reply.finish == "stop" else reply.finish
    body: dict[str, Any] = {
        "id": f"chatcmpl-{request.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model or MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
    }
    if used is not None:
        body["usage"] = {
            "prompt_tokens": used["prompt_tokens"],
            "completion_tokens": used["completion_tokens"],
            "total_tokens": used["prompt_tokens"] + used["completion_tokens"],
            "prompt_tokens_details": {"cached_tokens": used["cached_tokens"]},
        }
    return body
