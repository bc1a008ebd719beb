"""A Ray cluster of two nodes on this machine for the durability benchmark, whose nodes can be killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation_locked.process_tree import descendants

if TYPE_CHECKING:
    import random


class TwoNodes:
    """The cluster, held by a process of its own, as the lane of tests has it."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.graph.executors.ray_cluster"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._hear()
        self._nodes = [self._add(), self._add()]

    def kill_a_node(self, draw: random.Random) -> bool:
        """Kill one of the nodes that hold a trial, and add another; return whether one did."""
        busy = [
            node for node in self._nodes if any(b"evaluation_locked.warden" in words_of(p) for p in descendants(node))
        ]
        if not busy:
            return False
        node = draw.choice(busy)
        self._nodes.remove(node)
        self._say(f"kill {node}")
        self._nodes.append(self._add())
        return True

    def close(self) -> None:
        with self.process:
            pass

    def _add(self) -> int:
        folder = Path(tempfile.mkdtemp(dir=self._place))
        return int(self._say(f"add {folder}"))

    def _say(self, words: str) -> str:
        assert self.process.stdin is not None
        print(words, file=self.process.stdin, flush=True)
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
