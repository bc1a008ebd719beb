"""`team scripted-model`: serve until Ctrl-C, and say where."""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import TYPE_CHECKING, cast

from graph.errors import RunError
from team.scripted.faults import FAULTS, Fault, FaultPlan
from team.scripted.script import Playbook, Recording, Script
from team.scripted.server import LOOPBACK, MODEL, Manners, ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path


class ServingError(RunError):
    """A scripted model that cannot be served; the message says what to change."""


def serve_scripted(
    port: int,
    answers: Path | None,
    seed: int,
    fault_rate: float,
    fault_seed: int,
    faults: str | None,
    asked_seconds: int,
    hang_seconds: float,
    *,
    as_json: bool,
) -> int:
    """Serve a scripted model until SIGINT or SIGTERM; return the exit code.

    Raises:
        ServingError: A fault is not known, or the port is taken.
    """
    script: Script = Playbook(seed) if answers is None else Recording(answers)
    plan = FaultPlan(read_faults(faults), fault_rate, fault_seed)
    manners = Manners(asked_seconds=asked_seconds, hang_seconds=hang_seconds)
    try:
        server = ScriptedServer(script, plan, manners, port, log=lambda line: print(line, file=sys.stderr, flush=True))
    except OSError as error:
        raise ServingError(
            f"port {port} of {LOOPBACK} cannot be used ({error.strerror}): --port 0 takes a free one"
        ) from error
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with server:
        command = f"team run --model {MODEL} --base-url {server.base_url}"
        if as_json:
            print(json.dumps({"base_url": server.base_url, "model": MODEL, "command": command}), flush=True)
        else:
            stats = f"{server.base_url.removesuffix('/v1')}/stats"
            print(f"{server.base_url}\n\n  {command}\n\nCtrl-C stops it; {stats} shows what it was asked", flush=True)
        stopped.wait()
    counted = server.stats
    print(f"{counted.requests} requests, {sum(counted.faults.values())} faults", file=sys.stderr)
    return 0


def read_faults(text: str | None) -> tuple[Fault, ...]:
    """Return the kinds of faults in a list with commas, all where there is none.

    Raises:
        ServingError: A kind is not known.
    """
    if text is None:
        return FAULTS
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FAULTS:
            raise ServingError(f"there is no fault {name!r}: use some of {', '.join(FAULTS)}")
    return cast(tuple[Fault, ...], tuple(names))
