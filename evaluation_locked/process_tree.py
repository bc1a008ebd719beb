"""Counting, measuring and ending a process tree through /proc; nothing of it survives `end_descendants`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import stat
import time
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LITTLE_BYTES = 1 << 24  # growth of the machine's shared memory below which nobody's mappings are read
SOCKET_BYTES = 212_992  # the kernel's default for what one end may have sent and nobody read
_PR_SET_CHILD_SUBREAPER = 36
_exit_codes: dict[int, int] = {}


def adopt_orphans() -> None:
    """Make this process the parent of every one below it that loses its own, so that none gets out of sight."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


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


@dataclass(frozen=True)
class Nameless:
    """What a process tree holds by descriptors that no folder lists.

    Attributes:
        memory_bytes: Of files in memory (memfd).
        disk_bytes: Of removed files.
        sockets: Number of open sockets.
    """

    memory_bytes: int
    disk_bytes: int
    sockets: int


def nameless(pids: list[int]) -> Nameless:
    """Return what `pids` hold open that no folder lists: removed files, files in memory, sockets."""
    in_memory: dict[tuple[int, int], int] = {}
    on_disk: dict[tuple[int, int], int] = {}
    sockets: set[tuple[int, int]] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    facts = Path(entry.path).stat()
                    if facts.st_nlink == 0 and stat.S_ISREG(facts.st_mode):
                        shared = str(Path(entry.path).readlink()).startswith("/memfd:")
                        (in_memory if shared else on_disk)[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
                    elif stat.S_ISSOCK(facts.st_mode):
                        sockets.add((facts.st_dev, facts.st_ino))
    return Nameless(sum(in_memory.values()), sum(on_disk.values()), len(sockets))


def kernel_bytes(pids: list[int], sockets: int) -> int:
    """Return what the kernel holds for `pids` and counts as nobody's: page tables, and all that sockets may hold."""
    return sockets * SOCKET_BYTES + sum(_status_bytes(pid, "VmPTE") for pid in pids)


def shared_bytes_of_machine() -> int:
    """Return the shared memory of the whole machine, whoever holds it and whether or not it is mapped."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) * 1024
    return 0


def dropped_bytes(pids: list[int], sockets: int, shared_before: int) -> int:
    """Return the shared memory that `pids` may hold without having it mapped.

    Pages of a shared mapping stay when they are dropped from every table, or when all but a corner of it is unmapped;
    files in memory stay while a message in a socket carries them. No process shows them. So a tree that could hold such
    pages is charged with what the shared memory of the machine has grown by; one that holds no shared mapping and no
    pair of sockets never is.

    Args:
        pids: The tree.
        sockets: Its open sockets, the channel to the judge among them.
        shared_before: `shared_bytes_of_machine()` before the tree began.
    """
    grown = shared_bytes_of_machine() - shared_before
    if grown < LITTLE_BYTES or (sockets <= 1 and not any(_maps_shared_memory(pid) for pid in pids)):
        return 0
    return max(0, grown - sum(_status_bytes(pid, "RssShmem") for pid in pids))


def _maps_shared_memory(pid: int) -> bool:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            parts = line.split(maxsplit=5)
            if len(parts) == 6 and parts[5].startswith(("/dev/zero (deleted)", "/memfd:", "/SYSV")):
                return True
    return False


def _status_bytes(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


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
