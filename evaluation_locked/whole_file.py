"""Writing a file so that nobody ever sees half of it."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file to write; a reader sees the old one or the new one, whole; so does a restart, where `durable`.

    What a process that is killed here leaves is `.NAME.PROCESS` beside it.

    Raises:
        OSError: It cannot be written; the old one stands.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)  # what is half written takes room on a full disk
        raise


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array as `.npy`; numpy's own writing to a file does not say that it is the disk that is full.

    Raises:
        OSError: It cannot be written; the old one stands.
    """
    content = io.BytesIO()
    np.save(content, array)
    with whole_file(path) as file:
        file.write(content.getvalue())
