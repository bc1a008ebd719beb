"""One writer among processes and hosts.

A second host is a process with a host name of its own and a file `lock` of its own (a bind mount), so that the kernel's
lock does not reach it, as over a network file system that keeps flock from other clients; all else of the folder is
shared. It takes namespaces, and is left out where those are not permitted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memory.journal import Journal
from memory.run_lock import Holder, RunLock, RunLockedError, process_began
from tests.memory.builders import trial

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOREVER = 10_000.0
NAMESPACE = ("unshare", "--map-root-user", "--mount", "--uts", "sh", "-c")
HOLD = """
    import sys
    from memory.journal import Journal
    from memory.run_lock import RunLock, RunLockedError
    from tests.memory.builders import trial
    lock = RunLock(sys.argv[1].replace("journal.jsonl", "lock"), beat_seconds=0.1, patience_seconds=3)
    journal = Journal(sys.argv[1], lock)
    sys.stdin.readline()
    try:
        with journal.lock():
            print("locked", flush=True)
            for number in sys.stdin:
                journal.append(trial(int(number)))
                print("appended", flush=True)
    except RunLockedError as error:
        print("refused:", error, flush=True)
"""


class Host:
    """A process that tries to hold the journal's lock when it is told `go`, and then appends trials by number."""

    def __init__(self, name: str, journal: Path, place: Path) -> None:
        own = place / f"lock-of-{name}"
        own.touch()
        enter = f'hostname {name} && mount --bind {own} {journal.with_name("lock")} && exec "$@"'
        self.process = subprocess.Popen(
            [*NAMESPACE, enter, "sh", sys.executable, "-c", textwrap.dedent(HOLD), str(journal)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, words: object = "go") -> str:
        self.tell(words)
        return self.hear()

    def tell(self, words: object = "go") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self, *, kill: bool) -> None:
        if kill:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").touch()
    return folder


@contextlib.contextmanager
def hosts(folder: Path, *names: str) -> Iterator[list[Host]]:
    if subprocess.run([*NAMESPACE, "hostname probe"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not permitted here")
    with contextlib.ExitStack() as stack:
        started = []
        for name in names:
            started.append(Host(name, folder / "journal.jsonl", folder.parent))
            stack.callback(started[-1].end, kill=True)
        yield started


def lock_of(folder: Path, patience_seconds: float = FOREVER) -> RunLock:
    return RunLock(folder / "lock", beat_seconds=0.1, patience_seconds=patience_seconds)


def test_a_writer_on_another_host_is_seen_by_its_beat(folder: Path) -> None:
    with hosts(folder, "alpha") as [alpha]:
        assert alpha.ask() == "locked\n"
        said: list[str] = []
        with pytest.raises(RunLockedError, match=rf"in use by process {alpha.process.pid} on alpha: wait") as refused:
            lock_of(folder).acquire(said.append)
        assert refused.value.holder == f"process {alpha.process.pid} on alpha"
        assert [text.partition(" names ")[2].partition(" as its")[0] for text in said] == [refused.value.holder]
        assert alpha.ask(0) == "appended\n", "who only looked has changed nothing"
        alpha.end(kill=False)
        said.clear()
        with lock_of(folder).hold(said.append):
            assert not said, "after an orderly end nobody is waited for"


def test_a_lock_whose_beat_stands_is_taken_over_and_its_holder_writes_no_more(folder: Path) -> None:
    journal = Journal(folder / "journal.jsonl", lock_of(folder, patience_seconds=1))
    with hosts(folder, "alpha") as [alpha]:
        assert (alpha.ask(), alpha.ask(0)) == ("locked\n", "appended\n")
        alpha.process.send_signal(signal.SIGSTOP)
        said: list[str] = []
        with journal.lock(said.append):
            assert [text.partition(" on alpha")[2] for text in said] == [
                " as its writer: waiting up to 1 s for a sign of life",
                ", which gave no sign of life for 1 s: its lock is taken over",
            ]
            before = journal.path.read_bytes()
            alpha.tell(1)
            alpha.process.send_signal(signal.SIGCONT)
            answer = alpha.hear()
            assert answer.startswith(
                f"refused: {folder}: process {os.getpid()} on {socket.gethostname()} took the lock"
            )
            assert journal.path.read_bytes() == before
            assert alpha.process.wait() == 0
            journal.append(trial(1))  # the one that ended let go of nothing that is not its own
    assert [entry.number for entry in journal.read()] == [0, 1]


def test_a_run_that_was_moved_after_its_host_died_goes_on_after_one_patience(folder: Path) -> None:
    with hosts(folder, "alpha") as [alpha]:
        assert (alpha.ask(), alpha.ask(0)) == ("locked\n", "appended\n")
        alpha.end(kill=True)
    moved = folder.rename(folder.with_name("moved"))
    with (moved / "journal.jsonl").open("ab") as file:
        file.write(b'{"crc32":"')
    journal = Journal(moved / "journal.jsonl", lock_of(moved, patience_seconds=0.5))
    assert len(journal.read()) == 1, "who reads waits for nobody, and mends nothing that may be another host's"
    assert journal.path.read_bytes().endswith(b'{"crc32":"')
    journal.append(trial(1))
    assert [entry.number for entry in journal.read()] == [0, 1]


@pytest.mark.parametrize("left", ["nothing", "a dead host's record"])
def test_of_many_hosts_at_once_one_writes(folder: Path, left: str) -> None:
    if left != "nothing":
        dead = Holder(host="dead", boot="before", process=1, began=1, token="0" * 16)
        assert lock_of(folder)._create(dead)
    names = [f"host{n}" for n in range(5)]
    with hosts(folder, *names) as contenders:
        for host in contenders:
            host.tell()
        answers = [host.hear() for host in contenders]
        assert answers.count("locked\n") == 1
        winner = answers.index("locked\n")
        name = f"process {contenders[winner].process.pid} on {names[winner]}"
        assert all(f"in use by {name}" in answer for answer in answers if answer != "locked\n")
        assert contenders[winner].ask(0) == "appended\n"


def test_a_process_of_this_host_that_ended_is_not_waited_for(folder: Path) -> None:
    said: list[str] = []
    with lock_of(folder).hold():
        me = Holder.model_validate_json((folder / "lock.holder").read_bytes()[13:])
    assert me.process == os.getpid() and me.is_over is False
    reused = me.model_copy(update={"began": me.began - 1})
    with subprocess.Popen(["true"]) as ended:
        pass
    gone = me.model_copy(update={"process": ended.pid})
    assert process_began(ended.pid) is None
    for left in (reused, gone):
        assert lock_of(folder)._create(left)
        with lock_of(folder).hold(said.append, patient=False):
            pass
    assert not said
    restarted = me.model_copy(update={"boot": "before", "process": ended.pid})
    assert lock_of(folder)._create(restarted)
    with pytest.raises(RunLockedError, match=f"process {ended.pid} on"):
        lock_of(folder).acquire(patient=False)  # of an earlier start, or of another machine of that name


def test_a_file_system_without_flock_goes_by_the_record_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock_of(folder).hold(), pytest.raises(RunLockedError, match=f"process {os.getpid()} on"):
        lock_of(folder).acquire()
    with lock_of(folder).hold():
        pass


def test_a_lock_that_was_removed_is_not_held(folder: Path) -> None:
    lock = lock_of(folder)
    with lock.hold():
        lock.check()
        (folder / "lock.holder").unlink()
        with pytest.raises(RunLockedError, match=r"`lock.holder` was removed"):
            lock.check()
    assert lock.writer() == ""


def test_a_record_that_was_cut_short_names_nobody(folder: Path) -> None:
    (folder / "lock.holder").touch()  # by a power cut
    with pytest.raises(RunLockedError, match="a process that is just starting"):
        lock_of(folder).acquire(patient=False)
    with lock_of(folder, patience_seconds=0.2).hold():
        assert lock_of(folder).writer() == f"process {os.getpid()} on {socket.gethostname()}"
