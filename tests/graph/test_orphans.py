"""What a killed run left: its trials' processes are ended, and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evaluation_locked.client import CHANNEL_VARIABLE
from graph import orphans
from graph.run_folder import RunFolder

WAITS = [sys.executable, "-c", "import time; print(flush=True); time.sleep(100)"]


def started(scratch: Path, channel: str | None = "3") -> subprocess.Popen[bytes]:
    environment = {"HOME": str(scratch), "PATH": os.environ["PATH"]} | ({CHANNEL_VARIABLE: channel} if channel else {})
    process = subprocess.Popen(WAITS, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr(orphans, "PATIENCE_SECONDS", 0.1)
    for scratch in ("0007-a/scratch-abc", "0007-a/smoke/scratch-def", "0006-b/scratch-ghi"):
        (tmp_path / "r" / "trials" / scratch).mkdir(parents=True)
    return RunFolder(tmp_path / "r")


def test_processes_of_trials_that_are_not_recorded_are_ended_and_no_others(run: RunFolder) -> None:
    trials = run.trials
    orphan, smoke = started(trials / "0007-a" / "scratch-abc"), started(Path("smoke") / "scratch-def")
    person = started(trials / "0007-a" / "scratch-abc", channel=None)  # a shell in that folder, say
    other = started(trials.parent.parent / "other" / "trials" / "0007-a" / "scratch-xyz")
    recorded = started(trials / "0006-b" / "scratch-ghi")
    try:
        assert orphans.end_orphans(run, recorded={6}) == 2
        assert (orphan.wait(1), smoke.wait(1)) == (-9, -9)
        assert [p.poll() for p in (person, other, recorded)] == [None, None, None]
        assert not list(trials.glob("0007-a/**/scratch-*"))
        assert (trials / "0006-b" / "scratch-ghi").exists()
    finally:
        for process in (orphan, smoke, person, other, recorded):
            process.kill()
            process.wait()


def test_a_moved_run_still_knows_its_processes(run: RunFolder, tmp_path: Path) -> None:
    orphan = started(run.trials / "0007-a" / "scratch-abc")
    run.path.rename(tmp_path / "moved")
    assert orphans.end_orphans(RunFolder(tmp_path / "moved"), recorded=()) == 1
    assert orphan.wait(1) == -9


def test_a_warden_that_is_ending_its_trial_is_waited_for(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "PATIENCE_SECONDS", 60.0)
    warden = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(3)", "evaluation_locked.warden", str(run.trials / "0007-a")]
    )
    while b"evaluation_locked.warden" not in Path(f"/proc/{warden.pid}/cmdline").read_bytes():
        time.sleep(0.01)  # a process that was started has no words for a moment
    began = time.monotonic()
    assert orphans.end_orphans(run, recorded=()) == 1
    assert warden.wait() == 0, "it was not killed"
    assert time.monotonic() - began < 30
