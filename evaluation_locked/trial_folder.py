"""The folder that a trial writes in, as hostile code may leave it: how large it is, and how it goes."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
from pathlib import Path

BLOCK_BYTES = 4096  # what an empty file or folder counts as


def folder_bytes(folder: Path) -> int:
    """Return what a folder takes of the disk, an empty file or folder counted as a block; of any depth."""
    total, todo = 0, [str(folder)]
    while todo:
        path = todo.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    total += max(BLOCK_BYTES, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise
    return total


def remove_folder(folder: Path) -> None:
    """Remove a folder however deep it is: where it is too deep, what lies below its folders is moved up first."""
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    todo = []
    with contextlib.suppress(OSError):
        todo = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    count = itertools.count()
    while todo:
        path = todo.pop()
        with contextlib.suppress(OSError):
            Path(path).chmod(0o700)
            for entry in list(os.scandir(path)):
                if entry.is_dir(follow_symlinks=False):
                    moved = folder / f"{folder.name}-{next(count)}"
                    Path(entry.path).rename(moved)
                    todo.append(str(moved))
    shutil.rmtree(folder, ignore_errors=True)
