"""Arrays that a file hands back after training, so that it can predict again without: their form on the disk.

They are plain numbers under plain names. Nobody reads them but the file that wrote them, in its sandbox, and no other
file is ever given them: what a training left is no channel to another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from evaluation_locked.client import KEPT
from evaluation_locked.whole_file import whole_file
from evaluation_locked.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEPT_BYTES = 1 << 30  # of all arrays together
KEPT_FILE = "kept.npz"
_NAME = re.compile(re.escape(KEPT) + r"[\w.\-]{1,200}")


def store_kept(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write the arrays to keep of a submission as `kept.npz`; none is no file.

    Raises:
        WireError: One has a name that is not plain.
        OSError: They cannot be written.
    """
    kept = {name: array for name, array in arrays.items() if name != "predictions"}
    if strange := [name for name in kept if not _NAME.fullmatch(name)]:
        raise WireError(f"an array to keep is called {strange[0][:80]!r}; use letters, digits, '.', '_' and '-'")
    if not kept:
        return
    with whole_file(folder / KEPT_FILE) as file:
        np.savez(file, **kept)  # type: ignore[arg-type]


def load_kept(path: Path | None) -> dict[str, np.ndarray]:
    """Return the arrays of a `kept.npz` as they go into a message; none where there is no path."""
    if path is None:
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name.startswith(KEPT)}
