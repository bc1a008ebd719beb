"""The journal: one file of JSON lines that only grows, and the truth from which all else in a run is derived.

It writes entries, checks them and keeps to one writer. It does not interpret them: see `memory.history`.

The form of a line is that of `memory.lines`.
"""

from __future__ import annotations

import math
import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from memory.lines import append_durably, canonical_json, format_line, payload_of, read_lines
from memory.records import Entry
from memory.run_lock import RunLock, RunLockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])
_TAIL_BYTES = 65_536


class JournalError(RuntimeError):
    """A journal that cannot be read, or an entry that it cannot hold; the message names the line and the mend."""


class Journal:
    """An append-only file of entries with one writer and any number of readers.

    Beside the file lie the files of its lock (`memory.run_lock`), and `journal.torn`, what repairs cut off, for the
    curious.

    Args:
        path: `runs/<name>/journal.jsonl`; it need not exist yet.
        lock: Of the folder, where it is not the usual one.
    """

    def __init__(self, path: Path, lock: RunLock | None = None) -> None:
        self.path = Path(path)
        self._lock = lock or RunLock(self.path.parent / "lock")
        self._held = False
        self._threads = threading.RLock()

    @contextmanager
    def lock(
        self, say: Callable[[str], None] = lambda text: None, *, patient: bool = True, beating: bool = True
    ) -> Iterator[None]:
        """Be the run's only writer while the block lasts; within a block of its own it changes nothing.

        The lock goes with its process, however that ends. A torn last line that an earlier writer left is repaired
        first.

        Args:
            say, patient, beating: See `memory.run_lock.RunLock.acquire`.

        Raises:
            RunLockedError: Another process, or another `Journal` of this one, writes the run.
            OSError: The run's folder cannot be written.
        """
        with self._threads:
            if mine := not self._held:
                self._lock.acquire(say, patient=patient, beating=beating)
                self._held = True
        try:
            if mine:
                self._repair()
            yield
        finally:
            if mine:
                with self._threads:
                    self._held = False
                    self._lock.release()

    def reader(self) -> JournalReader:
        """Return a reader for those who only look, from the first entry on."""
        return JournalReader(self)

    def writer(self) -> str:
        """Return who of this host writes the run at this moment; empty where nobody does."""
        return self._lock.writer()

    def check(self) -> None:
        """Make sure, before something is paid for, that its result could be written.

        Raises:
            RunLockedError: Another process took the run over while this one stood still.
        """
        self._lock.check()

    def append(self, entry: Entry) -> None:
        """Write one entry durably: when this returns, it is on the disk; when it raises, the file holds what it held.

        Without `lock` around it, the lock is taken for this one line.

        Raises:
            JournalError: The entry holds what JSON cannot, such as NaN.
            RunLockedError: As for `lock`; or it was lost, because this process stood still for too long.
            OSError: The disk is full, or the file cannot be written: free some space, then resume the run.
        """
        line = _format(entry)
        with self._threads, self.lock(beating=False):
            self._lock.check()
            append_durably(self.path, line)

    def read(self) -> tuple[Entry, ...]:
        """Return every entry in the order written; an absent file has none.

        A torn last line is repaired. While another process writes the run, or may do so from another host, it is passed
        over instead, since that process may be in the middle of it.

        Raises:
            JournalError: A line before the last is damaged, or a line is whole but no entry.
        """
        with self._threads:
            lines = read_lines(self.path)
            if lines and payload_of(lines[-1]) is None:
                try:
                    with self.lock(patient=False, beating=False):
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
