"""The process that scorers are forked from: it has read the scorer's code, and never a label.

A new interpreter for each score would cost a quarter of a second of imports. Here one interpreter imports once,
rehearses on numbers of no task, and waits. For each order it forks a child, which opens the labels, answers with one
line and is gone: so labels that judge are in no process that lives while a trial of the same round does.

Nobody but its parent reaches it: it listens on its standard input alone, a pipe of which the parent holds the only
other end. When that end closes, because the parent wants no more or is gone, it leaves.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ATTEMPTS = 2  # a process that was killed from outside says nothing of the predictions


class ScoringProcess:
    """The process of one module that answers orders, started at the first and again where it was lost.

    Args:
        module: Whose `main` calls `answer_orders`.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._threads = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        atexit.register(self.close)

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to an order; `{"error": ...}` where the process could not give one."""
        with self._threads:
            for _ in range(ATTEMPTS):
                given, taken = self._start()
                try:
                    given.write(json.dumps(order) + "\n")
                    given.flush()
                    line = taken.readline()
                except BrokenPipeError:
                    line = ""
                if line.endswith("\n"):
                    return dict(json.loads(line))
                self._end()
        return {"error": "the process that scores ended without a word, twice: is memory short?"}

    def close(self) -> None:
        """End the process; the next order starts another."""
        with self._threads:
            self._end()

    def _start(self) -> tuple[IO[str], IO[str]]:
        if self._owner != os.getpid():  # a forked copy of the owner must not talk on the owner's pipes
            self._process = None
        if self._process is None:
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()


def answer_orders(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer each line of standard input with a line, from a child that is forked for it and ends with it."""
    gc.collect()
    gc.freeze()  # a child that looks for garbage would write to, and so copy, every page that it shares with this
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _answer(answer, line)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            how = f"signal {-status}" if status < 0 else f"code {status}"
            try:
                print(json.dumps({"error": f"the scorer ended with {how}: is memory short?"}), flush=True)
            except BrokenPipeError:  # whoever asked is gone, which is no error of ours
                os._exit(0)


def _answer(answer: Callable[[dict[str, Any]], dict[str, Any]], line: str) -> None:
    """Answer one order and end this process, whatever happens."""
    code = 1
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what numpy warns of is no news to whoever watches the run
    try:
        try:
            text = json.dumps(answer(json.loads(line)))
        except Exception as error:  # the border of a child process: its parent raises what this says
            text = json.dumps({"error": f"{type(error).__name__}: {error}"})
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        code = 0
    finally:
        os._exit(code)
