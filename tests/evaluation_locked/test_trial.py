"""The trial protocol with real processes: honest files, files that fail, and files that do not want to end."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.dataset import DataError
from evaluation_locked.scorer import ScoringError, compare, score
from evaluation_locked.trial import TrialCancelled, TrialOrder, TrialOutcome, run_trial
from tests.evaluation_locked.conftest import CAPS
from tests.small_disk import NOT_PERMITTED, fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable

    Trial = Callable[..., TrialOutcome]

HONEST = """
    import numpy as np
    from evaluation_locked.client import Task
    task = Task.open()
    labels = task.start_training()
    first = task.crystals.atomic_numbers[task.crystals.offsets[:-1]]
    mean_of_element = {z: labels[first == z].mean() for z in set(first.tolist())}
    crystals = task.finish_training()
    first = crystals.atomic_numbers[crystals.offsets[:-1]]
    task.submit(np.array([mean_of_element.get(int(z), labels.mean()) for z in first]))
"""


def processes_with(mark: str) -> list[int]:
    """Return the processes whose command line or environment holds `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in text:
                found.append(int(entry.name))
    return found


def test_predictions_come_back_in_the_order_of_the_rows(trial: Trial, locked: Path, tmp_path: Path) -> None:
    outcome = trial(
        """
        import numpy as np
        from evaluation_locked.client import Task
        task = Task.open()
        task.start_training()
        crystals = task.finish_training()
        task.submit(crystals.lattice_parameters[:, 0])   # unique to each crystal
        """
    )
    assert outcome.status == "finished", outcome.message
    predictions = np.load(tmp_path / "trial" / "predictions.npy")
    with np.load(locked / "validation.npz") as file:
        np.testing.assert_array_equal(predictions, file["lattice_parameters"][:, 0])


def test_an_honest_file_learns_and_is_scored_with_its_interval(trial: Trial, locked: Path, tmp_path: Path) -> None:
    outcome = trial(HONEST)
    assert outcome.status == "finished", outcome.message
    result, nothing = score(locked, tmp_path / "trial" / "predictions.npy", tmp_path / "residuals.npy")
    assert nothing is None
    labels = np.load(locked / "validation_labels.npy")
    predictions = np.load(tmp_path / "trial" / "predictions.npy")
    assert result.value == pytest.approx(np.abs(labels - predictions).mean())
    assert result.metrics["rmse"] == pytest.approx(np.sqrt(((labels - predictions) ** 2).mean()))
    assert result.low < result.value < result.high
    np.testing.assert_allclose(np.load(tmp_path / "residuals.npy"), predictions - labels, atol=1e-6)
    np.save(tmp_path / "better.npy", labels + 0.1)
    comparison = compare(locked, [tmp_path / "better.npy"], [tmp_path / "trial" / "predictions.npy"])
    assert comparison.gain == pytest.approx(result.value - 0.1)


def test_labels_are_not_sent_before_the_clock_starts_and_validation_not_in_a_smoke_trial(
    trial: Trial, locked: Path, tmp_path: Path
) -> None:
    text = """
        import numpy as np
        from evaluation_locked.client import Task
        task = Task.open()
        print("members", sorted(vars(task)))
        labels = task.start_training()
        crystals = task.finish_training()
        print("sizes", len(task.crystals), len(labels), len(crystals))
        print(crystals.lattice_parameters[:, 0].tolist())
        task.submit(np.zeros(len(crystals)))
    """
    outcome = trial(text, smoke=True)
    assert outcome.status == "finished", outcome.message
    log = (tmp_path / "trial" / "train.log").read_text()
    assert "sizes 48 48 16" in log
    assert "labels" not in log.splitlines()[0]
    with np.load(locked / "validation.npz") as file:
        judged = file["lattice_parameters"][:, 0]
    assert not set(judged.tolist()) & set(json.loads(log.splitlines()[-1]))


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("raise ValueError('no such axis')", "crashed", "code 1"),
        ("import os; os._exit(0)", "invalid", "ended without a submission"),
        ("from evaluation_locked.client import Task; Task.open(); raise SystemExit", "invalid", "submit()"),
        (HONEST.replace("task.submit(", "task.submit(np.full(3, np.nan)) or ("), "crashed", "code 1"),
        (HONEST.replace("start_training()", "start_training(); task.start_training()"), "crashed", "code 1"),
        ("import os; os.kill(os.getpid(), 11)", "crashed", "SIGSEGV"),
    ],
)
def test_a_file_that_fails_is_told_apart(trial: Trial, text: str, status: str, words: str) -> None:
    outcome = trial(text)
    assert outcome.status == status
    assert words in outcome.message


@pytest.mark.parametrize(
    "array", ["np.zeros(len(crystals) - 1)", "np.full(len(crystals), np.nan)", "np.zeros((len(crystals), 2))"]
)
def test_wrong_predictions_that_go_round_the_client_are_refused(trial: Trial, array: str, tmp_path: Path) -> None:
    outcome = trial(
        f"""
        import numpy as np
        from evaluation_locked.client import Task
        from evaluation_locked.wire import Message, send, receive
        task = Task.open(); task.start_training(); crystals = task.finish_training()
        send(task._channel, Message("submit", arrays={{"predictions": {array}}}))
        receive(task._channel, 100)
        """
    )
    assert outcome.status == "invalid"
    assert not (tmp_path / "trial" / "predictions.npy").exists()


def test_skipping_the_clock_gets_no_labels(trial: Trial) -> None:
    outcome = trial(
        """
        from evaluation_locked.client import Task
        from evaluation_locked.wire import Message, send, receive
        task = Task.open()
        send(task._channel, Message("finish"))
        receive(task._channel, 1 << 30)
        """
    )
    assert outcome.status == "invalid"
    assert "'finish' where 'start' is due" in outcome.message


def test_a_file_that_hangs_past_its_budget_is_ended(trial: Trial) -> None:
    outcome = trial(
        """
        import signal, time
        from evaluation_locked.client import Task
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        task = Task.open(); task.start_training()
        while True: time.sleep(0.1)
        """,
        train_seconds=1,
    )
    assert outcome.status == "overtime"
    assert "train took over 1 s" in outcome.message
    assert 1.0 <= outcome.train_seconds < 4.0


def test_featurising_is_capped_too(trial: Trial) -> None:
    outcome = trial("import time; time.sleep(60)", featurise_seconds=1)
    assert outcome.status == "overtime"
    assert "featurise took over 1 s" in outcome.message


def test_memory_of_the_whole_tree_is_capped(trial: Trial) -> None:
    outcome = trial(
        """
        import os, time
        for _ in range(3):
            if os.fork() == 0:
                held = bytearray(120 << 20); held[::4096] = b"x" * len(held[::4096]); time.sleep(60)
        time.sleep(60)
        """,
        memory_gib=0.25,
    )
    assert outcome.status == "memory"
    assert "0.25 GiB are allowed" in outcome.message


def test_printing_gigabytes_ends_the_trial_and_fills_no_disk(trial: Trial, tmp_path: Path) -> None:
    outcome = trial("while True: print('x' * 10_000)")
    assert outcome.status == "output"
    assert (tmp_path / "trial" / "train.log").stat().st_size <= 1 << 20


def test_scratch_files_are_capped_and_removed(trial: Trial, tmp_path: Path) -> None:
    outcome = trial(
        """
        import time
        for i in range(100):
            with open(f"part{i}", "wb") as f: f.write(b"x" * (100 << 20))
        time.sleep(60)
        """
    )
    assert outcome.status in ("disk", "crashed")
    assert not list((tmp_path / "trial").glob("scratch-*"))


def test_daemons_that_left_the_session_are_ended_with_the_trial(trial: Trial) -> None:
    mark = f"daemon-{os.getpid()}-{time.time_ns()}"
    outcome = trial(
        HONEST
        + f"""
    import os, signal, subprocess, sys
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", "{mark}"])
        os._exit(0)
"""
    )
    assert outcome.status == "finished", outcome.message
    assert processes_with(mark) == []


def test_the_sandbox_closes_files_network_and_foreign_processes(trial: Trial, locked: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a key")
    outcome = trial(
        f"""
        import os, socket
        def attempt(name, what):
            try: what(); print(name, "DONE")
            except OSError as error: print(name, "refused", error.errno)
        attempt("labels", lambda: open({str(locked / "validation_labels.npy")!r}, "rb"))
        attempt("training labels", lambda: open({str(locked / "train.npz")!r}, "rb"))
        attempt("secret", lambda: open({str(secret)!r}))
        attempt("parent", lambda: open(f"/proc/{{os.getppid()}}/environ"))
        attempt("memory", lambda: open(f"/proc/{{os.getppid()}}/mem", "rb"))
        attempt("write own file", lambda: open({str(tmp_path / "train.py")!r}, "a"))
        attempt("write judge", lambda: open(__import__("evaluation_locked.client").client.__file__, "a"))
        attempt("signal", lambda: os.kill(os.getppid(), 9))
        attempt("network", lambda: socket.create_connection(("127.0.0.1", {os.getpid() % 1000 + 20000}), 1))
        attempt("scratch", lambda: open("mine", "w"))
        print("keys", [name for name in os.environ if "KEY" in name])
        """
    )
    log = (tmp_path / "trial" / "train.log").read_text()
    assert "system calls" in outcome.layers and any(layer.startswith("landlock") for layer in outcome.layers)
    done = [line.split(" DONE")[0] for line in log.splitlines() if "DONE" in line]
    assert done == ["scratch"], log
    assert "keys []" in log


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("lambda c: c.lattice_parameters[:, 0]", "finished"),
        ("lambda c: c.lattice_parameters[:, 0] + 1e-9 * np.random.rand(len(c))", "finished"),
        ("lambda c: c.lattice_parameters[:, 0] - c.lattice_parameters[:, 0].mean()", "invalid"),
        ("lambda c: np.argsort(np.argsort(c.lattice_parameters[:, 0])) / len(c)", "invalid"),
        ("lambda c: np.zeros(len(c)) + len(c)", "invalid"),
    ],
)
def test_a_prediction_must_not_depend_on_its_batch(trial: Trial, line: str, status: str) -> None:
    outcome = trial(
        f"""
        import numpy as np
        from evaluation_locked.client import Task
        task = Task.open()
        task.start_training()
        task.predict({line})
        """,
        check_batches=True,
    )
    assert outcome.status == status, outcome.message
    if status == "invalid":
        assert "depend on its own crystal alone" in outcome.message


def test_a_task_that_checks_batches_wants_a_function(trial: Trial) -> None:
    outcome = trial(HONEST, check_batches=True)
    assert outcome.status == "invalid"
    assert "task.predict(function)" in outcome.message


def test_cancelling_ends_the_trial(locked: Path, tmp_path: Path) -> None:
    mark = f"cancel-{os.getpid()}-{time.time_ns()}"
    train_py = tmp_path / f"{mark}.py"
    train_py.write_text("import time; time.sleep(600)")
    cancel = threading.Event()
    threading.Timer(1.0, cancel.set).start()
    order = TrialOrder(train_py=train_py, locked=locked, folder=tmp_path / "trial", caps=CAPS)
    with pytest.raises(TrialCancelled):
        run_trial(order, cancel=cancel)
    assert processes_with(str(tmp_path / "trial")) == []


def test_a_caller_that_is_killed_leaves_no_process(locked: Path, tmp_path: Path) -> None:
    train_py = tmp_path / "train.py"
    train_py.write_text("import os, time\nos.fork()\ntime.sleep(600)")
    caller = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                f"""
                from pathlib import Path
                from evaluation_locked.trial import TrialOrder, run_trial
                from tests.evaluation_locked.conftest import CAPS
                order = TrialOrder(train_py=Path({str(train_py)!r}), locked=Path({str(locked)!r}),
                                   folder=Path({str(tmp_path / "trial")!r}), caps=CAPS)
                run_trial(order, on_phase=lambda phase: print(phase, flush=True))
                """
            ),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert caller.stdout is not None
    while "featurising" not in (line := caller.stdout.readline()):
        assert line, "it ended before its trial began"
    assert len(processes_with(str(tmp_path / "trial"))) >= 1
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    caller.stdout.close()
    for _ in range(100):
        if not processes_with(str(tmp_path / "trial")):
            break
        time.sleep(0.1)
    assert processes_with(str(tmp_path / "trial")) == []


def test_damaged_predictions_are_named_by_the_scorer(locked: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.zeros(3))
    with pytest.raises(ScoringError, match=r"p\.npy holds float64 \(3,\)"):
        score(locked, tmp_path / "p.npy")


@pytest.mark.parametrize("name", ["train.log", "predictions.npy"])
def test_a_disk_that_fails_is_told_and_is_no_fault_of_the_file(
    trial: Trial, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "trial" / name / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "trial"))):
        trial(HONEST)
    assert capfd.readouterr() == ("", "")
    assert not list((tmp_path / "trial").glob("scratch-*"))


def test_a_full_disk_is_told_and_is_no_fault_of_the_file(
    trial: Trial, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "trial"
    with small_disk(disk, "64k") as mounted:
        if not mounted:
            pytest.skip(NOT_PERMITTED)
        fill(disk / "filler")
        with pytest.raises(OSError, match="No space left") as full:
            trial(HONEST + "    print('the last words')")
        assert full.value.errno == errno.ENOSPC
        assert capfd.readouterr() == ("", "")
        (disk / "filler").unlink()
        assert trial(HONEST).status == "finished"


def test_rows_that_are_gone_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.py").write_text(textwrap.dedent(HONEST))
    order = TrialOrder(train_py=tmp_path / "train.py", locked=tmp_path / "gone", folder=tmp_path / "trial", caps=CAPS)
    with pytest.raises(DataError, match="gone is no prepared task"):
        run_trial(order)
    assert capfd.readouterr() == ("", "")


def test_what_the_warden_cannot_hold_is_an_outcome(locked: Path, tmp_path: Path) -> None:
    train_py, kept = tmp_path / "train.py", tmp_path / "kept.npz"
    train_py.write_text(textwrap.dedent(HONEST))
    kept.write_bytes(b"no archive")
    outcome = run_trial(TrialOrder(train_py=train_py, locked=locked, folder=tmp_path / "trial", caps=CAPS, kept=kept))
    assert outcome.status == "crashed" and "could not be held" in outcome.message


def test_a_scratch_folder_that_is_closed_goes_too() -> None:
    code = """
        import os, pathlib, tempfile
        from evaluation_locked.trial_folder import remove_folder
        if not os.geteuid():
            os.seteuid(65_534)  # nothing is closed to root
        place = pathlib.Path(tempfile.mkdtemp())
        (place / "scratch" / "in" / "it").mkdir(parents=True)
        for path in (place / "scratch" / "in", place / "scratch"):
            path.chmod(0)
        remove_folder(place / "scratch")
        print(os.listdir(place))
        place.rmdir()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_a_warden_whose_order_never_came_leaves_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "evaluation_locked.warden", str(tmp_path)]
    done = subprocess.run(command, input='{"half": "an ord', capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
