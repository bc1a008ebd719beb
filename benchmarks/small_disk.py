"""A small file system of a benchmark's own, which it may fill and make read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISK_MIB = 96


@contextlib.contextmanager
def own_disk(place: Path) -> Iterator[bool]:
    """Put a small file system of our own at `place`, where we may; say whether it is one."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)


def fill(filler: Path, spare: int) -> None:
    """Take what is free but `spare` bytes."""
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"\0" * 65_536)
            file.flush()
    with contextlib.suppress(OSError):
        os.truncate(filler, max(0, filler.stat().st_size - spare))


def remount(place: Path, how: str) -> bool:
    """Mount it anew as `ro` or `rw`; return whether that was possible, which it is not while a file is written."""
    command = ["mount", "-o", f"remount,{how}", str(place)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
