"""Who may talk to the page: the right host name, the right origin, the right token. Everything else is refused before
it is read.

A web page of somebody else, open in the same browser, can send requests to this machine, also under a name of its own
that resolves to it (DNS rebinding). So a request must name this machine, must not come from another origin, and where
a token is set must bring it in a header, which no other page can make a browser do.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_TOKEN_CHARACTERS = 16
OPEN_PATHS = frozenset({"/", "/report.css", "/report.js", "/live.js", "/plotly.js", "/favicon.ico"})  # no data in these
MAX_BODY_BYTES = 20_000
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Plotly places what it draws by inline style
        "img-src data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Door:
    """What a request must bring.

    Attributes:
        host: The address that is listened on.
        token: Empty where none is wanted, which only a loopback address may have.
    """

    host: str
    token: str = ""

    def refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        """Return status and reason to refuse a request, None where it may pass."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self.knows(host):
            return 421, "this host name is not one of this page's: use the address that `team serve` printed"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "a page of another origin may not ask here"
        if path in OPEN_PATHS and method in ("GET", "HEAD"):
            return None
        return self._refusal_of_data(method, headers)

    def _refusal_of_data(self, method: str, headers: Headers) -> tuple[int, str] | None:
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "a page of another origin may not ask here"
        if method == "POST" and headers.get("content-type", "").split(";")[0] != "application/json":
            return 415, "send JSON"
        if self.token and not hmac.compare_digest(_bearer(headers), self.token.encode()):
            return 401, "the token is missing or wrong: use the address that `team serve` printed"
        return None

    def knows(self, host: str) -> bool:
        """Return whether a Host header names this machine: by number, or by a name that nobody else gives."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or (self.host and name == self.host.strip("[]").lower()):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return not is_loopback(self.host) and name == socket.gethostname().lower()
        return address.is_loopback or not is_loopback(self.host)


class Guard:
    """ASGI middleware that asks the door, bounds what is sent here, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app = app
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with why not."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no web sockets here

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        refusal = self.door.refusal(scope["method"], scope["path"], headers)
        length = headers.get("content-length", "0")
        if refusal is None and scope["method"] == "POST" and not (length.isdigit() and int(length) <= MAX_BODY_BYTES):
            refusal = 413, f"at most {MAX_BODY_BYTES} bytes, and their number beforehand"
        if refusal is not None:
            challenge = {"www-authenticate": "Bearer"} if refusal[0] == 401 else None
            await PlainTextResponse(refusal[1], refusal[0], challenge)(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bearer(headers: Headers) -> bytes:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip().encode() if kind.lower() == "bearer" else b""
