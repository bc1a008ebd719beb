"""Files of checksummed JSON lines that only grow: the form that the journal and the person's log share.

A line is `{"crc32":"89abcdef","entry":{...}}`. The checksum is the CRC-32 of the entry's canonical JSON, which is the
very text that stands in the line: keys sorted, no space between tokens, UTF-8. It knows no entry and takes no lock.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(rb'\{"crc32":"([0-9a-f]{8})","entry":(.*)\}\n', re.DOTALL)


def canonical_json(fields: dict[str, Any]) -> bytes:
    """Return the text that is checked and stored."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def format_line(payload: bytes) -> bytes:
    """Return the line that holds an entry's canonical JSON."""
    return b'{"crc32":"%08x","entry":%s}\n' % (zlib.crc32(payload), payload)


def payload_of(line: bytes) -> bytes | None:
    """Return the entry's JSON, None where the line is torn or damaged."""
    match = _LINE.fullmatch(line)
    return match[2] if match and zlib.crc32(match[2]) == int(match[1], 16) else None


def read_lines(path: Path) -> list[bytes]:
    """Return the lines of a file, each with its line break but a torn last one; an absent file has none."""
    if not path.exists():
        return []
    *whole, rest = path.read_bytes().split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def append_durably(path: Path, line: bytes) -> None:
    """Write one line: when this returns, it is on the disk; when it raises, the file holds what it held.

    Raises:
        OSError: The disk is full, or the file cannot be written.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        before = os.fstat(fd).st_size
        try:
            written = os.write(fd, line)
            while written < len(line):  # a full disk takes a part, and says why at the next write
                written += os.write(fd, line[written:])
            os.fsync(fd)
        except BaseException:
            os.ftruncate(fd, before)
            raise
    finally:
        os.close(fd)
    if before == 0:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
