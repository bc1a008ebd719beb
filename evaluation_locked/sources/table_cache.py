"""Sources that are slow to read are kept as table files in a cache folder.

It owns the naming, the atomic write and the reading back. What a cached table stands for is told by its name: a hash
over everything that went into it, so a source that changed is read anew and nothing is ever stale.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from evaluation_locked.dataset import DataError, Dataset, load_table, save_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMAT = "1"  # raised when the conversion of sources to tables changes, so that older caches are not read


def fingerprint(*parts: object) -> str:
    """Return 16 hexadecimal digits that change when any part changes."""
    return hashlib.sha256("\x1f".join([FORMAT, *map(str, parts)]).encode()).hexdigest()[:16]


def through_cache(cache: Path | None, key: str, target_name: str, build: Callable[[], Dataset]) -> Dataset:
    """Return the data set kept under `key`, or build it and keep it.

    Args:
        cache: Folder of cached tables, made where absent; None builds without keeping.
        key: Name of the table file without its ending; it must change with the source.
        target_name: Name of the property in the table file.
        build: Reads the source.

    Returns:
        The data set; one that was read from the cache has a provenance that says only so, and the caller sets it.
    """
    if cache is None:
        return build()
    path = cache / f"{key}.npz"
    if path.is_file():
        try:
            return load_table(path, target_name)
        except DataError:
            path.unlink()  # a torn file of an older version of this project: the source is at hand, so it is read anew
    dataset = build()
    cache.mkdir(parents=True, exist_ok=True)
    part = cache / f".{key}.{os.getpid()}.npz"
    try:
        save_table(part, dataset, target_name)
        part.replace(path)  # atomic, so that two imports at once or a lost machine never leave half a table
    finally:
        part.unlink(missing_ok=True)
    return dataset


def named(dataset: Dataset, name: str, provenance: str) -> Dataset:
    """Return the data set under another name and provenance."""
    return replace(dataset, name=name, provenance=provenance)
