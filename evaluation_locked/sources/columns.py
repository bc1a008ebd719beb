"""What properties a source offers, and what a person may have meant by its name; no crystal is read.

It owns the short ways to name a source (`matbench_phonons`, a folder, a file) and the list of its properties.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from evaluation_locked.dataset import CRYSTAL_ARRAYS, DataError

_JSON_ENDINGS = (".json", ".json.gz", ".json.bz2")


def full_source(text: str) -> str:
    """Return a source as `--source` takes it: a folder, a file or a MatBench task may stand without its kind.

    Relative paths become absolute, so that the source can be written down.
    """
    kind, _, rest = text.partition(":")
    path = Path(text).expanduser()
    if kind in ("cif", "json", "table") and rest:
        return f"{kind}:{Path(rest).expanduser().resolve()}"
    if path.is_dir() or path.suffix == ".csv":
        return f"cif:{path.resolve()}"
    if path.suffix == ".npz":
        return f"table:{path.resolve()}"
    if path.name.endswith(_JSON_ENDINGS):
        return f"json:{path.resolve()}"
    return f"matbench:{text}" if text.startswith("matbench_") else text


def properties_of(source: str) -> list[str]:
    """Return the names of the properties of a source as `full_source` writes it; none for a csv without header.

    Raises:
        DataError: The source is not there or is not what its kind says; or there is no such kind.
    """
    kind, _, rest = source.partition(":")
    if kind == "matbench":
        from evaluation_locked.sources.matbench_task import task_facts

        return [task_facts(rest).target]
    if kind == "cif":
        from evaluation_locked.sources.cif_folder import property_columns

        return property_columns(Path(rest))
    if kind == "json":
        from evaluation_locked.sources.structure_json import property_names

        return property_names(Path(rest))
    if kind == "table":
        try:
            with np.load(rest, allow_pickle=False) as file:
                return [name for name in file.files if name not in CRYSTAL_ARRAYS]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{rest} cannot be read as a table ({error}): give a .npz of `team data import`") from error
    if source == "tight-binding":
        from evaluation_locked import tight_binding

        return [tight_binding.TARGET]
    from evaluation_locked.sources import load_source

    load_source(source, "property")  # which refuses the text, and says what was probably meant
    return []
