"""What a round costs beside its trials: our own CPU seconds, wall seconds and memory, with an instant trial.

    python -m benchmarks.overhead --trials 20 100 1000 --workers 1 4

Each team plays in a process of its own, wired as `team run` wires it: state machine, checkpoints, journal, idea memory,
static review, scorer, idea graph, report, `now.json`. The trial is instant: predictions are written in place, so that
no process of a trial is in a round's figures. What these processes cost is measured apart, on a train.py that predicts
a constant. The models are a scripted endpoint in another process. CPU seconds are of the team's process with all its
threads, less what stands in for the trial, divided by the rounds that were recorded between two marks, since rounds of
several workers overlap; those of the scorer and of the models' client stand beside. A trial is one that is recorded:
with scripted models many are refused before they train, and how many trained is told. Wall time depends on what else
the machine does, and so, by less, does CPU time.

Two seeds: `trivial` predicts a constant (what the criterion is about), `shipped` is the seed of the project, whose
file of 370 lines is what a review reads.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import itertools
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.instant import Instant, write_seed
from evaluation_locked import tight_binding
from evaluation_locked.prepare import prepare
from evaluation_locked.process_tree import descendants
from evaluation_locked.task import Caps, load_task
from evaluation_locked.trial import TrialCancelled, TrialOrder, run_trial
from graph.campaign import advance
from graph.context import Event
from graph.flight import Flight
from graph.run_folder import RunConfig, create_run
from graph.session import open_session
from memory.journal import Journal
from memory.records import TrialRecord
from team.model.access import ModelAccess
from team.model.endpoint import Endpoint
from team.model.settings import RoleSettings, TeamSettings
from team.model.spend import SpendBook
from team.now import announce
from team.offline import offline_team
from team.preparing import prepare_apart
from team.report.writer import ReportWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memory.knowledge import Knowledge

ROOT = Path(__file__).resolve().parent.parent
ROLES = ("strategist", "scout", "coder", "reviewer")
WINDOW = 64  # trials up to the one named, over which a figure is taken; Chroma is written every 32
TICKS = os.sysconf("SC_CLK_TCK")
# Measured on two cores with an instant scripted endpoint and a trivial evaluation; seconds per extra iteration, MB.
PEERS = {"OpenEvolve 0.4": (0.044, 73), "AIDE 0.2": (0.145, 173), "ShinkaEvolve 0.0.7": (0.270, 313)}


@contextlib.contextmanager
def clock_requests(taken: list[float]) -> Iterator[None]:
    """Add to a list what CPU seconds each request takes in LangChain's and the provider's client."""
    within = Endpoint._within

    def clocked(self: Endpoint, seconds: float, call: Callable[[], Any]) -> Any:
        def work() -> Any:
            begun = time.thread_time()
            try:
                return call()
            finally:
                taken.append(time.thread_time() - begun)

        return within(self, seconds, work)

    Endpoint._within = clocked  # type: ignore[method-assign]
    try:
        yield
    finally:
        Endpoint._within = within  # type: ignore[method-assign]


class Meter:
    """Listens to a run, and says what its rounds cost."""

    def __init__(
        self,
        trials: list[int],
        knowledge: Callable[[], Knowledge],
        instant: Instant,
        client: list[float],
        cancel: threading.Event,
    ) -> None:
        self.marks: list[dict[str, Any]] = []  # one for each round that was recorded
        self._wanted = {*trials, *map(_first_of, trials)}
        self._last, self._knowledge, self._cancel = trials[-1], knowledge, cancel
        self._instant, self._client = instant, client
        self._measuring = {"cpu": 0.0, "wall": 0.0}  # what this cost itself
        self._nodes: dict[str, float] = {}
        self._here: dict[int, tuple[str, float]] = {}  # by thread: at which node it is, and since when

    def listen(self, event: Event) -> None:
        """Take in one event, in the thread of its round."""
        thread, now = threading.get_ident(), time.thread_time()
        node, began = self._here.get(thread, ("", now))
        if node and event.node != "strategise":  # with which a round begins, whose thread may have another's number
            self._nodes[node] = self._nodes.get(node, 0.0) + now - began
        if event.kind == "node" and event.node is not None:
            node = event.node
        if isinstance(event.entry, TrialRecord):
            self._mark()
        self._here[thread] = node, time.thread_time()

    def _mark(self) -> None:
        begun = {"cpu": time.process_time(), "wall": time.monotonic()}
        n_recorded = len(self.marks) + 1
        mark = {name: begun[name] - self._measuring[name] for name in begun}
        mark["cpu"] -= self._instant.cpu_seconds
        mark |= {
            "trained": self._knowledge().history.n_trained,
            "nodes": dict(self._nodes),
            "client": sum(self._client),
        }
        if n_recorded in self._wanted:  # it takes milliseconds to ask after all processes
            mark |= {"others": _children_seconds(), "rss_mb": _resident_mb()}
        self.marks.append(mark)
        self._measuring["cpu"] += time.process_time() - begun["cpu"]
        self._measuring["wall"] += time.monotonic() - begun["wall"]
        if n_recorded >= self._last:
            self._cancel.set()

    def figures(self, wanted: int) -> dict[str, Any]:
        """Return what a round cost over the last records up to `wanted`, refused ones among them."""
        first, last = _first_of(wanted) - 1, wanted - 1
        begin, end, n = self.marks[first], self.marks[last], last - first
        by_node = {name: (end["nodes"][name] - begin["nodes"].get(name, 0.0)) / n for name in sorted(end["nodes"])}
        cpu = (end["cpu"] - begin["cpu"]) / n
        by_node["client of the models"] = (end["client"] - begin["client"]) / n
        by_node["other threads, and a round's end"] = cpu - sum(by_node.values())
        return {
            "rounds": n,
            "trained": end["trained"] - begin["trained"],
            "own_cpu_ms": round(1000 * (cpu - by_node["client of the models"]), 1),
            "client_cpu_ms": round(1000 * by_node.pop("client of the models"), 1),
            "wall_ms": round(1000 * (end["wall"] - begin["wall"]) / n, 1),
            "scorer_cpu_ms": round(1000 * (end["others"] - begin["others"]) / n, 1),
            "resident_mb": round(end["rss_mb"]),
            "cpu_ms_by_node": {name: round(1000 * seconds, 1) for name, seconds in by_node.items()},
        }


def play(
    folder: Path, who: str, seed_folder: Path, trials: list[int], workers: int, base_url: str, profile: Path | None
) -> dict[str, Any]:
    """Play rounds to the last of `trials` in this process, and return what a round near each of them cost."""
    task = load_task(seed_folder)
    models = dict.fromkeys(ROLES, "scripted") if who == "scripted" else {}
    config = RunConfig(
        name="r", task=task, seed_folder=str(seed_folder), trials=10**6, limit=1500, models=models, workers=workers
    )
    run = create_run(folder, config, seed_folder)
    prepare_apart(task, run.locked, config.limit, run.seed, folder)
    cancel, flight = threading.Event(), Flight()
    instant = Instant()
    client: list[float] = []  # CPU seconds of each request
    meter = Meter(trials, lambda: context.knowledge, instant, client, cancel)
    if who == "scripted":
        from team.thinking import model_team
        from team.thinking.desk import Desk

        role = RoleSettings(model="scripted", base_url=base_url)
        settings = TeamSettings(roles=dict.fromkeys(ROLES, role))  # type: ignore[arg-type]
        access = ModelAccess(settings, SpendBook(run.path), cancel=cancel, aside=flight.aside)
        team = model_team(settings, Desk(access, run, cancel))
    else:
        team = offline_team()
    journal = Journal(run.journal)
    profiled = profile_rounds() if profile else contextlib.nullcontext()
    with contextlib.ExitStack() as stack:
        stack.enter_context(clock_requests(client))
        stack.enter_context(journal.lock())
        announcer = stack.enter_context(announce(run))
        report = stack.enter_context(ReportWriter(run, print))

        def tell(event: Event) -> None:
            meter.listen(event)
            report.listen(event)

        context = stack.enter_context(open_session(run, config, journal, team, announcer.hear(tell), cancel, flight))
        context.executor = instant
        with profiled as watches, contextlib.suppress(TrialCancelled):
            stopped = advance(context)
            print(f"stopped: {stopped}", file=sys.stderr)
        if profile:
            pstats.Stats(*watches).dump_stats(profile)
    found: dict[str, Any] = {
        "rounds": len(meter.marks),
        "peak_mb": _peak_mb(),
        "journal_bytes": run.journal.stat().st_size,
    }
    return found | {f"at {wanted}": meter.figures(wanted) for wanted in trials}


@contextlib.contextmanager
def profile_rounds() -> Iterator[list[cProfile.Profile]]:
    """Profile the CPU time of every thread that plays a round, and yield the profiles."""
    watches: list[cProfile.Profile] = []

    def begin(*_: object) -> None:
        sys.setprofile(None)
        if threading.current_thread().name.startswith("round-"):
            watches.append(cProfile.Profile(time.thread_time))
            watches[-1].enable()

    threading.setprofile(begin)
    try:
        yield watches
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]


def processes_of_a_trial(folder: Path, n: int = 5) -> dict[str, float]:
    """Return what the processes of one trial of a train.py that predicts a constant cost: warden, launcher, trial."""
    seed = write_seed(folder / "seed")
    task = load_task(seed)
    prepare(task, tight_binding.load(), folder / "locked", 1500)
    wall, cpu = [], []
    for i in range(n):
        order = TrialOrder(
            train_py=seed / "train.py", locked=folder / "locked", folder=folder / f"trial-{i}", caps=Caps(), seed=i
        )
        before, began = os.times(), time.monotonic()
        outcome = run_trial(order)
        after = os.times()
        assert outcome.status == "finished", outcome.message
        wall.append(time.monotonic() - began)
        cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {"wall_ms": round(1000 * statistics.median(wall)), "cpu_ms": round(1000 * statistics.median(cpu))}


def _first_of(wanted: int) -> int:
    """Return the trial from which on rounds are counted in the figures for `wanted`."""
    return wanted - min(WINDOW, wanted // 2)


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _children_seconds() -> float:
    """Return the CPU seconds of all processes below this one, ended ones among them."""
    times = os.times()
    total = times.children_user + times.children_system
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / TICKS
    return total


def _peak_mb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1000)
    return 0


@contextlib.contextmanager
def scripted_endpoint() -> Any:
    """Serve the scripted model from a process of its own, and yield its address."""
    team = str(Path(sys.executable).with_name("team"))
    server = subprocess.Popen(
        [team, "scripted-model", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["base_url"]
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[20, 100, 1000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4], help="trials at once")
    parser.add_argument("--teams", nargs="+", choices=("scripted", "offline"), default=["scripted", "offline"])
    parser.add_argument("--seeds", nargs="+", choices=("trivial", "shipped"), default=["trivial", "shipped"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    parser.add_argument("--base-url", default="", help=argparse.SUPPRESS)
    parser.add_argument("--profile", type=Path, help="where to write a profile of the process that plays")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        if arguments.play:
            seed = write_seed(place / "seed") if arguments.seeds == ["trivial"] else ROOT / "crystal_seed"
            base_url, profile = arguments.base_url, arguments.profile
            found = play(
                place / "runs", arguments.play, seed, arguments.trials, arguments.workers[0], base_url, profile
            )
            print(json.dumps(found))
            return
        found = {"processes of a trial": processes_of_a_trial(place / "trials"), "peers (s per iteration, MB)": PEERS}
        with scripted_endpoint() as base_url:
            kinds = itertools.product(arguments.seeds, arguments.teams, arguments.workers)
            for seed_name, who, workers in kinds:
                command = [sys.executable, "-m", "benchmarks.overhead", "--play", who, "--base-url", base_url]
                command += ["--seeds", seed_name, "--workers", str(workers)]
                command += ["--trials", *map(str, arguments.trials)]
                if arguments.profile:
                    command += ["--profile", f"{arguments.profile}.{who}.{seed_name}.{workers}"]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
                name = f"{who} team, {seed_name} seed, {workers} at once"
                found[name] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found, indent=1) if arguments.json else "\n".join(_lines(found)))


def _lines(found: dict[str, Any]) -> list[str]:
    runs = {name: held for name, held in found.items() if isinstance(held, dict) and "rounds" in held}
    lines = [f"{name}: {value}" for name, value in found.items() if name not in runs and not name.startswith("peers")]
    columns = ("trials", "trained", "CPU ms", "client ms", "wall ms", "scorer ms", "MB")
    lines.append(f"{'':40}" + "".join(f"{column:>11}" for column in columns))
    for name, held in runs.items():
        for at, figures in held.items():
            if at.startswith("at "):
                trained = f"{figures['trained']}/{figures['rounds']}"
                values = [figures["own_cpu_ms"], figures["client_cpu_ms"], figures["wall_ms"], figures["scorer_cpu_ms"]]
                shown = "".join(f"{value:11.0f}" for value in [*values, figures["resident_mb"]])
                lines.append(f"{name:40}{at[3:]:>11}{trained:>11}{shown}")
    for name, (seconds, megabytes) in PEERS.items():
        lines.append(f"{name + ' (a quiet machine)':40}{'':44}{1000 * seconds:11.0f}{'':11}{megabytes:11d}")
    return lines


if __name__ == "__main__":
    main()
