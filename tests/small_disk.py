"""A small file system of our own, where this user may mount one: it can be filled, and made read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOT_PERMITTED = "mounting a tmpfs is not permitted here"


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[bool]:
    """Make the folder `place` and put a file system of `size`, such as `64k`, there; yield whether it is one."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)


def fill(filler: Path, spare: int = 0) -> None:
    """Take what is free but `spare` bytes."""
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"\0" * 65_536):
            pass
    with contextlib.suppress(OSError):
        os.truncate(filler, max(0, filler.stat().st_size - spare))


def remount(place: Path, how: str) -> bool:
    """Mount it anew as `ro` or `rw`; return whether that was possible, which it is not while a file is written."""
    command = ["mount", "-o", f"remount,{how}", str(place)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
