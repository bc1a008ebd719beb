from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from memory.journal import Journal, JournalError
from memory.run_lock import RunLockedError
from tests.memory.builders import decision, trial
from tests.small_disk import NOT_PERMITTED, small_disk

ROOT = Path(__file__).parents[2]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run" / "journal.jsonl")


def child(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]


def test_entries_of_both_kinds_come_back_in_order(journal: Journal) -> None:
    entries = (
        trial(0, 0.31, "kept", title="größer \u2028 als\r\nder Rest", diff="-a\n+b\n"),
        trial(1, parent=0, knobs={"WIDTH": 96, "EMA": 0.999}),
        decision(0, "discarded"),
    )
    for entry in entries:
        journal.append(entry)
    assert journal.read() == entries
    assert Journal(journal.path).read() == entries


def test_a_line_is_json_with_the_checksum_of_its_canonical_entry(journal: Journal) -> None:
    journal.append(trial(0, 0.3, title="k nächste Nachbarn"))
    line = json.loads(journal.path.read_text(encoding="utf-8"))
    canonical = json.dumps(line["entry"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert line["crc32"] == f"{zlib.crc32(canonical.encode()):08x}"
    assert line["entry"]["kind"] == "trial"


def test_an_absent_journal_is_empty_and_stays_absent(journal: Journal) -> None:
    assert journal.read() == ()
    assert not journal.path.parent.exists()


@pytest.mark.parametrize("cut", [1, 2, 40, 300])
def test_a_torn_last_line_is_cut_off_and_kept_beside(journal: Journal, cut: int) -> None:
    for number in range(3):
        journal.append(trial(number))
    whole = journal.path.read_bytes()
    last = whole[whole.rstrip(b"\n").rfind(b"\n") + 1 :]
    journal.path.write_bytes(whole[:-cut])
    recorded = journal.read()
    if cut == 1:  # only the line break is missing: nothing is lost
        assert [entry.number for entry in recorded] == [0, 1, 2]
        assert journal.path.read_bytes() == whole
    else:
        assert [entry.number for entry in recorded] == [0, 1]
        assert journal.path.read_bytes() == whole[: -len(last)]
        assert journal.path.with_name("journal.torn").read_bytes() == last[:-cut] + b"\n"


def test_an_append_after_a_torn_line_does_not_join_it(journal: Journal) -> None:
    journal.append(trial(0))
    with journal.path.open("ab") as file:
        file.write(b'{"crc32":"00000000","entry":{"kind":"tr')
    Journal(journal.path).append(trial(1))
    assert [entry.number for entry in journal.read()] == [0, 1]


def test_a_last_line_of_zero_bytes_after_a_power_cut_is_torn(journal: Journal) -> None:
    journal.append(trial(0))
    with journal.path.open("ab") as file:
        file.write(bytes(4096))
    assert len(journal.read()) == 1


def test_a_last_line_longer_than_one_read_is_found_whole(journal: Journal) -> None:
    journal.append(trial(0))
    journal.append(trial(1, diff="+x\n" * 100_000))
    with journal.lock():  # looks at the last line alone
        journal.append(trial(2))
    assert [entry.number for entry in journal.read()] == [0, 1, 2]


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_changed(journal: Journal) -> None:
    for number in range(3):
        journal.append(trial(number))
    damaged = journal.path.read_bytes().replace(b"idea 1", b"idea 7")
    journal.path.write_bytes(damaged)
    with pytest.raises(JournalError, match=r"line 2 is damaged.*sed -i 2d journal.jsonl"):
        journal.read()
    assert journal.path.read_bytes() == damaged


def test_a_whole_line_of_another_version_is_an_error_even_at_the_end(journal: Journal) -> None:
    journal.append(trial(0))
    entry = b'{"kind":"rumour"}'
    with journal.path.open("ab") as file:
        file.write(b'{"crc32":"%08x","entry":%s}\n' % (zlib.crc32(entry), entry))
    with pytest.raises(JournalError, match="line 2 is whole, but not an entry"):
        journal.read()


def test_what_json_cannot_hold_is_refused_before_it_is_written(journal: Journal) -> None:
    with pytest.raises(JournalError, match=r"entry\.idea\.knobs\.RATES\[1\] is nan"):
        journal.append(trial(0, knobs={"RATES": [1.0, float("nan")]}))
    with pytest.raises(ValidationError, match="finite"):
        trial(0, z=float("inf"))
    with pytest.raises(JournalError, match="cannot hold"):
        journal.append(trial(0, knobs={"RATE": object()}))
    assert journal.read() == ()


def test_a_second_writer_is_refused_with_the_name_of_the_first(journal: Journal) -> None:
    journal.append(trial(0))
    code = """
        import sys
        from memory.journal import Journal
        with Journal(sys.argv[1]).lock():
            print("locked", flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        child(code, journal.path), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        try:
            assert first.stdout.readline() == "locked\n"
            with pytest.raises(RunLockedError, match=f"process {first.pid} on {os.uname().nodename}"):
                journal.append(trial(1))
            # A reader must not repair what a live writer may be in the middle of.
            with journal.path.open("ab") as file:
                file.write(b'{"crc32":"')
            assert len(journal.read()) == 1
            assert journal.path.read_bytes().endswith(b'{"crc32":"')
        finally:
            first.send_signal(signal.SIGKILL)
    journal.append(trial(1))  # the kernel let go of the lock, and the torn line was cut off
    assert [entry.number for entry in journal.read()] == [0, 1]


def test_the_lock_is_held_until_the_block_ends(journal: Journal) -> None:
    with journal.lock():
        with journal.lock():
            journal.append(trial(0))
        with pytest.raises(RunLockedError, match=f"process {os.getpid()} "):
            Journal(journal.path).append(trial(1))
    Journal(journal.path).append(trial(1))
    assert not journal.path.with_name("lock.holder").exists()


def test_a_write_that_stops_half_way_loses_nothing(journal: Journal) -> None:
    """A limit on the size of files stands in for a full disk: both cut a write short."""
    for number in range(2):
        journal.append(trial(number))
    before = journal.path.read_bytes()
    code = """
        import errno, resource, signal, sys
        from memory.journal import Journal
        from tests.memory.builders import trial
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        journal, size = Journal(sys.argv[1]), int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
        try:
            journal.append(trial(2))
        except OSError as error:
            print(errno.errorcode[error.errno], len(journal.read()))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        journal.append(trial(3))
    """
    done = subprocess.run(child(code, journal.path, len(before)), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "EFBIG 2\n"
    assert journal.path.read_bytes().startswith(before)
    assert [entry.number for entry in journal.read()] == [0, 1, 3]


def test_a_full_device_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as mounted:
        if not mounted:
            pytest.skip(NOT_PERMITTED)
        journal = Journal(tmp_path / "disk" / "journal.jsonl")
        journal.append(trial(0))
        with pytest.raises(OSError, match="No space left"):
            journal.append(trial(1, diff="+x\n" * 100_000))
        journal.append(trial(2))
        assert [entry.number for entry in journal.read()] == [0, 2]
