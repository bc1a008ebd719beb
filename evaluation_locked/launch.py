"""The first code of a trial's process: it gives up what the trial must not have, then runs `train.py`.

It runs as a script, before numpy is imported, because Landlock binds the calling thread and those it starts later. The
rules come from `evaluation_locked.sandbox` on standard input; nothing here decides anything.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import resource
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec

# Access rights of Landlock's kernel interface (linux/landlock.h), by the ABI that brought them.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_ALL_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15  # truncate and ioctl apply to files too
_NET_BIND_AND_CONNECT = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = (
    0x00020000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 16384, 1 << 18
_CAPABILITY_VERSION_3 = 0x20080522


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _TrialModules:
    """Finds the judge's trial-side modules file by file, so that their folder need not be readable as a whole."""

    folder = Path(__file__).resolve().parent
    names = ("client", "crystals", "elements", "folding", "neighbours", "system_calls", "wire")

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "evaluation_locked":
            return importlib.util.spec_from_file_location(
                name, cls.folder / "__init__.py", submodule_search_locations=[]
            )
        package, _, module = name.partition(".")
        if package == "evaluation_locked" and module in cls.names:
            return importlib.util.spec_from_file_location(name, cls.folder / f"{module}.py")
        return None


class _OnlyModules:
    """Finds in a folder of packages only those that a trial may import, as if no others were installed."""

    def __init__(self, folder: str, modules: Sequence[str]):
        self.inner = next(filter(None, (_finder(hook, folder) for hook in sys.path_hooks)))
        self.modules = frozenset(modules)

    def find_spec(self, name: str, target: object = None) -> ModuleSpec | None:
        return self.inner.find_spec(name) if name.partition(".")[0] in self.modules else None

    def invalidate_caches(self) -> None:
        self.inner.invalidate_caches()


def _finder(hook: Callable[[str], Any], folder: str) -> Any:
    try:
        return hook(folder)
    except ImportError:
        return None


def restrict(rules: dict[str, Sequence[str]], abi: int) -> None:
    """Close the file system, TCP, foreign signals and abstract sockets to this thread and all that it starts.

    Raises:
        OSError: The kernel refused; the trial must not run then.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handled = _ALL_FILE_RIGHTS[max(v for v in _ALL_FILE_RIGHTS if v <= abi)]
    attributes = _RulesetAttr(
        fs=handled,
        net=_NET_BIND_AND_CONNECT if abi >= 4 else 0,
        scoped=_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0,
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8

    def call(number: int, *arguments: object) -> int:
        result = int(libc.syscall(number, *arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), f"Landlock system call {number}: {os.strerror(ctypes.get_errno())}")
        return result

    ruleset = call(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    rights = {"read": _EXECUTE | _READ_FILE | _READ_DIR, "write": handled & ~_EXECUTE, "list_only": _READ_DIR}
    for kind, access in rights.items():
        for path in rules[kind]:
            try:
                handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # a path that is not there opens nothing
            allowed = access if Path(path).is_dir() else access & _FILE_ONLY
            beneath = _PathBeneathAttr(access=allowed & handled, parent_fd=handle)
            call(_ADD_RULE, ruleset, 1, ctypes.byref(beneath), 0)
            os.close(handle)
    call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def enter_namespaces() -> list[str]:
    """Leave the network, the other processes and shared memory behind, as far as the kernel lets this process.

    Returns in the process that is to run the trial. Where there is a namespace of processes, that is a grandchild below
    an init of ours that collects orphans and takes the whole namespace with it when the trial ends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    everything = _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNS
    if libc.unshare(everything) == 0:
        layers = ["network namespace", "process namespace"]
    elif libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        layers = ["network namespace"]
    else:
        return []
    # Without these maps the process would be `nobody`, and getpass.getuser() (used by torch.compile) would fail.
    for file, line in (("uid_map", f"{user} {user} 1"), ("setgroups", "deny"), ("gid_map", f"{group} {group} 1")):
        Path(f"/proc/self/{file}").write_text(line)
    if len(layers) == 1:
        return layers
    report, answer = os.pipe()
    init = os.fork()
    if init:
        os.close(answer)
        _leave_as(report, init)
    os.close(report)
    _end_with_parent()
    # A /proc of the new namespace shows no process beside the trial's. Containers often forbid to mount one.
    private = libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
    if private and libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None) == 0:
        layers.append("own /proc")
    trial = os.fork()
    if trial:
        _collect_until(trial, answer)
    os.close(answer)
    return layers


def _leave_as(report: int, init: int) -> NoReturn:
    """Wait for the namespace to end, then end as the trial did."""
    os.close(int(os.environ["TEAM_TASK_FD"]))  # the judge must see the channel close when the trial ends
    _end_with_parent()
    status = os.read(report, 16)
    os.waitpid(init, 0)
    code = os.waitstatus_to_exitcode(int(status)) if status else 1
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    os._exit(code & 255)


def _collect_until(trial: int, answer: int) -> NoReturn:
    """Be the init of the namespace: collect orphans until the trial ends, and report how it did."""
    os.close(int(os.environ["TEAM_TASK_FD"]))
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == trial:
            os.write(answer, str(status).encode())
            os._exit(0)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def drop_capabilities() -> None:
    """Give up what a user namespace grants its first process; the trial has no use for it."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    libc.capset(header, (ctypes.c_uint32 * 6)())


def limit(order: dict[str, Any]) -> None:
    """Set what the kernel counts for one process or user: core files, file sizes, tasks, private memory."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: order["open_files"],
        resource.RLIMIT_FSIZE: order["file_bytes"],
        resource.RLIMIT_NPROC: order["tasks"],
        resource.RLIMIT_DATA: order["data_bytes"],
    }
    for name, most in limits.items():
        if most is not None:
            hard = resource.getrlimit(name)[1]
            value = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(name, (value, value))


def main() -> None:
    """Apply the rules, say to the judge which layers hold, and run `train.py`."""
    order = json.loads(sys.stdin.readline())
    if os.getppid() != order["warden_pid"]:
        os._exit(1)
    _end_with_parent()
    Path("/proc/self/oom_score_adj").write_text("1000")  # where memory runs out, it is the trial that goes
    layers = enter_namespaces() if "namespaces" in order["layers"] else []
    _end_with_parent()  # a change of credentials clears it, and a fork does not hand it down
    limit(order)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if "landlock" in order["layers"] and order["abi"]:
        rules = order["rules"]
        rules["read"] = [*rules["read"], *(["/proc"] if "own /proc" in layers else rules["read_proc"])]
        restrict(rules, order["abi"])
        layers.append(f"landlock {order['abi']}")
        for folder in rules["package_folders"]:
            sys.path_importer_cache[folder] = _OnlyModules(folder, rules["modules"])
    if order["layers"]:
        drop_capabilities()
    sys.meta_path.insert(0, _TrialModules)
    from evaluation_locked import system_calls

    if "system calls" in order["layers"] and system_calls.install():
        layers.append("system calls")

    from evaluation_locked.wire import Message, send  # after the restriction: it imports numpy

    channel = socket.socket(fileno=os.dup(int(os.environ["TEAM_TASK_FD"])))
    send(channel, Message("ready", {"layers": ["limits", *layers]}))
    channel.close()
    if order["train_py"] is None:  # somebody asked which layers this machine has
        return
    sys.argv = [order["train_py"]]
    runpy.run_path(order["train_py"], run_name="__main__")


if __name__ == "__main__":
    main()
