"""The page's server: static files, the report's data, a stream of what changes, and the buttons."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from typing import TYPE_CHECKING, Any, get_args

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from evaluation_locked.dataset import DataError
from graph.errors import RunError
from memory.journal import JournalError
from memory.person import PersonError, Word
from team import pausing, person_view
from team.report.page import asset, fill_page, plotly_js
from team.serve.guard import MIN_TOKEN_CHARACTERS, Door, Guard, is_loopback
from team.serve.watching import RunWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from graph.run_folder import RunFolder

TICK_SECONDS = 0.5
PING_SECONDS = 15.0
MAX_STREAMS = 32
MAX_TRIALS = 1_000_000
GRACE_SECONDS = 2
STATIC: dict[str, tuple[Callable[[], str], str]] = {
    "/report.css": (lambda: asset("report.css"), "text/css"),
    "/report.js": (lambda: asset("report.js"), "text/javascript"),
    "/live.js": (lambda: asset("live.js", "team.serve"), "text/javascript"),
    "/plotly.js": (plotly_js, "text/javascript"),
}


class BadRequestError(ValueError):
    """A button's request that cannot be used; the message says why."""


def serve(folder: RunFolder, *, host: str, port: int, token: str) -> None:
    """Serve the page of a run until Ctrl-C.

    Raises:
        RunError: The address cannot be listened on, or the token is too short.
    """
    if not token and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    if token and len(token) < MIN_TOKEN_CHARACTERS:
        raise RunError(f"the token has {len(token)} characters, {MIN_TOKEN_CHARACTERS} at least: leave --token out")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), port))
            listener.listen()  # before the address is told, so that whoever reads it is served
        except OSError as error:
            raise RunError(
                f"{host}:{port} cannot be listened on ({error.strerror}): --port 0 takes a free port"
            ) from error
        port = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        print(f"run {folder.name}: http://{shown}:{port}/" + (f"#token={token}" if token else ""), flush=True)
        if not is_loopback(host):
            print("the token and the labels travel unencrypted: over a network, rather use `ssh -L`", flush=True)
        app = make_app(folder, Door(host, token))
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])


def make_app(folder: RunFolder, door: Door) -> Starlette:
    """Return the application that serves one run through one door."""
    watch = RunWatch(folder)
    streams: set[object] = set()

    async def page(request: Request) -> Response:
        text = fill_page(
            title=f"{folder.name}: live",
            summary="",
            csp="",
            style='<link rel="stylesheet" href="/report.css">',
            scripts="".join(f'<script src="/{name}.js" defer></script>' for name in ("plotly", "report", "live")),
        )
        return HTMLResponse(text)

    async def static(request: Request) -> Response:
        read, kind = STATIC[request.url.path]
        return Response(read(), media_type=kind, headers={"cache-control": "no-cache"})

    async def payload(request: Request) -> Response:
        return Response(await asyncio.to_thread(watch.payload), media_type="application/json")

    async def events(request: Request) -> Response:
        if len(streams) >= MAX_STREAMS:
            return JSONResponse({"said": f"{MAX_STREAMS} pages are open already"}, 503)
        return StreamingResponse(_stream(watch, streams), media_type="text/event-stream")

    async def act(request: Request) -> Response:
        wanted = await _body(request)
        said = await asyncio.to_thread(_act, request.path_params["action"], wanted, folder, watch)
        return JSONResponse({"said": said})

    async def refuse(request: Request, error: Exception) -> Response:
        return JSONResponse({"said": str(error)}, 409 if not isinstance(error, BadRequestError) else 400)

    async def nothing(request: Request) -> Response:
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/", page),
            *(Route(path, static) for path in STATIC),
            Route("/favicon.ico", nothing),
            Route("/payload", payload),
            Route("/events", events),
            Route("/do/{action}", act, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, door=door)],
        exception_handlers=dict.fromkeys((RunError, JournalError, DataError, PersonError, BadRequestError), refuse),
    )


async def _stream(watch: RunWatch, streams: set[object]) -> AsyncIterator[str]:
    """Yield the run's state as server-sent events whenever it changes, and a comment now and then."""
    mark, told, silent = object(), "", 0.0
    streams.add(mark)
    try:
        while True:
            now = (await asyncio.to_thread(watch.now)).as_json()
            if now != told:
                told, silent = now, 0.0
                yield f"event: now\ndata: {now}\n\n"
            elif silent >= PING_SECONDS:
                silent = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(TICK_SECONDS)
            silent += TICK_SECONDS
    finally:
        streams.discard(mark)


def _act(action: str, wanted: dict[str, Any], folder: RunFolder, watch: RunWatch) -> str:
    """Do what a button says, by the function that the command of that name calls; return what follows, in words."""
    if action == "pause":
        return pausing.pause(folder)
    if action == "resume":
        trials = wanted.get("trials")
        if trials is not None and not (type(trials) is int and 1 <= trials <= MAX_TRIALS):
            raise BadRequestError(f"trials is {trials!r}: a whole number from 1 on")
        said, process = pausing.resume_beside(folder, trials)
        watch.resumed = process or watch.resumed
        return said
    if action == "steer":
        return person_view.add_wish(folder, _text(wanted, "wish"))
    if action in ("approve", "reject", "revise"):
        trial = wanted.get("trial")
        if type(trial) is not int:
            raise BadRequestError("say which trial is meant")
        word = next(word for word in get_args(Word) if word == action)
        return person_view.answer(folder, word, _text(wanted, "why"), trial)
    raise BadRequestError(f"there is no button {action!r}")


def _text(wanted: dict[str, Any], name: str) -> str:
    text = wanted.get(name, "")
    if not isinstance(text, str):
        raise BadRequestError(f"{name} is no text")
    return text


async def _body(request: Request) -> dict[str, Any]:
    try:
        wanted = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise BadRequestError(f"the request is no JSON: {error}") from error
    if not isinstance(wanted, dict):
        raise BadRequestError("the request is no JSON object")
    return wanted
