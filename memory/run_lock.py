"""One writer of a folder at a time: among the processes of a host, and among hosts that share a file system.

Two files say who writes. The kernel's lock (flock) on `lock` is instant and goes with its process, however that ends;
but some network file systems keep it from other hosts, and some have none. So `lock.holder` names the writer, and a
thread of the writer advances a count in it, the beat. Who finds a writer there that the kernel knows nothing of watches
the beat for a while by its own clock: if it advances, the folder is in use; if it stands, the lock is taken over.

It trusts no clock of another host and no time of a file. It is not asked for leave to read, and keeps nobody from
writing who does not ask: a writer that stood still for so long that it was taken over learns so from `RunLock.check`,
and must ask before it writes what matters.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from memory.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 30.0  # six beats: a busy holder, or a server that was away for a moment, is not taken for a dead one
RECORD_BYTES = 512  # of `lock.holder`, always: written at once, and no shorter record leaves the end of a longer one
BEAT_DIGITS = 12
NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # of a file system that knows no such lock
STARTING = "a process that is just starting"


class RunLockedError(RuntimeError):
    """Another process writes here; the message names it.

    Attributes:
        holder: Which, such as `process 7 on alpha`.
    """

    def __init__(self, message: str, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class Holder(Record):
    """Who writes.

    Attributes:
        host: Its name.
        boot: What the kernel drew when it started, so that a host is told from itself before a restart.
        process: The number of the process.
        began: When the kernel started it, in its own ticks, so that a later process of that number is not it.
        token: Drawn at random for each time that the lock is taken.
    """

    host: str
    boot: str
    process: int
    began: int
    token: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"

    @property
    def is_over(self) -> bool:
        """Whether it was a process of this host, since its last start, that has ended."""
        here = self.host == socket.gethostname() and self.boot == _boot()
        return here and process_began(self.process) != self.began


class RunLock:
    """The lock of one folder; an instance is held once at a time, and by one thread's doing.

    Args:
        path: The file `lock` of the folder, which is made where it is not there; `lock.holder` lies beside it.
        beat_seconds: Between two signs of life.
        patience_seconds: How long a beat must stand still before the lock is taken over.
    """

    def __init__(
        self, path: Path, *, beat_seconds: float = BEAT_SECONDS, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.path = Path(path)
        self.beat_seconds = beat_seconds
        self.patience_seconds = patience_seconds
        self._named = self.path.with_name(f"{self.path.name}.holder")
        self._fd = -1
        self._me: Holder | None = None
        self._end = threading.Event()
        self._beating: threading.Thread | None = None

    @contextlib.contextmanager
    def hold(self, say: Callable[[str], None] = lambda text: None, *, patient: bool = True) -> Iterator[None]:
        """Be the only writer while the block lasts; see `acquire`."""
        self.acquire(say, patient=patient)
        try:
            yield
        finally:
            self.release()

    def acquire(
        self, say: Callable[[str], None] = lambda text: None, *, patient: bool = True, beating: bool = True
    ) -> None:
        """Become the only writer.

        Args:
            say: Told in a sentence that a writer on another host is waited for, and that its lock was taken over.
            patient: Whether to wait for a sign of life; else whoever is named there, and not known to be over, holds.
            beating: Whether to give signs of life, which who holds the lock for a moment need not.

        Raises:
            RunLockedError: Somebody else is.
            OSError: The folder cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        me = Holder(
            host=socket.gethostname(),
            boot=_boot(),
            process=os.getpid(),
            began=process_began(os.getpid()) or 0,
            token=secrets.token_hex(8),
        )
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._claim(me, say, patient=patient, kernel_knows=self._flock(fd))
        except BaseException:
            self._clear(me)
            os.close(fd)
            raise
        self._fd, self._me = fd, me
        if beating:
            self._end.clear()
            self._beating = threading.Thread(target=self._beat, args=(me,), name="lock", daemon=True)
            self._beating.start()

    def release(self) -> None:
        """Let go; nobody is named as the writer any more, so that the next one need not wait."""
        if self._me is None:
            return
        if self._beating is not None:
            self._end.set()
            self._beating.join()
        self._clear(self._me)  # before the kernel lets the next one in
        os.close(self._fd)  # `lock` stays: to unlink it would let two writers lock two files
        self._me, self._fd, self._beating = None, -1, None

    def check(self) -> None:
        """Make sure that the lock is still held; to be asked before each write that matters.

        Raises:
            RunLockedError: It was taken over, or its files were removed.
            OSError: That cannot be found out.
        """
        found = self._read()
        if self._me is not None and _is_of(found, self._me):
            return
        holder = "nobody" if found is None else _who(found)
        how = "`lock.holder` was removed" if found is None else f"{holder} took the lock over"
        raise RunLockedError(
            f"{self.path.parent}: {how} while this process stood still, so it writes nothing more; what is recorded "
            "stays, and `team resume` goes on where nobody else does",
            holder,
        )

    def writer(self) -> str:
        """Return who of this host holds the lock at this moment; empty where nobody does.

        It asks the kernel and touches no lock: a reader that took one, were it for a moment, could turn a writer away.
        """
        try:
            inode = self.path.stat().st_ino
            held = Path("/proc/locks").read_text(encoding="ascii").splitlines()
            found = self._read()
        except OSError:
            return ""
        fields = (line.split() for line in held)
        if any(
            f[1] == "FLOCK" and f[3] == "WRITE" and f[5].rpartition(":")[2] == str(inode) for f in fields if len(f) > 5
        ):
            return _who(found)
        return ""

    def _flock(self, fd: int) -> bool:
        """Take the kernel's lock; return whether this file system has one."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._refusal(self._read()) from None
        except OSError as error:
            if error.errno not in NO_FLOCK:
                raise
            return False
        return True

    def _claim(self, me: Holder, say: Callable[[str], None], *, patient: bool, kernel_knows: bool) -> None:
        """Have `me` named as the writer."""
        while not self._create(me):
            found = self._read()
            if found is None:
                continue  # it was released between the two
            named = _parse(found)
            if named is not None and kernel_knows and named.is_over:
                if self._replace(found, me):
                    return
            elif not patient:
                raise self._refusal(found)
            elif self._stands_still(found, say) and self._replace(found, me):
                time.sleep(self.beat_seconds)  # another may be doing the same: the last to write is the one
                if not _is_of(now := self._read(), me):
                    raise self._refusal(now)
                say(
                    f"{self.path.parent} was held by {_who(found)}, which gave no sign of life for "
                    f"{self.patience_seconds:g} s: its lock is taken over"
                )
                return

    def _stands_still(self, found: bytes, say: Callable[[str], None]) -> bool:
        """Watch the beat; return whether it stood still, false where it was released meanwhile.

        Raises:
            RunLockedError: It advanced, or somebody else took the lock over.
        """
        say(
            f"{self.path.parent} names {_who(found)} as its writer: waiting up to {self.patience_seconds:g} s "
            "for a sign of life"
        )
        until = time.monotonic() + self.patience_seconds
        while time.monotonic() < until:
            time.sleep(self.beat_seconds / 4)
            now = self._read()
            if now is None:
                return False
            if now != found:
                raise self._refusal(now)
        return True

    def _create(self, me: Holder) -> bool:
        """Write the record of `me` where there is none; of several hosts at once only one succeeds."""
        try:
            fd = os.open(self._named, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        try:
            try:
                if os.write(fd, _format(me)) < RECORD_BYTES:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._named))
            finally:
                os.close(fd)
        except OSError:
            self._named.unlink(missing_ok=True)
            raise
        return True

    def _replace(self, found: bytes, me: Holder) -> bool:
        """Write the record of `me` over the one that was found, unless it is another by now."""
        try:
            fd = os.open(self._named, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            if os.pread(fd, RECORD_BYTES, 0) != found:
                return False
            os.pwrite(fd, _format(me), 0)
        finally:
            os.close(fd)
        return True

    def _clear(self, me: Holder) -> None:
        with contextlib.suppress(
            OSError
        ):  # of a disk that is read-only by now: the record is one of a process that ended
            if _is_of(self._read(), me):
                self._named.unlink()

    def _beat(self, me: Holder) -> None:
        """Give signs of life until the lock is released or lost."""
        beat = 0
        while not self._end.wait(self.beat_seconds):
            beat += 1
            with contextlib.suppress(OSError):  # the next one may get through
                fd = os.open(self._named, os.O_RDWR)
                try:
                    if not _is_of(os.pread(fd, RECORD_BYTES, 0), me):
                        return
                    os.pwrite(fd, b"%*d" % (BEAT_DIGITS, beat), 0)
                finally:
                    os.close(fd)  # over NFS, what sends it

    def _read(self) -> bytes | None:
        """Return the record, None where there is none; opening it anew makes an NFS client ask its server."""
        try:
            fd = os.open(self._named, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return os.pread(fd, RECORD_BYTES, 0)
        finally:
            os.close(fd)

    def _refusal(self, found: bytes | None) -> RunLockedError:
        return RunLockedError(
            f"{self.path.parent} is in use by {_who(found)}: wait until it ends, stop it, or choose another run name",
            _who(found),
        )


def process_began(process: int) -> int | None:
    """Return when the kernel started a living process (field 22 of its stat, see proc(5)), None where it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _format(holder: Holder, beat: int = 0) -> bytes:
    """Return a line with the beat and one with the holder, filled up with spaces."""
    return (b"%*d\n" % (BEAT_DIGITS, beat) + holder.model_dump_json().encode()).ljust(RECORD_BYTES - 1) + b"\n"


def _parse(record: bytes) -> Holder | None:
    """Return whom a record names; None where it was not yet written, or by another version."""
    try:
        return Holder.model_validate_json(record[BEAT_DIGITS + 1 :])
    except ValidationError:
        return None


def _is_of(record: bytes | None, holder: Holder) -> bool:
    return record is not None and holder.token.encode() in record


def _who(record: bytes | None) -> str:
    return str((_parse(record) if record else None) or STARTING)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
