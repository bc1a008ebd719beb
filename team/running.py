"""`team run` and `team resume`: from options to a prepared run folder, a session, and the machine at work in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from evaluation_locked import sandbox
from evaluation_locked.dataset import DataError
from evaluation_locked.prepare import load_facts
from evaluation_locked.seed_folder import SHIPPED, copy_seed, find_seed
from evaluation_locked.task import SeedError, TaskSpec, load_task
from evaluation_locked.trial import SandboxError, TrialCancelled
from graph.devices import visible_devices
from graph.errors import RunError
from graph.run_folder import RunConfig, RunFolder, create_run
from memory.embedders import open_embedder, resolve
from memory.journal import Journal
from memory.shared_memory import SharedMemory
from memory.starts import load_techniques
from team.casting import keep_team, open_team, settle_team
from team.pausing import unpause
from team.preparing import prepare_apart
from team.summary import print_summary, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from graph.context import Event
    from graph.executors.settings import ExecutorSettings, Kind
    from memory.person import Answer, Question
    from memory.techniques import Technique
    from team.casting import TeamOptions
    from team.display import Display
    from team.model.settings import TeamSettings

INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended
WAITING = 3  # the run ended with a question to a person


@dataclass(frozen=True)
class RunOptions:
    """What the command line says of a new run; None leaves it to the seed folder or the machine."""

    seed_folder: Path | None
    name: str | None
    matbench_task: str | None
    source: str | None
    target: str | None
    limit: int | None
    trials: int
    train_seconds: float | None
    hours: float | None
    seed: int
    threads: int | None
    workers: int | None
    sandboxed: bool
    approve: bool
    team: TeamOptions
    runs: Path
    embedder: str = "local"
    memory: Path | None = None
    start: str | None = None
    executor: Kind | None = None


def start(options: RunOptions, *, as_json: bool) -> int:
    """Start a run and see it through; return the exit code.

    Raises:
        SeedError, PlaybookError, DataError, CrystalError, RunError, SandboxError: Nothing was paid for yet.
        EmbedderError, IdeaMemoryError: The embedder or the shared memory cannot be used; there is no run yet.
    """
    seed_folder = find_seed(options.seed_folder or shipped_seed_folder())
    task = _resolve(load_task(seed_folder), options)
    playbook = load_seed_playbook(seed_folder, task.leave_out)  # a broken one is told before the run has a folder
    starts = [technique.id for technique in playbook if technique.start]
    if options.start is not None and options.start not in starts:
        raise SeedError(f"{seed_folder} has no start {options.start!r}; it has {', '.join(starts) or 'none'}")
    if options.sandboxed and not sandbox.landlock_abi():
        raise SandboxError(sandbox.NO_LAYER)
    settings = settle_team(options.team)
    executor = _executor(options.executor, settings.executor)
    workers = options.workers or (max(1, len(visible_devices())) if executor.kind == "local" else 1)
    config = RunConfig(
        name=options.name or _free_name(options.runs, task.name),
        task=task,
        seed_folder=str(seed_folder.resolve()),
        limit=options.limit,
        trials=options.trials,
        hours=options.hours,
        seed=options.seed,
        n_threads=options.threads or max(1, (len(os.sched_getaffinity(0)) - 1) // workers),
        workers=workers,
        executor=executor,
        sandboxed=options.sandboxed,
        approve=options.approve,
        models=_models(settings),
        embedder=resolve(options.embedder),
        memory=None if options.memory is None else str(options.memory.expanduser().resolve()),
        start=options.start or "",
    )
    open_embedder(config.embedder)  # what it lacks is told before the run has a folder
    with _hold_memory(config):
        folder = create_run(options.runs, config, seed_folder)
        return _drive(folder, folder.read_config(), settings, as_json=as_json)  # with what `create_run` added


def resume_run(
    runs: Path,
    name: str | None,
    *,
    trials: int | None,
    hours: float | None,
    workers: int | None,
    approve: bool | None,
    team: TeamOptions,
    as_json: bool,
    executor: Kind | None = None,
) -> int:
    """Go on with a run; return the exit code. What is None stays as the run has it.

    Raises:
        RunError, RunLockedError, JournalError, DataError: It cannot be resumed; the message says why.
    """
    folder = find_run(runs, name)
    config = folder.read_config()
    settings = settle_team(team, folder)
    changes = {
        "trials": trials or config.trials,
        "hours": hours or config.hours,
        "workers": workers or config.workers,
        "executor": _executor(executor, settings.executor if team.team_file else config.executor),
        "approve": config.approve if approve is None else approve,
        "models": _models(settings),
    }
    config = config.model_copy(update=changes)
    with _hold_memory(config):
        return _drive(folder, config, settings, as_json=as_json)


def find_run(runs: Path, name: str | None) -> RunFolder:
    """Return the folder of run `name`, or of the run that was written to last.

    Raises:
        RunError: There is no such run.
    """
    if name is not None:
        folder = RunFolder(Path(name) if (Path(name) / "run.toml").exists() else runs / name)
        folder.read_config()
        return folder
    found = [path.parent for path in runs.glob("*/run.toml") if path.is_file()]
    if not found:
        raise RunError(f"no runs in {runs.resolve()}: `team run` starts one, --runs looks elsewhere")
    return RunFolder(max(found, key=lambda path: (_last_write(path), path.name)))


def shipped_seed_folder() -> Path:
    """Return the seed folder that is installed beside the packages."""
    return SHIPPED


def load_seed_playbook(seed_folder: Path, leave_out: Sequence[str]) -> tuple[Technique, ...]:
    """Return the playbook and the starting points of a seed folder and its base, without what its task leaves out.

    Raises:
        SeedError, PlaybookError: It cannot be used.
    """
    with tempfile.TemporaryDirectory() as whole:
        copy_seed(seed_folder, Path(whole))
        return load_techniques(Path(whole), leave_out)


def cache_folder() -> Path:
    """Return where downloads and converted tables are kept; `TEAM_CACHE` overrides it."""
    return Path(os.environ.get("TEAM_CACHE") or platformdirs.user_cache_dir("crystal-research-team"))


def _executor(kind: Kind | None, settings: ExecutorSettings) -> ExecutorSettings:
    return settings if kind is None else settings.model_copy(update={"kind": kind})


def _models(settings: TeamSettings) -> dict[str, str]:
    return {str(role): held.model for role, held in settings.roles.items()}


def _drive(folder: RunFolder, config: RunConfig, settings: TeamSettings, *, as_json: bool) -> int:
    """Prepare what is missing, run rounds, print the summary."""
    from graph.campaign import advance
    from graph.executors import open_executor
    from graph.flight import Flight
    from graph.session import open_session
    from team.asking import ask_at_terminal
    from team.display import open_display
    from team.now import announce
    from team.own_ideas import with_own_ideas
    from team.report.writer import ReportWriter

    journal = Journal(folder.journal)
    with journal.lock(_remark), open_display(config, quiet=as_json) as display, announce(folder) as announcer:
        if config != folder.read_config():  # a resumed run was given another budget
            folder.write_config(config)
        if settings.roles:
            keep_team(settings, folder)
        _prepare(folder, config, display)
        unpause(folder)
        interrupted = False
        with contextlib.ExitStack() as stack:
            cancel = stack.enter_context(_stop_on_interrupt(display))
            report = stack.enter_context(ReportWriter(folder, display.say))
            executor = stack.enter_context(open_executor(config.executor, config.workers, config.n_threads))
            flight = Flight()
            team = with_own_ideas(open_team(settings, folder, config, display.say, cancel, flight.aside))
            listen = announcer.hear(lambda event: _tell(event, display.listen, report.listen))
            context = stack.enter_context(open_session(folder, config, journal, team, listen, cancel, flight))
            context.executor = executor
            if sys.stdin.isatty() and display.console.is_terminal:

                def ask(question: Question) -> Answer | None:
                    with display.pause():
                        return ask_at_terminal(question, folder, context.person, display.console, cancel)

                context.ask = ask
            display.begin(context.knowledge.history, load_facts(folder.locked))
            if remark := context.knowledge.ideas.remark:
                display.say(remark)
            try:
                stopped = announcer.stopped = advance(context)
                announcer.waits = not stopped
            except TrialCancelled:
                stopped, interrupted = "", True
    summary = summarise(folder, stopped=stopped)
    print_summary(summary, as_json=as_json)
    if not stopped:
        return INTERRUPTED if interrupted else WAITING
    return 0 if summary.champion is not None else 1


def _tell(event: Event, *listeners: Callable[[Event], None]) -> None:
    for listen in listeners:
        listen(event)


def _hold_memory(config: RunConfig) -> AbstractContextManager[None]:
    """Be the only run at work with the shared memory, where there is one."""
    return contextlib.nullcontext() if config.memory is None else SharedMemory(Path(config.memory)).lock(_remark)


def _remark(text: str) -> None:
    """Say something before there is a display, beside what the command prints."""
    print(text, file=sys.stderr, flush=True)


def _prepare(folder: RunFolder, config: RunConfig, display: Display) -> None:
    from graph.run_memory import join_memory

    try:
        facts = load_facts(folder.locked)
    except DataError as error:
        if folder.journal.exists() and folder.journal.stat().st_size:
            raise RunError(
                f"{error}; run {folder.name} has scores, and other rows would make them another run's"
            ) from error
    else:
        join_memory(folder, config, facts)
        return
    asked = threading.Event()  # an interrupt that is raised inside a callback of a library may be lost there

    def stop(number: int, frame: object) -> None:
        asked.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        display.say(f"reading {config.task.source}")
        facts = prepare_apart(config.task, folder.locked, config.limit, folder.seed, cache_folder())
        if asked.is_set():
            raise KeyboardInterrupt
        join_memory(folder, config, facts)
    except BaseException as error:
        shutil.rmtree(folder.path, ignore_errors=True)  # nothing was recorded: the name is free again
        if asked.is_set():
            display.say("stopped before anything was recorded")
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    display.say(f"{facts.rows_in_words()}, no formula on both sides; {facts.provenance}")


@contextlib.contextmanager
def _stop_on_interrupt(display: Display) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (or SIGTERM) into a clean stop; a second one is the usual interrupt."""
    cancel = threading.Event()

    def stop(number: int, frame: object) -> None:
        cancel.set()
        display.say("stopping: the running trial ends now, and nothing recorded is lost")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resolve(task: TaskSpec, options: RunOptions) -> TaskSpec:
    if options.matbench_task is not None:
        from team.seeds.proposal import on_matbench

        task = on_matbench(task, options.matbench_task)
    caps = task.caps
    if options.train_seconds is not None:
        caps = caps.model_copy(update={"train_seconds": options.train_seconds})
    changes = {"source": options.source or task.source, "target": options.target or task.target, "caps": caps}
    return task.model_copy(update=changes)


def _free_name(runs: Path, task: str) -> str:
    number = 1
    while (runs / f"{task}-{number}").exists():
        number += 1
    return f"{task}-{number}"


def _last_write(run: Path) -> float:
    journal = run / "journal.jsonl"
    return (journal if journal.exists() else run / "run.toml").stat().st_mtime
