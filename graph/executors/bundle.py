"""What a trial on another machine is given of a locked folder: all that its warden reads, and nothing that judges.

A bundle is named by its content, and lies once on each node. The labels that judge a training are in none.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs

from graph.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILES = ("facts.json", "train.npz", "validation.npz", "parts.npy")  # see `evaluation_locked.prepare`
KEPT_BUNDLES = 4
UNUSED_SECONDS = 86_400.0  # a bundle that no trial began with for so long may go


@dataclass(frozen=True)
class Bundle:
    """Files by name, and the sha256 over both."""

    files: Mapping[str, bytes]
    sha: str


def pack(locked: Path) -> Bundle:
    """Return the bundle of a locked folder.

    Raises:
        RunError: The crystals to predict lie there with labels.
    """
    files = {name: (locked / name).read_bytes() for name in FILES if (locked / name).exists()}
    with np.load(locked / "validation.npz", allow_pickle=False) as held:
        if "labels" in held.files:
            raise RunError(f"{locked / 'validation.npz'} holds labels: it is not what was prepared; start the run anew")
    return Bundle(files, _sha(files))


def link(locked: Path, folder: Path) -> None:
    """Make the bundle of a locked folder on its file system, without a copy of its bytes where that can be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (locked / name).exists() and not (folder / name).exists():
            try:
                os.link(locked / name, folder / name)
            except OSError:
                shutil.copyfile(locked / name, folder / name)


def unpack(sha: str, fetch: Callable[[], Mapping[str, bytes]], cache: Path | None = None) -> tuple[Path, bool]:
    """Return the folder of a bundle on this node, and whether it had to be fetched; several trials may ask at once.

    Args:
        sha: Its name.
        fetch: Brings its files; asked where they do not lie here.
        cache: Where bundles lie.

    Raises:
        RunError: What was fetched is not it.
    """
    place = (cache or _cache()) / "bundles"
    folder = place / sha
    if folder.is_dir():
        os.utime(folder)
        return folder, False
    files = fetch()
    if (found := _sha(files)) != sha:
        raise RunError(f"a bundle of {sha[:12]} was to be fetched, and {found[:12]} came: is the network sound?")
    place.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".", dir=place))
    for name, data in files.items():
        (partial / name).write_bytes(data)
    try:
        partial.rename(folder)
    except OSError:  # another trial was first
        shutil.rmtree(partial)
    _remove_old(place)
    return folder, True


def _remove_old(place: Path) -> None:
    old = sorted(
        (path for path in place.iterdir() if not path.name.startswith(".")), key=lambda path: path.stat().st_mtime
    )
    for path in old[:-KEPT_BUNDLES]:
        if time.time() - path.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _sha(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode() + files[name])
    return digest.hexdigest()


def _cache() -> Path:
    return Path(os.environ.get("TEAM_CACHE") or platformdirs.user_cache_dir("crystal-research-team"))
