"""Kill a run at random moments, again and again: what is lost, doubled, left running, or beyond resuming?

    python -m benchmarks.durability --kills 200

A scripted run of the offline team trains real, sandboxed trials of a file that predicts a constant. Each session is a
process of its own that does what `team resume` does; it is forked from one that has the imports, so that a kill costs a
second. It is killed with SIGKILL

- at a moment drawn uniformly from the session's first seconds, start and recovery among them (`moment`);
- within two milliseconds of a new line in the journal, between its write and its fsync as often as not, and the line is
  then cut at a random byte, as a power cut would (`write`);
- as a drawn step of a round begins (`step`);

with its whole tree, or alone, so that wardens and trials have to end by themselves while the next session starts. Some
sessions find a full disk at a drawn moment (`full`), a read-only file system (`read-only`), a clock set back by up to a
year (`clock`), or the run moved to another path (`moved`). A full disk and a read-only file system are a tmpfs of this
benchmark's, which takes root; without it they are left out, and the output says so.

Lost is an entry that stood in the journal after a kill and does not at the end, byte for byte; doubled a trial that
stands there twice. A session beyond resuming is one that ended by itself though nothing was wrong with disk or folder,
or that left a traceback, killed or not.

With `--executor ray` trials run on a cluster of two nodes on this machine. In every third session one of them is killed
in the middle of its trials, and another takes its place; wardens that the cluster holds count as processes left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.instant import write_seed
from benchmarks.sessions import exit_code, fork_session, is_over, reap
from evaluation_locked.process_tree import adopt_orphans, descendants
from graph.errors import RunError
from graph.machine import build, open_checkpoints
from graph.run_folder import RunFolder
from graph.verify import verify
from memory.journal import Journal
from memory.lines import payload_of, read_lines
from memory.records import TrialRecord
from team import running
from team.casting import TeamOptions
from tests.graph.executors.two_nodes import TwoNodes, words_of
from tests.small_disk import fill, remount, small_disk

if TYPE_CHECKING:
    pass

DISK = "96m"
SLACK_SECONDS = 10.0  # what is left of a tree that was killed must be gone by then
STEPS = ("strategise", "scout", "choose", "code", "review", "smoke", "train", "judge", "remember")
YEAR = 365 * 86_400


class Bench:
    """One run that is killed and resumed.

    Args:
        place: A folder, on a file system of its own where `disk`.
        disk: Whether it may be filled and made read-only.
        workers: Trials at once.
        draw: All that is random.
        longest: Seconds that a session lives at most.
    """

    def __init__(
        self,
        place: Path,
        *,
        disk: bool,
        workers: int,
        draw: random.Random,
        longest: float,
        cluster: TwoNodes | None = None,
    ):
        self.place, self.disk, self.workers, self.draw, self.longest = place, disk, workers, draw, longest
        self.cluster = cluster
        self.run = place / "runs" / "r"
        self.log = place.parent / "session.log"
        self.counts: Counter[str] = Counter()
        self.beyond: list[str] = []
        self.stood: list[bytes] = []  # lines that stood in the journal after the last kill
        self.lost = 0
        self.left = 0

    def start(self, seed: Path) -> None:
        """Make the run, with its baseline trained."""
        options = running.RunOptions(
            seed_folder=seed,
            name="r",
            matbench_task=None,
            source=None,
            target=None,
            limit=400,
            trials=1,
            train_seconds=None,
            hours=None,
            seed=0,
            threads=1,
            workers=self.workers,
            sandboxed=True,
            approve=False,
            team=TeamOptions(team_file=self._team_file()),
            runs=self.place / "runs",
        )
        code = exit_code(fork_session(lambda: running.start(options, as_json=True), self.log))
        assert code == 0, self.log.read_text()

    def _team_file(self) -> Path | None:
        if self.cluster is None:
            return None
        path = self.place / "team.toml"
        path.write_text(f'[executor]\nkind = "ray"\n[executor.ray]\naddress = "{self.cluster.address}"\n')
        return path

    def kill_once(self) -> None:
        """Resume, kill, and look at what stands."""
        trouble = self.draw.choices(("", "full", "read-only", "clock", "moved"), (60, 10, 5, 15, 10))[0]
        if trouble in ("full", "read-only") and not self.disk:
            trouble = ""
        when = self.draw.choices(("moment", "write", "step"), (50, 30, 20))[0]
        self.counts[trouble or "nothing wrong"] += 1
        self.counts[when] += 1
        if trouble == "moved":
            moved = self.place / f"moved-{self.draw.randrange(10**6)}" / f"r{self.draw.randrange(100)}"
            moved.parent.mkdir()
            self.run.rename(moved)
            self.run = moved
        back = self.draw.uniform(0, YEAR) if trouble == "clock" else 0.0
        if trouble == "read-only":
            self._remount("ro")
        session = fork_session(lambda: self._session(back), self.log)
        filler = self.place / "filler"
        if trouble == "full":
            time.sleep(self.draw.uniform(0, self.longest / 2))
            fill(filler, spare=self.draw.choice((0, 0, 4096, 20_000, 60_000)))
        ended = None
        if self.cluster is not None and self.draw.random() < 1 / 3:
            ended = self._await_moment(session, "train")
            if ended is None and self.cluster.kill_a_busy_node(self.draw):
                self.counts["node killed"] += 1
        if ended is None:
            ended = self._await_moment(session, when)
        if ended is None:
            whole = self.draw.random() < 2 / 3
            self.counts["whole tree" if whole else "team alone"] += 1
            self._kill(session, whole=whole)
            if when == "write":
                self._cut_last_line()
        elif not trouble or trouble in ("clock", "moved"):
            self.beyond.append(f"ended with code {ended}: {_last_line(self.log)}")
        else:
            self.counts[f"ended by itself: {trouble}"] += 1
        if "Traceback" in (told := _text(self.log)):
            print(told, file=sys.stderr)
            self.counts["left a traceback"] += 1
            self.beyond.append(f"{trouble or when}: {_last_line(self.log)}")
        filler.unlink(missing_ok=True) if trouble == "full" else None
        if trouble == "read-only":
            self._remount("rw")
        self._compare()

    def finish(self, more: int) -> dict[str, Any]:
        """Resume once more and see it through; return what was found."""
        trained = sum(t.status != "not run" for t in self._trials())
        code = exit_code(fork_session(lambda: self._session(0.0, trained + more), self.log))
        if code != 0:
            self.beyond.append(f"the last session ended with code {code}: {_last_line(self.log)}")
        self._compare()
        until = time.monotonic() + SLACK_SECONDS
        while (left := self._alive()) and time.monotonic() < until:
            time.sleep(0.05)
        self.left += len(left)
        numbers = [trial.number for trial in self._trials()]
        return {
            "kills": self.counts["whole tree"] + self.counts["team alone"],
            "sessions": dict(sorted(self.counts.items())),
            "trials": len(numbers),
            "trained": sum(t.status != "not run" for t in self._trials()),
            "lost": self.lost,
            "doubled": len(numbers) - len(set(numbers)),
            "missing numbers": max(numbers) + 1 - len(set(numbers)),
            "processes left": self.left,
            "beyond resuming": self.beyond,
            "verify": [str(difference) for difference in verify(RunFolder(self.run))],
        }

    def _session(self, back: float, trials: int = 10**6) -> int:
        if back:
            real = time.time
            time.time = lambda: real() - back
        return running.resume_run(
            self.run.parent,
            self.run.name,
            trials=trials,
            hours=None,
            workers=None,
            approve=None,
            team=TeamOptions(),
            as_json=True,
        )

    def _await_moment(self, session: int, when: str) -> int | None:
        """Return when it is time to kill; the exit code where the session ended before."""
        until = time.monotonic() + (self.draw.uniform(0, self.longest) if when == "moment" else 3 * self.longest)
        step = self.draw.choice(STEPS) if when == "step" else when
        size = _size(self.run / "journal.jsonl")
        while time.monotonic() < until:
            if is_over(session):
                return exit_code(session)
            if when == "write" and _size(self.run / "journal.jsonl") != size:
                time.sleep(self.draw.choice((0.0, 0.0, self.draw.uniform(0, 0.002))))
                break
            if when in ("step", "train") and f'"node":"{step}"' in _text(self.run / "now.json"):
                time.sleep(self.draw.uniform(0, 0.01))
                break
            time.sleep(0.0 if when == "write" else 0.002)
        return exit_code(session) if is_over(session) else None

    def _kill(self, session: int, *, whole: bool) -> None:
        os.kill(session, signal.SIGKILL)
        os.waitpid(session, 0)  # its lock is free only then
        while whole and (left := self._alive(trials=False)):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            reap()
        reap()

    def _cut_last_line(self) -> None:
        """Cut a line that was being written when the power went; one that is on the disk stays.

        That it is there is known where its round is closed: its checkpoints go after the line was flushed.
        """
        path = self.run / "journal.jsonl"
        lines = read_lines(path)
        if len(lines) > len(self.stood) and self._is_open(lines[-1]):
            cut = self.draw.randrange(len(lines[-1]))
            os.truncate(path, sum(map(len, lines[:-1])) + cut)
            self.counts["line cut"] += 1

    def _is_open(self, line: bytes) -> bool:
        """Say whether the round that wrote a line was cut short; of a decision, whether any that is recorded was."""
        payload = payload_of(line)
        entry = json.loads(payload) if payload is not None else {}
        written = {entry["number"]} if entry.get("kind") == "trial" else {trial.number for trial in self._trials()}
        try:
            return payload is None or bool(self._open_rounds() & written)
        except (RunError, sqlite3.Error):  # the disk is full still
            return False

    def _open_rounds(self) -> set[int]:
        """Return the rounds that stand at a node; one that is through has flushed what it wrote."""
        with open_checkpoints(self.run / "checkpoint.sqlite") as saver:
            machine = build(saver)
            threads = {str(held.config["configurable"]["thread_id"]) for held in saver.list(None)}
            states = {thread: machine.get_state({"configurable": {"thread_id": thread}}) for thread in threads}
        return {int(thread.removeprefix("round-")) for thread, state in states.items() if state.next}

    def _compare(self) -> None:
        lines = [line for line in read_lines(self.run / "journal.jsonl") if payload_of(line) is not None]
        self.lost += sum(a != b for a, b in zip(self.stood, lines, strict=False))
        self.lost += max(0, len(self.stood) - len(lines))
        self.stood = lines

    def _trials(self) -> list[TrialRecord]:
        return [entry for entry in Journal(self.run / "journal.jsonl").read() if isinstance(entry, TrialRecord)]

    def _alive(self, *, trials: bool = True) -> list[int]:
        """Return the living processes of the run; those of a cluster are not, but for the trials that it holds."""
        reap()
        below = descendants(os.getpid())
        if self.cluster is None:
            return below
        held = {self.cluster.process.pid, *descendants(self.cluster.process.pid)}
        mine = [
            pid
            for pid in below
            if pid not in held and b"/ray/" not in (words := words_of(pid)) and b"ray::" not in words
        ]
        return mine + [pid for pid in held if trials and b"evaluation_locked.warden" in words_of(pid)]

    def _remount(self, how: str) -> None:
        until = time.monotonic() + SLACK_SECONDS
        while not remount(self.place, how):
            assert time.monotonic() < until, f"{self.place} cannot be made {how}: {self._alive()} are at work"
            time.sleep(0.05)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _last_line(path: Path) -> str:
    return (_text(path).strip().splitlines() or [""])[-1][:300]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--longest", type=float, default=4.0, help="seconds that a session lives at most")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    adopt_orphans()  # what a killed session leaves is seen then
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, small_disk(Path(temporary, "disk"), DISK) as disk:
        seed = write_seed(Path(temporary, "seed"))
        nodes = Path(temporary, "nodes")
        nodes.mkdir()
        cluster = TwoNodes(nodes) if arguments.executor == "ray" else None
        bench = Bench(
            Path(temporary, "disk"),
            disk=disk,
            workers=arguments.workers,
            draw=random.Random(arguments.seed),
            longest=arguments.longest,
            cluster=cluster,
        )
        bench.start(seed)
        kills = 0
        while kills < arguments.kills:
            bench.kill_once()
            kills = bench.counts["whole tree"] + bench.counts["team alone"]
            if kills % 20 == 0:
                print(f"{kills} kills, {len(bench.stood)} entries, {time.monotonic() - began:.0f} s", file=sys.stderr)
        found = bench.finish(more=2)
        if cluster is not None:
            cluster.close()
    found |= {"full disk and read-only": "tried" if disk else "left out: mounting a tmpfs takes root"}
    found["seconds"] = round(time.monotonic() - began)
    print(json.dumps(found, indent=1) if arguments.json else "\n".join(f"{k}: {v}" for k, v in found.items()))
    failed = found["lost"] or found["doubled"] or found["processes left"] or found["beyond resuming"] or found["verify"]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
