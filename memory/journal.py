"""The journal: one file of JSON lines that only grows, and the truth from which all else in a run is derived.

It writes entries, checks them and keeps to one writer. It does not interpret them: see `memory.history`.

The form of a line is that of `memory.lines`.
"""

from __future__ import annotations

import fcntl
import math
import os
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from memory.lines import append_durably, canonical_json, format_line, payload_of, read_lines
from memory.records import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])
_TAIL_BYTES = 65_536


class JournalError(RuntimeError):
    """A journal that cannot be read, or an entry that it cannot hold; the message names the line and the mend."""


class RunLockedError(RuntimeError):
    """Another process writes this run; the message names it."""


class Journal:
    """An append-only file of entries with one writer and any number of readers.

    Beside the file lie `lock`, held by the writer, and `journal.torn`, what repairs cut off, for the curious.

    Args:
        path: `runs/<name>/journal.jsonl`; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock_fd: int | None = None
        self._threads = threading.RLock()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the run's only writer while the block lasts; within a block of its own it changes nothing.

        The kernel lets go of the lock when the process ends, however it ends. A torn last line that an earlier
        writer left is repaired first.

        Raises:
            RunLockedError: Another process, or another `Journal` of this one, writes the run.
            OSError: The run's folder cannot be written.
        """
        with self._threads:
            if mine := self._lock_fd is None:
                self._lock_fd = self._acquire()
        try:
            if mine:
                self._repair()
            yield
        finally:
            if mine:
                with self._threads:
                    fd, self._lock_fd = self._lock_fd, None
                if fd is not None:
                    os.ftruncate(fd, 0)  # the file stays: to unlink it would let two writers lock two files
                    os.close(fd)

    def reader(self) -> JournalReader:
        """Return a reader for those who only look, from the first entry on."""
        return JournalReader(self)

    def writer(self) -> str:
        """Return who writes the run at this moment, as the lock file names it; empty where nobody does.

        It asks the kernel and touches no lock: a reader that took one, were it for a moment, could turn a writer away.
        """
        lock = self.path.parent / "lock"
        try:
            inode = lock.stat().st_ino
            held = Path("/proc/locks").read_text(encoding="ascii").splitlines()
            name = lock.read_text(encoding="utf-8").strip()
        except OSError:
            return ""
        fields = (line.split() for line in held)
        if any(
            f[1] == "FLOCK" and f[3] == "WRITE" and f[5].rpartition(":")[2] == str(inode) for f in fields if len(f) > 5
        ):
            return name or "a process that is just starting"
        return ""

    def append(self, entry: Entry) -> None:
        """Write one entry durably: when this returns, it is on the disk; when it raises, the file holds what it held.

        Without `lock` around it, the lock is taken for this one line.

        Raises:
            JournalError: The entry holds what JSON cannot, such as NaN.
            RunLockedError: As for `lock`.
            OSError: The disk is full, or the file cannot be written: free some space, then resume the run.
        """
        line = _format(entry)
        with self._threads, self.lock():
            append_durably(self.path, line)

    def read(self) -> tuple[Entry, ...]:
        """Return every entry in the order written; an absent file has none.

        A torn last line is repaired. While another process writes the run it is passed over instead, since that
        process may be in the middle of it.

        Raises:
            JournalError: A line before the last is damaged, or a line is whole but no entry.
        """
        with self._threads:
            lines = read_lines(self.path)
            if lines and payload_of(lines[-1]) is None:
                try:
                    with self.lock():
                        self._repair()
                        lines = read_lines(self.path)
                except (RunLockedError, OSError):
                    lines = lines[:-1]
        return tuple(self._parse(number, line) for number, line in enumerate(lines, start=1))

    def _parse(self, number: int, line: bytes) -> Entry:
        payload = payload_of(line)
        if payload is None:
            raise JournalError(
                f"{self.path}: line {number} is damaged (its checksum does not match): restore the file from a copy, "
                f"or delete the line, which forgets that entry (sed -i {number}d {self.path.name})"
            )
        try:
            return _ENTRY.validate_json(payload)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise JournalError(
                f"{self.path}: line {number} is whole, but not an entry of this version ({where}: {fault['msg']}): "
                "read it with the version that run.toml names"
            ) from error

    def _acquire(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path.parent / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 1000, 0).decode(errors="replace").strip() or "a process that is just starting"
            os.close(fd)
            raise RunLockedError(
                f"{self.path.parent} is in use by {holder}: wait until it ends, stop it, or choose another run name"
            ) from None
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _repair(self) -> None:
        """Cut off a torn last line, and end a whole one that lacks only its line break."""
        if not self.path.exists():
            return
        fd = os.open(self.path, os.O_RDWR)
        try:
            start, line = _last_line(fd)
            if not line or payload_of(line) is not None:
                return
            if payload_of(line + b"\n") is not None:
                os.pwrite(fd, b"\n", start + len(line))
            else:
                with self.path.with_suffix(".torn").open("ab") as torn:
                    torn.write(line.rstrip(b"\n") + b"\n")
                os.ftruncate(fd, start)
            os.fsync(fd)
        finally:
            os.close(fd)


class JournalReader:
    """Reads a journal as it grows: takes no lock, mends nothing, and parses no line twice.

    Attributes:
        offset: Bytes read so far. A file that is shorter than that is another file: begin with a new reader.
    """

    def __init__(self, journal: Journal) -> None:
        self.offset = 0
        self._journal = journal
        self._n_lines = 0

    def read_new(self) -> tuple[Entry, ...]:
        """Return the entries since the last call; an absent file has none, and a torn last line is not there yet.

        Raises:
            JournalError: As for `Journal.read`.
        """
        try:
            with self._journal.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return ()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        if lines and payload_of(lines[-1]) is None:
            del lines[-1]
        entries = tuple(self._journal._parse(self._n_lines + n, line) for n, line in enumerate(lines, start=1))
        self.offset += sum(map(len, lines))
        self._n_lines += len(lines)
        return entries


def _format(entry: Entry) -> bytes:
    if faults := list(_not_finite(entry.model_dump(), "entry")):
        raise JournalError(f"an entry that JSON cannot hold: {', '.join(faults)}; use a finite number or None")
    try:
        fields = entry.model_dump(mode="json")
        payload = canonical_json(fields)
        _ENTRY.validate_json(payload)  # never write what cannot be read
    except ValueError as error:
        raise JournalError(f"an entry that JSON cannot hold: {error}; use numbers, text, bools or None") from error
    return format_line(payload)


def _not_finite(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{name} is {value}"
    elif isinstance(value, dict):
        for key, held in value.items():
            yield from _not_finite(held, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for index, held in enumerate(value):
            yield from _not_finite(held, f"{name}[{index}]")


def _last_line(fd: int) -> tuple[int, bytes]:
    """Return where the last line starts and its bytes, without reading the whole file."""
    start = end = os.fstat(fd).st_size
    tail = b""
    while start:
        step = min(_TAIL_BYTES, start)
        start -= step
        tail = os.pread(fd, step, start) + tail
        at = tail.rfind(b"\n", 0, len(tail) - 1)
        if at >= 0:
            return start + at + 1, tail[at + 1 :]
    return end - len(tail), tail
