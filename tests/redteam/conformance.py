"""One suite for every layer: the same probes below each layer alone, below all of them, and below all but namespaces.

    python -m tests.redteam.conformance [--json]

It prints a table, promise by choice of layers: `held`, `-` where nothing promises it (`(held)` where it was held all
the same), and `FAILED` where a layer that promises it did not keep it. The first column has no layer: there every
promise must be open, or the probe proves nothing on this machine, and the row says `untried`.

It plays the warden: it starts the launcher itself, so that what is seen is the kernel's doing and nobody else's.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation_locked import sandbox
from evaluation_locked.client import CHANNEL_VARIABLE
from evaluation_locked.layers import ALL_LAYERS, PROMISES, promises_of
from evaluation_locked.wire import receive
from tests.redteam.bait import Bait, lay
from tests.redteam.suite import adopt_orphans, survivors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evaluation_locked.layers import LayerName

PROBE = Path(__file__).with_name("probe.py")
PID_IN_PROBE, ADDRESS_IN_PROBE, KEY_IN_PROBE = "99_410_771", "0x7EA3_0000_0002", "0x7EA3_0001"
FILE_BYTES, SPARE_TASKS = 1 << 26, 20
CHOICES: dict[str, tuple[LayerName, ...]] = {
    "none": (),
    "limits": (),
    **{name: (name,) for name in ALL_LAYERS},
    "all": ALL_LAYERS,
    "all but namespaces": ("landlock", "system calls"),
}


@dataclass(frozen=True)
class Conformance:
    """What one choice of layers held.

    Attributes:
        choice: Name of the choice.
        layers: What the launcher reported.
        opened: For each promise, what got through; empty where it was held.
        promised: Promises of the reported layers.
    """

    choice: str
    layers: tuple[str, ...]
    opened: dict[str, tuple[str, ...]]
    promised: tuple[str, ...]

    def failed(self) -> tuple[str, ...]:
        """Return the promises that were not kept."""
        return tuple(promise for promise in self.promised if self.opened[promise])


def probe(choice: str, bait: Bait) -> Conformance:
    """Run the probes below one choice of layers.

    Raises:
        RuntimeError: The probes did not come to their end, so nothing can be said.
    """
    marker = ctypes.create_string_buffer(b"sk-memory")
    text = bait.text_of(PROBE).replace(PID_IN_PROBE, str(os.getpid()))
    text = text.replace(ADDRESS_IN_PROBE, str(ctypes.addressof(marker))).replace(KEY_IN_PROBE, str(_key()))
    capped = choice != "none"
    with tempfile.TemporaryDirectory(dir=bait.root / "run" / "trials") as folder:
        train_py, scratch = Path(folder, "train.py"), Path(folder, "scratch")
        scratch.mkdir()
        train_py.write_text(text, encoding="utf-8")
        order = sandbox.launch_order(
            train_py,
            scratch,
            CHOICES[choice],
            file_bytes=FILE_BYTES if capped else None,
            tasks=_tasks_of_user() + SPARE_TASKS if capped else None,
        )
        layers, log = _launch(order, scratch, capped=capped)
    opened: dict[str, list[str]] = {promise: [] for promise in PROMISES}
    for line in log.splitlines():
        promise, _, found = line.partition(": ")
        if promise in opened and found.startswith("open"):
            opened[promise].append(found.removeprefix("open, "))
    if "done" not in log.splitlines():
        raise RuntimeError(f"the probes below {choice!r} broke off: {log[-500:]}")
    time.sleep(0.1)  # the kernel ends a namespace soon after its init
    for left in survivors(bait.mark):
        opened["orphans"].append("a process outlived it")
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(left.split()[0]), signal.SIGKILL)
            os.waitpid(int(left.split()[0]), 0)
    promised = tuple(promise for promise in PROMISES if promise in promises_of(layers))
    return Conformance(choice, layers, {promise: tuple(found) for promise, found in opened.items()}, promised)


def _launch(order: dict[str, object], scratch: Path, *, capped: bool) -> tuple[tuple[str, ...], str]:
    ours, theirs = socket.socketpair()
    with ours:
        done = subprocess.run(
            [sys.executable, "-I", "-u", str(sandbox.LAUNCHER)],
            input=json.dumps(order) + "\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=scratch,
            env={CHANNEL_VARIABLE: str(theirs.fileno()), "PATH": os.environ.get("PATH", "")},
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            check=False,
            timeout=60,
        )
        theirs.close()
        try:
            layers = tuple(str(layer) for layer in receive(ours, 0).facts["layers"])
        except ConnectionError as error:
            raise RuntimeError(f"the launcher failed: {done.stdout[-500:]}") from error
    return tuple(layer for layer in layers if capped or layer != "limits"), done.stdout


@contextlib.contextmanager
def shared_things(mark: str) -> Iterator[None]:
    """Leave what another trial might have left: a System V segment and a message queue."""
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(_key(), 64, 0o1600)
    queue = libc.mq_open(f"/{mark}".encode(), os.O_RDWR | os.O_CREAT, 0o600, None)
    try:
        yield
    finally:
        libc.shmctl(segment, 0, None)
        if queue >= 0:
            os.close(queue)
            libc.mq_unlink(f"/{mark}".encode())


def _key() -> int:
    return 0x7E_00_00_00 + os.getpid() % 0x7FFFFF * 2


def _tasks_of_user() -> int:
    """Return the tasks of this user, which the kernel's cap counts together where a process may not exceed it."""
    total = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.getuid():
                total += len(list((entry / "task").iterdir()))
    return total


def cell(found: Conformance, promise: str, control: Conformance) -> str:
    """Return what the table says of one promise below one choice of layers."""
    if found is control:
        return "open" if found.opened[promise] else "untried"
    if promise in found.promised:
        return "FAILED" if found.opened[promise] else "held"
    return "-" if found.opened[promise] or not control.opened[promise] else "(held)"


def run() -> list[Conformance]:
    """Run the probes below every choice of layers, the one without any first."""
    adopt_orphans()
    mark = f"redteam-{os.getpid()}-{time.time_ns()}"
    with tempfile.TemporaryDirectory(prefix=mark) as root, lay(Path(root), mark) as bait, shared_things(mark):
        return [probe(choice, bait) for choice in CHOICES]


def main() -> int:
    """Print the table; return 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each choice of layers")
    options = parser.parse_args()
    found = run()
    if options.json:
        for one in found:
            print(json.dumps(asdict(one)))
    else:
        width = max(map(len, PROMISES))
        print(" " * width, *(f"{one.choice:>18}" for one in found))
        for promise in PROMISES:
            print(f"{promise:{width}}", *(f"{cell(one, promise, found[0]):>18}" for one in found))
    for one in found[1:]:
        for promise in one.failed():
            print(f"FAILED below {one.choice}: {promise}: {', '.join(one.opened[promise])}", file=sys.stderr)
    untried = [promise for promise in PROMISES if not found[0].opened[promise]]
    if untried:
        print(f"untried, since this machine closes them without a layer: {', '.join(untried)}", file=sys.stderr)
    kept = sum(len(one.promised) - len(one.failed()) for one in found[1:])
    due = sum(len(one.promised) for one in found[1:])
    print(f"{kept} of {due} promises kept, below {len(found) - 1} choices of layers", file=sys.stderr)
    return int(kept < due)


if __name__ == "__main__":
    sys.exit(main())
