"""The idea memory of a run, its own or a shared one: opened to work with, opened to look into, made anew.

What lies in it, and how, is the matter of `memory.idea_memory` and `memory.shared_memory`.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation_locked.prepare import load_facts
from graph.run_folder import RunFolder
from memory.embedders import open_embedder
from memory.idea_memory import IdeaMemory
from memory.journal import Journal
from memory.run_lock import RunLockedError
from memory.shared_memory import Register, SharedMemory, SharedMemoryError, SharedTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from evaluation_locked.prepare import TaskFacts
    from graph.run_folder import RunConfig
    from memory.records import Entry


@dataclass(frozen=True)
class Rebuilt:
    """A memory that was made anew.

    Attributes:
        place: Its folder.
        runs: Whose journals it was made from.
        n_ideas: That it holds.
        seconds: That it took.
    """

    place: str
    runs: tuple[str, ...]
    n_ideas: int
    seconds: float


def open_ideas(folder: RunFolder, config: RunConfig, entries: Iterable[Entry]) -> IdeaMemory:
    """Open the idea memory that a run works with, its own or the shared one, as its journal says; for one writer.

    Raises:
        EmbedderError: The embedder cannot be used.
        IdeaMemoryError: The memory was embedded by another one.
    """
    return _open(_place(folder, config), config, entries)


def join_memory(folder: RunFolder, config: RunConfig, facts: TaskFacts) -> None:
    """Note in the shared memory, where the run has one, that it feeds it; the caller holds that memory's lock.

    Raises:
        SharedMemoryError: It is of another task or embedder.
    """
    if config.memory is not None:
        identity = open_embedder(config.embedder).identity
        SharedMemory(Path(config.memory)).join(shared_task(facts), identity, config.name, folder.journal)


@contextlib.contextmanager
def open_to_read(folder: RunFolder) -> Iterator[IdeaMemory]:
    """Open a run's memory as its journal says; of a run at work a copy, since Chroma's files bear one process.

    Raises:
        EmbedderError, IdeaMemoryError, JournalError: As for `open_ideas`.
    """
    config = folder.read_config()
    if config.memory is None:
        lock = Journal(folder.journal).lock(patient=False)
    else:
        lock = SharedMemory(Path(config.memory)).lock(patient=False)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock)
        except (RunLockedError, SharedMemoryError):
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="team-memory-")), "chroma")
            _copy(_place(folder, config), copy)
            yield stack.enter_context(_open(copy, config, Journal(folder.journal).read()))
        else:
            yield stack.enter_context(open_ideas(folder, config, Journal(folder.journal).read()))


def rebuild_own(folder: RunFolder) -> Rebuilt:
    """Make a run's memory anew from its journal; that of a run that shares one from all journals that feed it.

    Raises:
        RunLockedError, SharedMemoryError: It is at work.
        EmbedderError: Its embedder cannot be used.
    """
    config, begun = folder.read_config(), time.monotonic()
    if config.memory is not None:
        return rebuild_shared(SharedMemory(Path(config.memory)), ())
    journal = Journal(folder.journal)
    with journal.lock():
        n_ideas = IdeaMemory.rebuild(folder.chroma, {"": journal.read()}, open_embedder(config.embedder))
    return Rebuilt(str(folder.chroma), (folder.name,), n_ideas, time.monotonic() - begun)


def rebuild_shared(shared: SharedMemory, runs: Sequence[RunFolder]) -> Rebuilt:
    """Make a shared memory anew from the journals of `runs`, of those that feed it where none is named.

    Raises:
        SharedMemoryError: The runs differ in task or embedder, or another run is at work with the memory.
        RunError, JournalError, DataError: A run cannot be read.
        EmbedderError: The embedder cannot be used.
    """
    begun = time.monotonic()
    if not runs:
        held = shared.read()
        if held is None or not held.journals:
            raise SharedMemoryError(f"{shared.folder} is fed by no run: name the runs to make it from")
        runs = [RunFolder(Path(path).parent) for path in held.journals.values()]
    configs = [folder.read_config() for folder in runs]
    if len({config.embedder for config in configs}) > 1:
        uses = " and ".join(f"{config.name} uses {config.embedder}" for config in configs)
        raise SharedMemoryError(f"{uses}: vectors of two embedders cannot be compared; name runs that agree")
    embedder = open_embedder(configs[0].embedder)
    task = shared_task(load_facts(runs[0].locked))
    journals: dict[str, str] = {}
    for folder, config in zip(runs, configs, strict=True):
        other = shared_task(load_facts(folder.locked))
        if other != task:
            raise SharedMemoryError(
                f"{runs[0].name} is about {task}, {folder.name} about {other}: name runs of one task"
            )
        if config.name in journals:
            raise SharedMemoryError(f"two of the runs are named {config.name!r}: a memory tells runs apart by name")
        journals[config.name] = str(folder.journal.resolve())
    with shared.lock():
        entries = {run: Journal(Path(path)).read() for run, path in journals.items()}
        n_ideas = IdeaMemory.rebuild(shared.chroma, entries, embedder)
        shared.write(Register(task=task, embedder=embedder.identity, journals=journals))
    return Rebuilt(str(shared.chroma), tuple(journals), n_ideas, time.monotonic() - begun)


def shared_task(facts: TaskFacts) -> SharedTask:
    """Return what a task must have in common with another for their ideas to share a memory."""
    return SharedTask(**{name: getattr(facts, name) for name in SharedTask.model_fields})


def _place(folder: RunFolder, config: RunConfig) -> Path:
    return folder.chroma if config.memory is None else SharedMemory(Path(config.memory)).chroma


def _open(place: Path, config: RunConfig, entries: Iterable[Entry]) -> IdeaMemory:
    embedder = open_embedder(config.embedder)
    if config.memory is None:
        return IdeaMemory.open_or_rebuild(place, entries, embedder)
    shared = SharedMemory(Path(config.memory))
    return IdeaMemory.open_or_rebuild(
        place, entries, embedder, run=config.name, others=lambda: shared.journals(without=config.name)
    )


def _copy(source: Path, copy: Path) -> None:
    """Copy Chroma's files while another process writes them; what this tears is made anew when the copy is opened."""
    with contextlib.suppress(OSError, shutil.Error):
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("chroma.sqlite3*"))
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"file:{source / 'chroma.sqlite3'}?mode=ro", uri=True)) as held,
        contextlib.closing(sqlite3.connect(copy / "chroma.sqlite3")) as taken,
    ):
        held.backup(taken)
