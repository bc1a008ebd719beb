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
from typing import TYPE_CHECKING, Any

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
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _TrialModules:
    """Finds the judge's trial-side modules file by file, so that their folder need not be readable as a whole."""

    folder = Path(__file__).resolve().parent
    names = ("client", "crystals", "neighbours", "wire")

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


def leave_network() -> bool:
    """Move this process into a network namespace of its own, without any interface; say whether the kernel let it."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # Without these maps the process would be `nobody`, and getpass.getuser() (used by torch.compile) would fail.
    for file, line in (("uid_map", f"{user} {user} 1"), ("setgroups", "deny"), ("gid_map", f"{group} {group} 1")):
        Path(f"/proc/self/{file}").write_text(line)
    return True


def main() -> None:
    """Apply the rules, say to the judge which layers hold, and run `train.py`."""
    order = json.loads(sys.stdin.readline())
    libc = ctypes.CDLL(None, use_errno=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_bytes"], order["file_bytes"]))
    layers = ["limits"]
    if order["abi"] and leave_network():
        layers.append("network namespace")
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after the namespace: a change of credentials clears it
    if os.getppid() != order["warden_pid"]:
        os._exit(1)  # the warden died before the line above
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if order["abi"]:
        restrict(order["rules"], order["abi"])
        layers.append(f"landlock {order['abi']}")
        for folder in order["rules"]["package_folders"]:
            sys.path_importer_cache[folder] = _OnlyModules(folder, order["rules"]["modules"])
    sys.meta_path.insert(0, _TrialModules)

    from evaluation_locked.wire import Message, send

    channel = socket.socket(fileno=os.dup(int(os.environ["TEAM_TASK_FD"])))
    send(channel, Message("ready", {"layers": layers}))
    channel.close()
    sys.argv = [order["train_py"]]
    runpy.run_path(order["train_py"], run_name="__main__")


if __name__ == "__main__":
    main()
