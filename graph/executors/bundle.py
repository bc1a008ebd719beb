"""What the warden of a far trial needs of a run's locked folder, and the copy of it that a node keeps.

A bundle holds the rows to train on and the crystals to predict. It never holds labels that judge, the seed's own
metric, or anything else that only the scorer opens; scoring stays where the run is. Under cross-validation every row
is trained on in one training and judged in another, so that its label is in `train.npz`, which a warden alone reads:
there as here.

A node keeps the bundles that it needed last under their hash (`hold_bundle`), for all trials of all runs of one user:

    <temporary folder>/crystal-research-team-<uid>/bundles/<sha>/         the files
                                                   bundles/<sha>.lock     held, shared, by every trial that reads them
                                                   bundles/<sha>.making   held by the trial that fetches them
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation_locked.dataset import DataError
from graph.executors.node import node_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

FILES = ("facts.json", "train.npz", "validation.npz")
PARTS = "parts.npy"  # under cross-validation
KEPT_BUNDLES = 4  # on a node, of those that no trial reads


@dataclass(frozen=True)
class Bundle:
    """The files of a locked folder that a warden reads, with their bytes.

    Attributes:
        sha: sha256 over names and bytes.
        files: Bytes by name.
    """

    sha: str
    files: Mapping[str, bytes]


def read_bundle(locked: Path) -> Bundle:
    """Read the bundle of a locked folder.

    Raises:
        DataError: A file is missing, or the crystals to predict come with labels.
    """
    names = [*FILES, *([PARTS] if (locked / PARTS).exists() else [])]
    try:
        with zipfile.ZipFile(locked / "validation.npz") as file:
            if "labels.npy" in file.namelist():
                raise DataError(f"{locked / 'validation.npz'} holds labels that judge, which no trial is sent")
        files = {name: (locked / name).read_bytes() for name in names}
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{locked} is no prepared task ({error}); start the run anew") from error
    return Bundle(_sha_of(files), files)


@contextlib.contextmanager
def hold_bundle(sha: str, fetch: Callable[[], Bundle]) -> Iterator[Path]:
    """Yield a folder of this node that holds a bundle's files; it stays at least as long as the block.

    Where many trials ask at once, one of them fetches it and the others wait.

    Args:
        sha: Of the bundle.
        fetch: Returns it; called where the node has no sound copy.

    Raises:
        OSError: It cannot be written, or what was fetched is another.
    """
    place = node_folder() / "bundles"
    place.mkdir(exist_ok=True)
    folder = place / sha
    with _hold(place / f"{sha}.lock", fcntl.LOCK_SH):
        with _hold(place / f"{sha}.making", fcntl.LOCK_EX):
            if _sha_of_folder(folder) != sha:
                _write(fetch(), sha, folder)
            os.utime(folder)  # the last to be removed
        _remove_old(place)
        yield folder


@contextlib.contextmanager
def _hold(path: Path, how: int) -> Iterator[None]:
    """Hold a lock file that is still there once it is held: it may have been removed while it was waited for."""
    while True:
        with path.open("a") as lock:
            fcntl.flock(lock, how)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    yield
                    return


def _write(bundle: Bundle, sha: str, folder: Path) -> None:
    """Put a bundle's files under their hash, whole or not at all; the caller holds the lock."""
    if bundle.sha != sha or _sha_of(bundle.files) != sha:
        raise OSError(f"bundle {sha[:12]} came damaged, or is another: {bundle.sha[:12]}")
    shutil.rmtree(folder, ignore_errors=True)
    partial = folder.with_name(f"{sha}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir()
    for name, content in bundle.files.items():
        (partial / name).write_bytes(content)
    partial.rename(folder)


def _remove_old(place: Path) -> None:
    """Remove the bundles that were used longest ago, beyond `KEPT_BUNDLES`; those that a trial reads stay."""
    with contextlib.suppress(OSError):  # another process removes too
        folders = sorted((path for path in place.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for folder in folders[:-KEPT_BUNDLES]:
            sha = folder.name.removesuffix(".partial")
            with (place / f"{sha}.lock").open("a") as lock, contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                for name in (f"{sha}.making", f"{sha}.lock"):
                    (place / name).unlink(missing_ok=True)


def _sha_of(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()


def _sha_of_folder(folder: Path) -> str:
    """Return the hash of what lies there, empty where nothing does."""
    try:
        return _sha_of({path.name: path.read_bytes() for path in folder.iterdir()})
    except OSError:
        return ""
