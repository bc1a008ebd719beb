"""An idea memory that several runs of one task feed: its folder, what may go into it, and who writes it.

    DIR/memory.toml   the task, the embedder, and the journals of the runs that feed it
    DIR/chroma/       the ideas (see `memory.idea_memory`); made anew from those journals where it is lost
    DIR/lock          held by the one run that is at work with it (see `memory.run_lock`)

Two runs have the same task where name, kind, target, metric and the rows of the source are the same. The number of
rows searched, the seed of the search and the budget of a trial may differ: what was tried, and whether it helped, is
worth knowing all the same, and no score of one run is ever compared with one of another.
"""

from __future__ import annotations

import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w
from pydantic import ValidationError

from evaluation_locked.whole_file import whole_file
from memory.chroma_folder import IdeaMemoryError
from memory.journal import Journal
from memory.records import Entry, Record
from memory.run_lock import RunLock, RunLockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FORMAT = 1


class SharedMemoryError(IdeaMemoryError):
    """A shared memory that this run cannot join; the message names both sides and the mend."""


class SharedTask(Record):
    """What must be the same for ideas of two runs to lie in one memory; `data_hash` is of all rows of the source."""

    name: str
    kind: str
    target: str
    metric: str
    data_hash: str

    def __str__(self) -> str:
        return f"{self.name} ({self.kind} of {self.target} by {self.metric}, data {self.data_hash[:8]})"


class Register(Record):
    """What `memory.toml` holds; `journals` are absolute paths by the name of the run."""

    task: SharedTask
    embedder: str
    journals: dict[str, str] = {}
    format: int = FORMAT


class SharedMemory:
    """One folder that runs share.

    Args:
        folder: Made by the first run to join.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.chroma = self.folder / "chroma"
        self.register_file = self.folder / "memory.toml"

    @contextmanager
    def lock(self, say: Callable[[str], None] = lambda text: None, *, patient: bool = True) -> Iterator[None]:
        """Be the only one to write while the block lasts; Chroma's files bear no second process.

        Args:
            say, patient: See `memory.run_lock.RunLock.acquire`.

        Raises:
            SharedMemoryError: Another run is at work with it.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise SharedMemoryError(f"{self.folder} is a file: name a folder for the shared memory")
        lock = RunLock(self.folder / "lock")
        try:
            lock.acquire(say, patient=patient)
        except RunLockedError as error:
            raise SharedMemoryError(
                f"the shared memory {self.folder} is in use by {error.holder}: "
                "wait until it ends, or run without --memory"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def read(self) -> Register | None:
        """Return who feeds the memory, None where nobody did yet.

        Raises:
            SharedMemoryError: `memory.toml` is damaged.
        """
        try:
            return Register.model_validate(tomllib.loads(self.register_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise SharedMemoryError(
                f"{self.register_file} cannot be read ({str(error).splitlines()[0]}): delete it, then "
                f"`team memory rebuild --memory {self.folder} RUN...`"
            ) from error

    def join(self, task: SharedTask, embedder: str, run: str, journal: Path) -> None:
        """Note that a run feeds the memory; doing it again changes nothing.

        Args:
            task: Of the run.
            embedder: Identity of the run's embedder.
            run: Its name, under which its ideas are held.
            journal: From which they can be made again.

        Raises:
            SharedMemoryError: The memory is of another task or embedder, or holds another run of that name.
        """
        held = self.read() or Register(task=task, embedder=embedder)
        if held.task != task:
            raise SharedMemoryError(
                f"{self.folder} holds ideas for {held.task}, and the run is about {task}: name another --memory folder"
            )
        if held.embedder != embedder:
            raise SharedMemoryError(
                f"{self.folder} was embedded by {held.embedder}, and the run would use {embedder}: vectors of the two "
                "cannot be compared; start the run with that --embedder, or name another --memory folder"
            )
        place = str(journal.resolve())
        other = held.journals.get(run, place)
        if other != place and Path(other).exists():
            raise SharedMemoryError(
                f"{self.folder} holds a run {run!r} already, whose journal is {other}: choose another --name"
            )
        self.write(held.model_copy(update={"journals": held.journals | {run: place}}))

    def write(self, register: Register) -> None:
        """Write `memory.toml`, so that a reader sees the old one or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.register_file) as file:
            tomli_w.dump(register.model_dump(mode="json"), file)

    def journals(self, without: str = "") -> Mapping[str, tuple[Entry, ...]]:
        """Return what the runs that feed the memory recorded, by name; a journal that is gone has nothing.

        Args:
            without: A run to leave out.

        Raises:
            JournalError: One of them is damaged.
        """
        held = self.read()
        paths = {} if held is None else held.journals
        return {run: Journal(Path(path)).read() for run, path in paths.items() if run != without}
