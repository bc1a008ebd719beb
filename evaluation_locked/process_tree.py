"""Counting, measuring and ending a process tree through /proc; nothing of it survives `end_descendants`."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_exit_codes: dict[int, int] = {}


def descendants(pid: int) -> list[int]:
    """Return the ids of all living processes below `pid`, whatever session or group they moved to."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name may hold spaces and parentheses; state and parent follow its last one.
                fields = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()
                # A process whose first thread has ended shows as dead while others of its threads go on.
                if fields[0] not in "ZX" or int(fields[17]) > 1:
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def memory_bytes(pids: list[int], precise_above: int) -> int:
    """Return the resident memory of `pids` together, in bytes.

    Pages that they share are counted once only where the plain sum is above `precise_above`, since that costs more.
    """
    resident = {pid: _resident_bytes(pid) for pid in pids}
    if sum(resident.values()) <= precise_above or len(pids) == 1:
        return sum(resident.values())
    return sum(_proportional_bytes(pid, otherwise=resident[pid]) for pid in pids)


def count_tasks(pids: list[int]) -> int:
    """Return the number of threads of `pids` together."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[17])
    return total


def nameless_bytes(pids: list[int]) -> tuple[int, int]:
    """Return the bytes in memory and on disk of open files that no folder lists: removed ones, and those of memfd."""
    in_memory: dict[tuple[int, int], int] = {}
    on_disk: dict[tuple[int, int], int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    facts = Path(entry.path).stat()
                    if facts.st_nlink == 0 and stat.S_ISREG(facts.st_mode):
                        shared = str(Path(entry.path).readlink()).startswith("/memfd:")
                        (in_memory if shared else on_disk)[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
    return sum(in_memory.values()), sum(on_disk.values())


def end_descendants(pid: int, patience_seconds: float) -> None:
    """End every process below `pid`: SIGTERM, then SIGKILL after `patience_seconds`, until none is left.

    The caller must be `pid` itself and a child subreaper, so that orphans stay below it.
    """
    until = time.monotonic() + patience_seconds
    if patience_seconds:
        _signal_all(descendants(pid), signal.SIGTERM)
        while time.monotonic() < until and _reap_and_list(pid):
            time.sleep(0.01)
    while left := _reap_and_list(pid):
        _signal_all(left, signal.SIGKILL)
        time.sleep(0.005)


def _resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; that of a thread, where the first one has ended."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        if pages := int(Path(f"/proc/{pid}/statm").read_text().split()[1]):
            return pages * PAGE_BYTES
        for entry in os.scandir(f"/proc/{pid}/task"):
            if pages := int(Path(entry.path, "statm").read_text().split()[1]):
                return pages * PAGE_BYTES
    return 0


def _proportional_bytes(pid: int, otherwise: int) -> int:
    """Return the memory of a process, pages shared with n others counted as 1/n; `otherwise` where it hides that."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return otherwise


def exit_code(pid: int, wait_seconds: float) -> int | None:
    """Return the exit code of child `pid` (negative: the signal that ended it), or None while it runs."""
    until = time.monotonic() + wait_seconds
    while pid not in _exit_codes:
        _reap()
        if pid in _exit_codes or time.monotonic() > until:
            break
        time.sleep(0.01)
    return _exit_codes.get(pid)


def _reap_and_list(pid: int) -> list[int]:
    _reap()
    return descendants(pid)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                return
            _exit_codes[ended] = os.waitstatus_to_exitcode(status)


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
