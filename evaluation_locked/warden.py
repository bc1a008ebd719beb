"""The process that holds one trial: it speaks the protocol, keeps the clock and the caps, and leaves nothing running.

The order comes as one line of JSON on standard input, which then stays open as a lifeline: when it closes, whoever
asked is gone or wants no more, and the trial ends. Events go to standard output, a line of JSON each. The warden holds
the training labels until the clock starts. The labels that judge a training it never hands over, and without
cross-validation never sees.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation_locked import process_tree, sandbox
from evaluation_locked.client import CHANNEL_VARIABLE
from evaluation_locked.dataset import DataError
from evaluation_locked.kept import KEPT_BYTES, load_kept, store_kept
from evaluation_locked.layers import ALL_LAYERS
from evaluation_locked.prepare import TrialInput
from evaluation_locked.trainings import run_trainings
from evaluation_locked.trial import TrialOrder, TrialOutcome
from evaluation_locked.trial_folder import folder_bytes, remove_folder
from evaluation_locked.wire import ChannelClosedError, Message, WireError, receive, send

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB, MIB = 1 << 30, 1 << 20
OVERRUN_SECONDS = 0.5  # a last step may end this much after the budget, or 1 % of it, whichever is more
TICK_SECONDS = 0.1
BATCH_TOLERANCE = 0.02  # of the spread of the predictions; half precision rounds by less
BATCH_MISSES = 0.01
HANDFUL = 8
LARGEST_PREDICTION = 1e100
TASKS_PER_PROCESS = 8  # threads count as tasks
SPARE_MEMORY_GIB = 2.0  # private memory is asked for before it is used; the cap on what is used is kept by the watch
OWN_PROCESSES = 2  # the launcher and the init of the trial's namespace


class Lifeline:
    """Standard input, which stays open for as long as somebody wants the trial."""

    def __init__(self) -> None:
        self.cut = threading.Event()
        threading.Thread(target=self._hold, daemon=True).start()

    def _hold(self) -> None:
        sys.stdin.read()
        self.cut.set()


class Warden:
    """Runs one training; every attribute belongs to that training."""

    def __init__(self, order: TrialOrder, trial_input: TrialInput, lifeline: Lifeline):
        self.order = order
        self.input = trial_input
        self.lifeline = lifeline
        self.ended: tuple[str, str] | None = None  # status and message of what ended the trial, first come
        self.deadline = float("inf")
        self.deadline_message = ""
        self.peak_memory_bytes = 0
        self.log_bytes = 0
        self.layers: tuple[str, ...] = ()
        self.seconds = {"featurise": 0.0, "train": 0.0, "predict": 0.0}
        self.log = (order.folder / "train.log").open("ab", buffering=0)
        self.scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=order.folder))
        self.finished = threading.Event()
        self.lock = threading.Lock()

    def run(self) -> tuple[TrialOutcome, np.ndarray | None]:
        """Run it and return outcome and predictions, None where there are none; no process of it is left by then.

        Raises:
            OSError: Disk or machine failed, which says nothing of the file.
        """
        ours, theirs = socket.socketpair()
        log_read, log_write = os.pipe()
        child = subprocess.Popen(
            [sys.executable, "-I", "-u", str(sandbox.LAUNCHER)],
            stdin=subprocess.PIPE,
            stdout=log_write,
            stderr=log_write,
            cwd=self.scratch,
            env=self._environment(theirs.fileno()),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        os.close(log_write)
        threads = [
            threading.Thread(target=target, args=arguments, daemon=True)
            for target, arguments in ((self._keep_log, (log_read,)), (self._watch, ()))
        ]
        for thread in threads:
            thread.start()
        predictions = None
        try:
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError), child.stdin:
                child.stdin.write((json.dumps(self._child_order()) + "\n").encode())
            answered = self._speak(ours)
            if self._end("finished", "predictions submitted"):
                predictions = answered
        except ChannelClosedError:
            self._end(*self._why_closed(child.pid))
        except WireError as error:
            self._end("invalid", f"{error}")
        except OSError:
            raise
        except Exception as error:  # a border: one file that we cannot hold does not keep a run from the next
            self._end("crashed", f"the trial could not be held ({type(error).__name__}: {error})")
        finally:
            self.finished.set()
            ours.close()
            process_tree.end_descendants(os.getpid(), patience_seconds=0.0 if self._is("finished") else 1.0)
            child.returncode = 0  # reaped above
            threads[0].join(timeout=2)
            remove_folder(self.scratch)
        assert self.ended is not None
        status, message = self.ended
        outcome = TrialOutcome.model_validate(
            {
                "status": status,
                "message": message,
                "featurise_seconds": round(self.seconds["featurise"], 3),
                "train_seconds": round(self.seconds["train"], 3),
                "predict_seconds": round(self.seconds["predict"], 3),
                "peak_memory_gib": round(self.peak_memory_bytes / GIB, 3),
                "layers": self.layers,
            }
        )
        return outcome, predictions

    def _speak(self, channel: socket.socket) -> np.ndarray:
        """Hold the judge's end of the protocol; return predictions in the order of the rows that are judged."""
        caps, given = self.order.caps, self.input
        facts = given.facts | {
            "seed": self.order.seed,
            "n_threads": self.order.n_threads,
            "train_seconds": caps.train_seconds,
            "keeps": self.order.keeps,
        }
        opening = given.train.arrays() | load_kept(self.order.kept)
        with self._phase("featurise", "starting", caps.featurise_seconds):
            self.layers = tuple(str(layer) for layer in self._expect(channel, "ready").facts["layers"])
            _say("phase", phase="featurising")
            send(channel, Message("task", facts, opening))
            finish = self._expect(channel, "start" if self.order.kept is None else "finish")
        if self.order.kept is None:
            overrun = max(OVERRUN_SECONDS, 0.01 * caps.train_seconds)
            with self._phase("train", "training", caps.train_seconds + overrun):
                labels = given.train_labels
                if self.order.permute_labels:
                    labels = np.random.default_rng().permutation(labels)
                send(channel, Message("labels", arrays={"labels": labels}))
                finish = self._expect(channel, "finish")
        if self.order.check_batches and finish.facts.get("again") is not True:
            raise WireError("this task asks for predictions in several batches: end with task.predict(function)")
        with self._phase("predict", "predicting", caps.predict_seconds):
            # Shuffled by numbers from the kernel: the order says nothing of the rows, and no seed in a file repeats it.
            rng = np.random.default_rng()
            predictions = self._ask(channel, rng.permutation(len(given.predict)))
            if self.order.check_batches:
                self._check_batches(channel, predictions, rng)
        _say("phase", phase="ending")
        send(channel, Message("taken"))
        return predictions

    def _ask(self, channel: socket.socket, rows: np.ndarray) -> np.ndarray:
        """Return the predictions of the crystals `rows` in an array of all rows, NaN where it was not asked."""
        send(channel, Message("crystals", arrays=self.input.predict.select(rows).arrays()))
        room = KEPT_BYTES if self.order.keeps else 0
        arrays = self._expect(channel, "submit", array_bytes=8 * len(rows) + 64 + room).arrays
        submitted = arrays.get("predictions")
        fits = submitted is not None and submitted.shape == (len(rows),)
        # A prediction near the largest number is finite, and its error is not.
        if submitted is None or not fits or not (np.abs(submitted) < LARGEST_PREDICTION).all():
            found = "none" if submitted is None else f"shape {submitted.shape}, finite {np.isfinite(submitted).sum()}"
            raise WireError(f"predictions for {len(rows)} crystals are due, finite, one each; found {found}")
        if self.order.keeps:
            store_kept(arrays, self.order.folder)
        predictions = np.full(len(self.input.predict), np.nan)
        predictions[rows] = submitted
        return predictions

    def _check_batches(self, channel: socket.socket, predictions: np.ndarray, rng: np.random.Generator) -> None:
        """Ask for some predictions again in other company: the lowest quarter, unlike the whole, and a handful.

        Raises:
            WireError: More than one in a hundred moved by more than rounding can explain.
        """
        n = len(predictions)
        lowest = np.argsort(predictions, kind="stable")[: max(2, n // 4)]
        allowed = BATCH_TOLERANCE * float(np.std(predictions)) + 1e-6 * float(np.abs(predictions).max())
        for rows in (lowest, rng.choice(n, size=min(n, HANDFUL), replace=False)):
            moved = np.abs(self._ask(channel, rng.permutation(rows))[rows] - predictions[rows])
            if (moved > allowed).mean() > BATCH_MISSES:
                raise WireError(
                    f"predictions of {len(rows)} crystals moved by up to {moved.max():.3g} when they came in another "
                    f"batch, {allowed:.3g} is allowed: a prediction must depend on its own crystal alone"
                )

    def _expect(self, channel: socket.socket, kind: str, array_bytes: int = 0) -> Message:
        message = receive(channel, array_bytes)
        if message.kind != kind:
            raise WireError(f"train.py said {message.kind!r} where {kind!r} is due")
        return message

    @contextlib.contextmanager
    def _phase(self, name: str, shown: str, cap_seconds: float) -> Iterator[None]:
        started = time.monotonic()
        with self.lock:
            self.deadline = started + cap_seconds
            allowed = self.order.caps.train_seconds if name == "train" else cap_seconds
            advice = {
                "featurise": "prepare less before start_training()",
                "train": "check task.seconds_left() before each step",
                "predict": "predict in larger batches, or with a smaller network",
            }[name]
            self.deadline_message = f"{name} took over {allowed:g} s: {advice}"
        _say("phase", phase=shown)
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - started
            with self.lock:
                self.deadline = float("inf")

    def _watch(self) -> None:
        """Enforce every cap until the trial is over; a trial that cannot be watched does not go on."""
        try:
            self._enforce()
        except Exception as error:
            self._stop("crashed", f"the trial could not be watched ({type(error).__name__}: {error})")

    def _enforce(self) -> None:
        """Enforce the deadline, memory, number of processes and disk."""
        caps, shared_before = self.order.caps, process_tree.shared_bytes_of_machine()
        for tick in itertools.count():
            if self.finished.wait(TICK_SECONDS):
                return
            if self.lifeline.cut.is_set():
                self._stop("cancelled", "cancelled: whoever ran the trial stopped or is gone")
            if time.monotonic() > self.deadline:
                self._stop("overtime", self.deadline_message)
            tree = process_tree.descendants(os.getpid())
            if len(tree) > caps.processes + OWN_PROCESSES:
                self._stop(
                    "processes", f"{len(tree) - OWN_PROCESSES} processes; {caps.processes} are allowed (caps.processes)"
                )
            tasks = process_tree.count_tasks(tree)
            if tasks > TASKS_PER_PROCESS * caps.processes + OWN_PROCESSES:
                self._stop("processes", f"{tasks} threads; {TASKS_PER_PROCESS * caps.processes} are allowed")
            held = process_tree.nameless(tree)
            used = process_tree.memory_bytes(tree, precise_above=int(caps.memory_gib * GIB)) + max(
                held.memory_bytes, process_tree.dropped_bytes(tree, held.sockets, shared_before)
            )
            used += process_tree.kernel_bytes(tree, held.sockets)
            self.peak_memory_bytes = max(self.peak_memory_bytes, used)
            if used > caps.memory_gib * GIB:
                found = f"{used / GIB:.2f} GiB of memory; {caps.memory_gib:g} GiB are allowed"
                self._stop("memory", f"{found}: smaller batches, or raise caps.memory_gib")
            disk = held.disk_bytes + (folder_bytes(self.scratch) if tick % 10 == 0 else 0)
            if disk > caps.scratch_gib * GIB:
                self._stop("disk", f"{disk / GIB:.2f} GiB of scratch files; {caps.scratch_gib:g} GiB are allowed")

    def _keep_log(self, read_end: int) -> None:
        """Copy what the trial prints to its log, up to the cap; more than that ends the trial."""
        cap = int(self.order.caps.log_mib * MIB)
        with os.fdopen(read_end, "rb", buffering=0) as source, self.log as log:
            while chunk := source.read(65_536):
                room = max(0, cap - self.log_bytes)
                with contextlib.suppress(OSError):  # a full disk costs the log, not the trial
                    log.write(chunk[:room])
                self.log_bytes += len(chunk)
                if self.log_bytes > cap:
                    self._stop("output", f"over {cap / MIB:g} MiB printed: print less (caps.log_mib)")

    def _stop(self, status: str, message: str) -> None:
        """End the trial from a watching thread; its silence then ends the protocol in the main one."""
        if self._end(status, message):
            process_tree.end_descendants(os.getpid(), patience_seconds=1.0)

    def _end(self, status: str, message: str) -> bool:
        with self.lock:
            if self.ended is not None:
                return False
            self.ended = (status, message)
            return True

    def _is(self, status: str) -> bool:
        return self.ended is not None and self.ended[0] == status

    def _why_closed(self, pid: int) -> tuple[str, str]:
        """Say why the protocol broke off; the file's own words are in the log."""
        code = process_tree.exit_code(pid, wait_seconds=5.0)
        if not code:
            how = "train.py ended without a submission" if code == 0 else "train.py closed the task channel"
            return "invalid", f"{how}: call start_training(), finish_training() and submit() once, in this order"
        return (
            "crashed",
            f"train.py ended with {f'signal {signal.Signals(-code).name}' if code < 0 else f'code {code}'}",
        )

    def _environment(self, channel: int) -> dict[str, str]:
        """Return the trial's environment, made from nothing: keys and addresses of the caller do not travel."""
        threads = str(self.order.n_threads)
        home = str(self.scratch)
        passed = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME")
        given = {} if self.order.device is None else {"CUDA_VISIBLE_DEVICES": self.order.device}
        return (
            {name: os.environ[name] for name in passed if name in os.environ}
            | given
            | {
                CHANNEL_VARIABLE: str(channel),
                "HOME": home,
                "TMPDIR": home,
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONHASHSEED": "0",
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "OPENBLAS_NUM_THREADS": threads,
            }
        )

    def _child_order(self) -> dict[str, Any]:
        caps = self.order.caps
        return sandbox.launch_order(
            self.order.train_py,
            self.scratch,
            ALL_LAYERS if self.order.sandboxed else (),
            file_bytes=int(caps.scratch_gib * GIB),
            tasks=TASKS_PER_PROCESS * caps.processes,
            data_bytes=None if sandbox.has_gpu_devices() else int((caps.memory_gib + SPARE_MEMORY_GIB) * GIB),
        )


def _say(event: str, **facts: Any) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps({"event": event, **facts}), flush=True)


def main() -> None:
    """Read the order, run the trial, print the outcome, or what is wrong with disk, machine or the prepared rows."""
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        return  # whoever asked was gone before the order came
    order = TrialOrder.model_validate_json(line)
    if order.sandboxed and not sandbox.landlock_abi():
        _say("refused", message=sandbox.NO_LAYER)
        return
    process_tree.adopt_orphans()  # of the trial; they end with it
    lifeline = Lifeline()
    try:
        (order.folder / "train.log").unlink(missing_ok=True)
        outcome = run_trainings(order, lambda share, given: Warden(share, given, lifeline).run())
    except OSError as error:  # the border of a child process: whoever ordered the trial raises it
        _say("failed", what=[error.errno, error.strerror or str(error), str(error.filename or order.folder)])
        return
    except DataError as error:
        _say("unprepared", message=str(error))
        return
    _say("outcome", **outcome.model_dump(mode="json"))


if __name__ == "__main__":
    main()
