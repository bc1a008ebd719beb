"""MatBench's structure tasks (Dunn et al. 2020), by way of the `matbench` and `matminer` packages.

It owns the download and the official splits. Which tasks there are, where their files lie, their checksums and their
splits are all the packages' own. Their reader is not used, because it builds every Structure object at once (7 GB for
matbench_mp_gap), nor their download, which has no timeout and sleeps for minutes on a page that is no data.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from evaluation_locked.dataset import DataError, Dataset
from evaluation_locked.sources.structure_json import read_table, to_dataset
from evaluation_locked.sources.table_cache import fingerprint, named, through_cache

_TIMEOUT_SECONDS = (10, 60)  # to connect, and between two pieces
_ATTEMPTS = 3
PAUSE_SECONDS = 2.0  # before the second attempt, and twice that before the third
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class TaskFacts:
    """What the packages say of one task.

    Attributes:
        task: Name, such as `matbench_mp_gap`.
        target: Name of the property in the official file, such as `gap pbe`.
        unit: Unit of the property; empty for a class.
        is_classification: Whether the property is a class (0 or 1 in our tables).
        n_rows: Number of crystals.
        url: Where the file lies.
        sha256: Checksum of the file in hexadecimal.
    """

    task: str
    target: str
    unit: str
    is_classification: bool
    n_rows: int
    url: str
    sha256: str


def task_facts(task: str) -> TaskFacts:
    """Return what is known of a structure task.

    Raises:
        DataError: The matbench package is absent, there is no such task, or its inputs are compositions.
    """
    tasks = _metadata().mbv01_metadata
    if task not in tasks:
        structured = sorted(name for name, facts in tasks.items() if facts["input_type"] == "structure")
        close = difflib.get_close_matches(task, structured, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise DataError(f"MatBench has no task {task!r}; {hint}Its structure tasks are {', '.join(structured)}")
    facts = tasks[task]
    if facts["input_type"] != "structure":
        raise DataError(
            f"{task} gives a {facts['input_type']} for each row and no crystal structure, so no crystal graph can be "
            "made of it; choose one of MatBench's structure tasks, such as matbench_mp_gap"
        )
    return TaskFacts(
        task=task,
        target=facts["target"],
        unit=facts["unit"] or "",
        is_classification=facts["task_type"] == "classification",
        n_rows=int(facts["n_samples"]),
        url=facts["url"],
        sha256=facts["hash"],
    )


def official_splits(task: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return MatBench's own folds as (train rows, test rows), read from the row ids that the package ships.

    Row i of a task has the id `mb-...-{i + 1}`, so an id is a row number; both arrays keep the package's order.

    Raises:
        DataError: See `task_facts`.
    """
    task_facts(task)
    folds = _metadata().mbv01_validation["splits"][task]
    return [(_rows_of(folds[key]["train"]), _rows_of(folds[key]["test"])) for key in sorted(folds)]


def load_matbench_task(
    task: str, target_name: str, *, cache: Path | None = None, with_space_group: bool = True
) -> Dataset:
    """Read a MatBench task in its official row order; the file is downloaded the first time.

    A file that lies in `MATMINER_DATA`, in matminer's own folder or in the cache is used without the network.

    Args:
        task: A structure task.
        target_name: What the property is called in the cached table.
        cache: Where the download and the table are kept; without one the file must be in one of the other places.
        with_space_group: Find space groups (about 2 ms a crystal and core).

    Raises:
        DataError: See `task_facts`; or the file cannot be downloaded, or does not hold what MatBench says it holds.
    """
    facts = task_facts(task)
    key = f"{task}-{quote(target_name, safe='')}-{fingerprint(facts.sha256, with_space_group)}"

    def build() -> Dataset:
        table = read_table(_find_file(facts, cache))
        if facts.target not in table.columns or len(table.cells) != facts.n_rows:
            raise DataError(
                f"the file of {task} has {len(table.cells)} rows of {', '.join(table.columns)}, where MatBench has "
                f"{facts.n_rows} of {facts.target!r}; delete it, so that it is downloaded again"
            )
        column = table.columns.index(facts.target)
        return to_dataset(table, column, task, skip_bad=False, with_space_group=with_space_group)

    dataset = through_cache(cache, key, target_name, build)
    unit = f" ({facts.unit})" if facts.unit else ""
    return named(dataset, task, f"{facts.target}{unit} of MatBench v0.1, in official row order (Dunn et al. 2020)")


def download(url: str, path: Path, sha256: str) -> None:
    """Fetch a file, check it, and only then give it its name.

    Args:
        url: http or https; proxies of the environment are used.
        path: Where the file goes; its folder is made.
        sha256: What the content must hash to, in hexadecimal.

    Raises:
        DataError: The server cannot be reached, refuses, breaks off, or sends something else, three times over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    trouble = ""
    try:
        for attempt in range(_ATTEMPTS):
            time.sleep(attempt * PAUSE_SECONDS)
            trouble = _fetch(url, part, sha256)
            if not trouble:
                part.replace(path)
                return
    finally:
        part.unlink(missing_ok=True)
    raise DataError(
        f"{path.name} cannot be downloaded from {url}: {trouble}. Check the network and the proxy settings and try "
        "again; or get the file by other means and point MATMINER_DATA at its folder; or use a table file, which needs "
        "no network: --source table:FILE"
    )


def _fetch(url: str, part: Path, sha256: str) -> str:
    """Try once; return what went wrong, or nothing."""
    import requests

    digest = hashlib.sha256()
    try:
        # Without `identity` a server may pack the .gz once more.
        headers = {"Accept-Encoding": "identity"}
        with requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS, headers=headers) as response:
            response.raise_for_status()
            with part.open("wb") as file:
                for piece in response.iter_content(_PIECE_BYTES):
                    digest.update(piece)
                    file.write(piece)
    except (requests.RequestException, OSError) as error:
        return f"{type(error).__name__}: {error}"
    if digest.hexdigest() != sha256:
        return (
            f"{part.stat().st_size} bytes came, with sha256 {digest.hexdigest()[:12]}... in place of {sha256[:12]}..."
        )
    return ""


def _find_file(facts: TaskFacts, cache: Path | None) -> Path:
    """Return the task's file, from a folder that has it already or from the network."""
    import matminer.datasets

    name = facts.url.rsplit("/", 1)[-1]
    folders = [Path(matminer.datasets.__file__).parent]
    if os.environ.get("MATMINER_DATA"):
        folders.insert(0, Path(os.environ["MATMINER_DATA"]).expanduser())
    if cache is not None:
        folders.append(cache)
    for folder in folders:
        path = folder / name
        if path.is_file():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != facts.sha256:
                raise DataError(
                    f"{path} is not MatBench's file: its sha256 is {found[:12]}... and should be "
                    f"{facts.sha256[:12]}...; delete it, so that it is downloaded again"
                )
            return path
    if cache is None:
        raise DataError(
            f"{name} is not in {' or '.join(map(str, folders))}, and no cache folder was given to load it to"
        )
    download(facts.url, cache / name, facts.sha256)
    return cache / name


def _rows_of(ids: list[str]) -> np.ndarray:
    """Return [n] int64 row numbers of ids such as `mb-mp-gap-000001` (row 0)."""
    return np.array([int(text.rsplit("-", 1)[-1]) - 1 for text in ids], dtype=np.int64)


def _metadata() -> Any:
    """Return the module `matbench.metadata`, which reads 46 MB of splits (2 s) when it is first imported."""
    try:
        with warnings.catch_warnings():
            # The packages are of 2022 and import names that their own dependencies have since deprecated.
            warnings.simplefilter("ignore")
            import matbench.metadata
    except ModuleNotFoundError as error:
        if not re.match(r"matbench(\.|$)", error.name or ""):
            raise
        raise DataError(
            "MatBench's tasks need the matbench package, which is not installed: pip install --no-deps matbench==0.6 "
            "(--no-deps, because it asks for releases of 2022 although it works with current ones)"
        ) from error
    return matbench.metadata
