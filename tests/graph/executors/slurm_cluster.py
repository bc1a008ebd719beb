"""A real Slurm of one host for tests: munge, controller and node daemon, started as our own processes and ended.

It owns a folder and listens on the loopback alone; nothing of the machine's own Slurm, if it has one, is touched. There
is no accounting, as on many small clusters, so what a job became is known from the controller alone.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SBIN = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))  # where Debian puts daemons
DAEMONS = ("munged", "slurmctld", "slurmd")
CONFIG = """
ClusterName=tests
SlurmctldHost=localhost
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=3
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobRequeue=1
ReturnToService=2
KillWait=10
SlurmdTimeout=10
MessageTimeout=5
UnkillableStepTimeout=60
NodeName=localhost NodeHostname=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=65536
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP PriorityTier=2
PartitionName=short Nodes=localhost MaxTime=1 State=UP PriorityTier=2
PartitionName=spare Nodes=localhost MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=scrap Nodes=localhost MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL
"""


@dataclass
class SlurmCluster:
    """A controller and one node of two CPUs.

    Attributes:
        folder: Everything of it, logs among them.
        config: What SLURM_CONF names for whoever talks to it.
    """

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "slurm.conf"

    def start(self) -> None:
        for name, mode in (("munge", 0o755), ("state", 0o755), ("spool", 0o755)):
            (self.folder / name).mkdir(mode=mode)
        (self.folder / "key").write_bytes(os.urandom(128))
        (self.folder / "key").chmod(0o600)
        ports = _free_ports(2)
        self.config.write_text(
            CONFIG.format(folder=self.folder, user=getpass.getuser(), controller_port=ports[0], node_port=ports[1])
        )
        files = [f"--{name}={self.folder}/{file}" for name, file in _MUNGE_FILES.items()]
        self._launch("munged", "--foreground", "--force", *files)
        _wait_until((self.folder / "munge" / "socket").exists, "munged has no socket", self.folder)
        self.start_controller()
        self._launch("slurmd", "-D", "-N", "localhost")
        _wait_until(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%t"), "the node is not idle", self.folder)

    def start_controller(self) -> None:
        """Start the controller, with what it knew when it ended."""
        self._launch("slurmctld", "-D")
        _wait_until(lambda: "UP" in self.ask("scontrol", "ping"), "the controller does not answer", self.folder)

    def end_controller(self) -> None:
        """End the controller; jobs go on."""
        _end(self.daemons.pop("slurmctld"))

    def stop(self) -> None:
        """End every job and every daemon; nothing of the cluster is left."""
        if "slurmctld" in self.daemons:
            self.ask("scancel", "--user", getpass.getuser())
            with contextlib.suppress(TimeoutError):
                _wait_until(lambda: not self.jobs(), "jobs do not end", self.folder, seconds=30)
        for name in reversed(DAEMONS):
            if name in self.daemons:
                _end(self.daemons.pop(name))
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def ask(self, *words: str) -> str:
        """Return what a command of Slurm's prints; what it complains of is not looked at."""
        done = subprocess.run(words, env=self.environment(), capture_output=True, text=True, check=False, timeout=120)
        return done.stdout.strip()

    def environment(self) -> dict[str, str]:
        return {"PATH": SBIN, "SLURM_CONF": str(self.config)}

    def jobs(self, *states: str) -> dict[str, str]:
        """Return the jobs that wait, run or are ending, or those of `states`: name by id."""
        chosen = ["--states", ",".join(states)] if states else []
        lines = self.ask("squeue", "--noheader", *chosen, "--format", "%i %j").splitlines()
        return {number: name for number, _, name in (line.partition(" ") for line in lines)}

    def wait_for(self, true: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Wait until something is true.

        Raises:
            TimeoutError: It is not, with the last words of the daemons.
        """
        _wait_until(true, what, self.folder, seconds=seconds)

    def processes(self) -> list[int]:
        """Return the processes of jobs and daemons of this cluster: those that its folder is in the environment of."""
        mark, found = os.fsencode(self.config), []
        for entry in os.scandir("/proc"):
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in Path(entry.path, "environ").read_bytes():
                    found.append(int(entry.name))
        return [pid for pid in found if pid != os.getpid()]

    def _launch(self, name: str, *words: str) -> None:
        program = shutil.which(name, path=SBIN)
        assert program is not None
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                [program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
                start_new_session=True,
            )  # fmt: skip


_MUNGE_FILES = {
    "key-file": "key",
    "socket": "munge/socket",
    "pid-file": "munge/pid",
    "seed-file": "munge/seed",
    "log-file": "munge/log",
}


@pytest.fixture(scope="session")
def running_slurm() -> Iterator[SlurmCluster]:
    """Give a Slurm cluster of one node to all tests of a session; skipped where Slurm is not installed."""
    missing = [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=SBIN) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} here; on Debian: apt-get install slurmctld slurmd slurm-client")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:  # short: a socket's path has 107 letters at most
        cluster = SlurmCluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def slurm(running_slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """Give the cluster to one test, and see that no job of it is left."""
    monkeypatch.setenv("SLURM_CONF", str(running_slurm.config))
    monkeypatch.setenv("PATH", SBIN)
    yield running_slurm
    running_slurm.ask("scancel", "--user", getpass.getuser())
    running_slurm.wait_for(lambda: not running_slurm.jobs(), "jobs of the test do not end")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until(true: Callable[[], object], what: str, folder: Path, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            logs = "".join(f"\n{path.name}:\n{path.read_text()[-1500:]}" for path in sorted(folder.glob("*.log")))
            raise TimeoutError(f"{what} after {seconds:g} s{logs}")
        time.sleep(0.2)
