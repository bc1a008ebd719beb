"""Folders of this machine for trials of other machines: closed to other users, and removed with their holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = "lock"


def node_folder() -> Path:
    """Return the folder of this machine that far trials of this user work in.

    Raises:
        OSError: See `own_folder`.
    """
    return own_folder(Path(tempfile.gettempdir()).resolve() / f"crystal-research-team-{os.getuid()}")


def own_folder(folder: Path) -> Path:
    """Make a folder in a place that all users share, or return it where it is ours and closed to everybody else.

    Raises:
        OSError: It cannot be made, or somebody else made it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OSError(f"{folder} is open to others or not ours: remove it, or set TMPDIR to another place")
    return folder


@contextlib.contextmanager
def hold_folder(place: Path) -> Iterator[Path]:
    """Yield a new folder in `place` that goes with the block, and remove those that killed processes left there.

    A folder is its holder's as long as that holds the lock in it, which the kernel lets go of whatever ends it.
    """
    place.mkdir(exist_ok=True)
    for left in place.glob("[!.]*"):
        with contextlib.suppress(OSError), (left / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=".", dir=place))
    with (made / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = made.rename(place / made.name.removeprefix("."))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
