"""`team scripted-model` as a process: what it prints, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from typing import TYPE_CHECKING

from tests.conftest import team_command

if TYPE_CHECKING:
    from collections.abc import Callable

ASKED = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()


def test_it_serves_until_it_is_interrupted() -> None:
    command = team_command("scripted-model", "--json", "--fault-rate", "1", "--faults", "language")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["command"] == f"team run --model scripted --base-url {told['base_url']}"
        request = urllib.request.Request(f"{told['base_url']}/chat/completions", ASKED)
        with urllib.request.urlopen(request, timeout=30) as response:
            body = json.load(response)
        assert "breiter" in body["choices"][0]["message"]["content"]
        process.send_signal(signal.SIGINT)
        rest, log = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
    assert "1 unknown text: 200" in log
    assert log.endswith("1 requests, 1 faults\n")


def test_an_unknown_fault_is_named(team: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = team("scripted-model", "--faults", "explosion", check=False)
    assert done.returncode == 1
    assert "no fault 'explosion': use some of rate_limit_seconds" in done.stderr
