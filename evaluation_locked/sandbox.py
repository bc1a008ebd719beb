"""What a trial may see of the machine, and the kernel layers that hold it to that.

This half runs on the judge's side: it decides the rules. `evaluation_locked.launch` applies them inside the child,
before any line of `train.py` runs.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation_locked.client import CHANNEL_VARIABLE
from evaluation_locked.layers import ALL_LAYERS
from evaluation_locked.wire import WireError, receive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation_locked.layers import LayerName

OPEN_FILES = 4096  # of one process
LAUNCHER = Path(__file__).with_name("launch.py")
TRIAL_MODULES = ("__init__", "client", "crystals", "elements", "folding", "neighbours", "system_calls", "wire")
TRIAL_PACKAGES = ("numpy", "torch", "torch-geometric", "scipy")
SYSTEM_READ = (
    "/usr/bin /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/include /bin /lib /lib32 /lib64 "
    "/usr/local/cuda /usr/local/nvidia /opt/cuda /usr/share/zoneinfo /etc/localtime /etc/nvidia "
    "/etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/passwd /etc/group /etc/nsswitch.conf "
    "/sys/devices /sys/bus /sys/class /sys/module /sys/fs/cgroup"
).split()
# Of the machine's /proc, where the kernel grants a trial none of its own: nothing that shows another process.
PROC_READ = (
    "/proc/self /proc/cpuinfo /proc/meminfo /proc/stat /proc/version /proc/filesystems /proc/devices /proc/driver "
    "/proc/sys/kernel /proc/sys/vm"
).split()
DEVICES_WRITE = "/dev/null /dev/zero /dev/full /dev/random /dev/urandom".split()
DEVICE_FOLDER = Path("/dev")
GPU_DEVICES = ("nvidia*", "dri", "kfd")
NO_LAYER = (
    "this kernel offers no layer to hold a trial (Landlock needs Linux 5.13 or later); --unsafe-no-sandbox runs trials "
    "unheld, and their scores are marked unsealed"
)
_LANDLOCK_CREATE_RULESET = 444


@dataclass(frozen=True)
class FileRules:
    """Paths that a trial may touch, everything beneath them included, and nothing else.

    Attributes:
        read: May be read, listed and executed.
        read_proc: The same, where the trial has no /proc of its own.
        write: May also be written, made and removed.
        list_only: May be listed; their files stay closed unless named in `read`.
        package_folders: Folders of installed packages, of which only `modules` may be found; a package that is seen but
            closed would be an error to libraries that look for it and can do without.
        modules: Names of these modules.
    """

    read: tuple[str, ...]
    read_proc: tuple[str, ...]
    write: tuple[str, ...]
    list_only: tuple[str, ...]
    package_folders: tuple[str, ...]
    modules: tuple[str, ...]


def landlock_abi() -> int:
    """Return the ABI version of Landlock that this kernel offers, 0 where it has none (before Linux 5.13)."""
    if not sys.platform.startswith("linux"):
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, 1)))


def file_rules(train_py: Path, scratch: Path) -> FileRules:
    """Return what a trial of `train_py` may touch: libraries, its own file, devices, and its scratch folder."""
    package = Path(__file__).resolve().parent
    own = tuple(str(package / f"{name}.py") for name in (*TRIAL_MODULES, "launch"))
    read = (*own, str(train_py.resolve()), *_library_paths(), *SYSTEM_READ)
    gpus = tuple(str(path) for pattern in GPU_DEVICES for path in DEVICE_FOLDER.glob(pattern))
    write = (str(scratch.resolve()), *DEVICES_WRITE, *gpus)
    return FileRules(
        read=tuple(path for path in dict.fromkeys(read) if os.path.lexists(path)),
        read_proc=tuple(PROC_READ),
        write=tuple(path for path in write if os.path.lexists(path)),
        # An interpreter that a trial starts looks into the folder of the standard library before it reads of it.
        list_only=(str(package), sysconfig.get_path("stdlib"), *(str(p) for p in _package_folders())),
        package_folders=tuple(str(p) for p in _package_folders()),
        modules=tuple(sorted({re.split(r"[-.]", entry)[0] for entry in _closure(TRIAL_PACKAGES)})),
    )


def launch_order(
    train_py: Path | None,
    scratch: Path,
    layers: Sequence[LayerName] = ALL_LAYERS,
    *,
    file_bytes: int | None = None,
    tasks: int | None = None,
    data_bytes: int | None = None,
) -> dict[str, Any]:
    """Return what `evaluation_locked.launch` is told on standard input by the process that starts it.

    Args:
        train_py: What to run; None ends the launcher once it has said which layers hold.
        scratch: The folder that the trial may write to.
        layers: Layers to apply.
        file_bytes: Largest file that may be written, None for any.
        tasks: Most processes and threads, None for any number.
        data_bytes: Most private memory of one process, None for any amount.
    """
    return {
        "warden_pid": os.getpid(),
        "abi": landlock_abi(),
        "layers": list(layers),
        "file_bytes": file_bytes,
        "open_files": OPEN_FILES,
        "tasks": tasks,
        "data_bytes": data_bytes,
        "rules": asdict(file_rules(train_py or Path(__file__), scratch)),
        "train_py": None if train_py is None else str(train_py.resolve()),
    }


def try_layers() -> tuple[str, ...]:
    """Return the layers that this machine's kernel grants a trial, found by having a launcher apply them all.

    Raises:
        OSError: The launcher could not apply what the kernel says it offers.
    """
    ours, theirs = socket.socketpair()
    with ours:
        launcher = subprocess.run(
            [sys.executable, "-I", str(LAUNCHER)],
            input=json.dumps(launch_order(None, Path(os.devnull))) + "\n",
            text=True,
            capture_output=True,
            env={CHANNEL_VARIABLE: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            check=False,
        )
        theirs.close()
        try:
            return tuple(str(layer) for layer in receive(ours, 0).facts["layers"])
        except WireError as error:
            last = launcher.stderr.strip().splitlines()[-1:] or [f"it ended with code {launcher.returncode}"]
            raise OSError(f"the launcher could not apply the layers: {last[0]}") from error


def has_gpu_devices() -> bool:
    """Say whether a trial is given a GPU, whose driver asks for far more private memory than it uses."""
    return any(True for pattern in GPU_DEVICES for _ in DEVICE_FOLDER.glob(pattern))


@functools.cache
def _library_paths() -> tuple[str, ...]:
    """Return the interpreter and, of its packages, only what a trial may import and what that requires.

    Site-packages is not opened as a whole: data packages keep downloaded data sets, labels and all, beside their code.
    """
    names = _closure(TRIAL_PACKAGES)
    paths: list[str] = []
    for prefix in dict.fromkeys((sys.base_prefix, sys.prefix)):
        paths += [f"{prefix}/bin", f"{prefix}/include", f"{prefix}/pyvenv.cfg"]
        library = Path(prefix, "lib")
        paths += [str(p) for p in library.glob("*") if not p.name.startswith("python")] if prefix != "/usr" else []
    standard = Path(sysconfig.get_path("stdlib"))
    paths += [str(p) for p in standard.glob("*") if p.name not in ("site-packages", "dist-packages")]
    for folder in _package_folders():
        paths += [str(p) for p in folder.glob("*") if _belongs(p.name, names)]
    return tuple(paths)


@functools.cache
def _package_folders() -> tuple[Path, ...]:
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    folders |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return tuple(sorted(Path(folder) for folder in folders if Path(folder).is_dir()))


def _belongs(entry: str, names: frozenset[str]) -> bool:
    return entry in names or re.split(r"[-.]", entry)[0] in names


@functools.cache
def _closure(distributions: tuple[str, ...]) -> frozenset[str]:
    """Return the top-level entries of site-packages that these distributions and their requirements install."""
    entries: set[str] = set()
    todo, seen = list(distributions), set()
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        entries |= {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        todo += [
            re.split(r"[\s;<>=!~\[(]", requirement)[0]
            for requirement in distribution.requires or ()
            if "extra ==" not in requirement
        ]
    return frozenset(entries - {"__pycache__"})
