"""A Ray cluster of two nodes on this machine, whose nodes can be killed: for the lane of tests and for benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation_locked.process_tree import descendants

if TYPE_CHECKING:
    import random


class TwoNodes:
    """A head that runs nothing, and two nodes with a temporary folder each, as machines have; held by another process.

    Attributes:
        place: Where the nodes have their folders.
        process: That holds the cluster.
        address: Of the cluster.
        raylets: The process of each node by its folder.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.graph.executors.ray_cluster"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._hear()
        self.raylets: dict[Path, int] = {}
        self._n_made = 0
        for _ in range(2):
            self._add()

    def kill(self, folder: Path) -> None:
        """Kill a node, and let another take its place."""
        assert self._ask("kill", self.raylets.pop(folder)) == "killed"
        self._add()

    def kill_node_of(self, pid: int) -> None:
        """Kill the node that a process belongs to."""
        (folder,) = (folder for folder, raylet in self.raylets.items() if pid in descendants(raylet))
        self.kill(folder)

    def kill_a_busy_node(self, draw: random.Random) -> bool:
        """Kill one of the nodes that hold a trial; return whether one did."""
        busy = [
            folder
            for folder, raylet in self.raylets.items()
            if any(b"evaluation_locked.warden" in words_of(pid) for pid in descendants(raylet))
        ]
        if busy:
            self.kill(draw.choice(busy))
        return bool(busy)

    def bundles(self) -> list[int]:
        """Return how many bundles each node keeps."""
        return [len([path for path in folder.glob("*/bundles/*") if path.is_dir()]) for folder in self.raylets]

    def close(self) -> None:
        """End the cluster."""
        with self.process:
            pass

    def _add(self) -> None:
        folder = self.place / f"node-{self._n_made}"
        self._n_made += 1
        folder.mkdir()
        self.raylets[folder] = int(self._ask("add", folder))

    def _ask(self, *words: object) -> str:
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)
        return self._hear()

    def _hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def words_of(pid: int) -> bytes:
    """Return the command line of a process, empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
