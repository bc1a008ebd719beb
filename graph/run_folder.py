"""Where a run lies on disk: the paths below `runs/<name>/` and its resolved configuration; no logic of a round."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import re
import shutil
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w
from pydantic import Field, ValidationError

from evaluation_locked.seed_folder import copy_seed
from evaluation_locked.task import Strict, TaskSpec, explain
from evaluation_locked.whole_file import whole_file
from graph.errors import RunError
from graph.executors.settings import ExecutorSettings
from graph.trial_folders import TrialFolders
from memory.history import History
from memory.journal import Journal
from memory.starts import load_techniques

if TYPE_CHECKING:
    from memory.records import Idea
    from memory.techniques import Technique

VERSIONED = ("torch", "torch-geometric", "numpy", "langgraph", "chromadb", "pymatgen", "crystal-research-team")
LOG_TAIL_LINES = 30
LOG_TAIL_BYTES = 16_384


class RunConfig(Strict):
    """Everything that was settled when the run began; `run.toml` holds it, and a resumed run reads it from there.

    Attributes:
        name: The folder below `runs/`.
        task: The resolved task: `task.toml` with the command line's changes.
        limit: Rows of the search, None for all.
        trials: Trainings to pay for.
        hours: Wall time to spend, None for no limit.
        seed: Root of all random numbers of the search.
        n_threads: CPU threads of a trial.
        workers: Trials at once.
        executor: Where they run.
        sandboxed: False only where somebody asked for it; scores are then unsealed.
        embedder: Of the idea memory, chosen once; a name of `memory.embedders`.
        memory: Folder of the idea memory that the run shares with others, None for one of its own.
        models: The model that plays a role, by the role's name; the offline team plays the others.
        approve: Whether a person is asked before a changed file is trained.
        start: The starting point that stands in for the seed's train.py, empty for the seed's own.
    """

    name: str
    task: TaskSpec
    seed_folder: str
    limit: int | None = None
    trials: int = Field(10, ge=1)
    hours: float | None = Field(None, gt=0)
    seed: int = Field(0, ge=0)
    n_threads: int = Field(1, ge=1)
    workers: int = Field(1, ge=1)
    executor: ExecutorSettings = ExecutorSettings()
    sandboxed: bool = True
    embedder: str = "local"
    memory: str | None = None
    models: dict[str, str] = {}
    approve: bool = False
    start: str = ""
    created_at: str = ""
    versions: dict[str, str] = {}


class RunFolder:
    """The paths of one run, as docs/concepts.md draws them."""

    def __init__(self, path: Path):
        self.path = path
        self.config_file = path / "run.toml"
        self.journal = path / "journal.jsonl"
        self.person = path / "person.jsonl"
        self.checkpoint = path / "checkpoint.sqlite"
        self.chroma = path / "chroma"
        self.locked = path / "locked"
        self.seed = path / "seed"
        self.trials = path / "trials"
        self.trial_folders = TrialFolders(self.trials)
        self.champion = path / "champion"
        self.graphml = path / "ideas.graphml"
        self.now = path / "now.json"
        self.report = path / "report.html"
        self.pause = path / "pause"

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    def trial(self, number: int) -> Path:
        """Return the folder of trial `number`, which exists; its title is part of its name."""
        found = self.trial_folders.find(number)
        if found is None:
            raise RunError(f"run {self.name} has no trial {number}: `team graph {self.name}` lists what there is")
        return found

    def make_trial(self, idea: Idea) -> Path:
        """Make the folder of an idea's trial, or return the one that an interrupted round made for its number."""
        folder = self.trial_folders.make(idea.number, idea.slug)
        early = self.exchanges(idea.number)
        if early.is_dir():
            (folder / "llm").mkdir(exist_ok=True)
            for path in early.iterdir():
                path.replace(folder / "llm" / path.name)
            early.rmdir()
        return folder

    def remove_partial_files(self) -> None:
        """Remove what a process that was killed while it wrote has left beside the run's files; for the only writer."""
        for path in self.path.glob(".*.[0-9]*"):
            path.unlink(missing_ok=True)

    def exchanges(self, number: int) -> Path:
        """Return where to write what is said to models for trial `number`; `make_trial` moves it into its folder."""
        return self.trials / f".{number:04d}-llm"

    def source(self, number: int) -> str:
        """Return the train.py of trial `number`."""
        return (self.trial(number) / "train.py").read_text(encoding="utf-8")

    def playbook(self, config: RunConfig) -> tuple[Technique, ...]:
        """Return the playbook and the starting points of the run's seed, without what its task leaves out.

        Raises:
            PlaybookError: An entry cannot be used.
        """
        return load_techniques(self.seed, config.task.leave_out)

    def write_config(self, config: RunConfig) -> None:
        """Write `run.toml`; a resumed run reads nothing else from the command line's past."""
        write_atomically(self.config_file, tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))

    def read_config(self) -> RunConfig:
        """Read `run.toml`.

        Raises:
            RunError: There is no such run, or its configuration is damaged.
        """
        if not self.path.is_dir():
            others = sorted(p.parent.name for p in self.path.parent.glob("*/run.toml"))
            known = f"runs here: {', '.join(others)}" if others else f"there are none in {self.path.parent}"
            raise RunError(f"no run {self.name!r}; {known}")
        try:
            return RunConfig.model_validate(tomllib.loads(self.config_file.read_text(encoding="utf-8")))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{self.config_file} cannot be read ({error}); restore it or start a run anew") from error
        except ValidationError as error:
            raise RunError(f"{self.config_file}: {explain(error)}") from error


def create_run(runs: Path, config: RunConfig, seed_folder: Path) -> RunFolder:
    """Make the folder of a new run and copy the seed's files into it, so that later edits of them change no run.

    Raises:
        RunError: The name is taken or cannot be a folder's.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", config.name):
        raise RunError(f"{config.name!r} cannot name a run: use letters, digits, '.', '_' and '-', at most 80")
    folder = RunFolder(runs / config.name)
    if folder.config_file.exists():
        raise RunError(
            f"run {config.name!r} exists: `team resume {config.name}` goes on with it, --name chooses another name"
        )
    if folder.journal.exists():
        raise RunError(f"{folder.path} holds a journal without run.toml: restore run.toml, or choose another --name")
    shutil.rmtree(folder.seed, ignore_errors=True)
    folder.path.mkdir(parents=True, exist_ok=True)
    copy_seed(seed_folder, folder.seed)
    if config.start:
        shutil.copyfile(folder.seed / "starts" / f"{config.start}.py", folder.seed / "train.py")
    folder.write_config(config.model_copy(update={"created_at": utc_now(), "versions": versions()}))
    return folder


def read_history(folder: RunFolder) -> History:
    """Return what a run's journal says, without a lock: for those who look and do not write."""
    return History(Journal(folder.journal).reader().read_new())


def code_sha(trial_folder: Path) -> str:
    """Return the sha256 of a trial's train.py."""
    return hashlib.sha256((trial_folder / "train.py").read_bytes()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a score depends on."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a text file so that a reader sees the old one or the new one, whole; so does a restart, where `durable`."""
    with whole_file(path, durable=durable) as file:
        file.write(text.encode())


def last_words(folder: Path, n_lines: int = LOG_TAIL_LINES) -> list[str]:
    """Return the last lines that a trial printed, cut to what a person or a model can use; none where it has no log."""
    try:
        with (folder / "train.log").open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    plain = ("".join(c for c in line if c.isprintable()) for line in lines)  # no escape codes to anybody's terminal
    return [line[:300].rstrip() for line in plain if line.strip()][-n_lines:]
