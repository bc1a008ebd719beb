"""The layers that hold a trial: what each one promises, and what a sealed score cannot do without.

It owns the declarations. `evaluation_locked.launch` applies the layers and reports which of them the kernel took, and
the conformance suite (`tests/redteam/conformance.py`) tries every promise of each layer alone and of all together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

LayerName = Literal["landlock", "namespaces", "system calls"]
ALL_LAYERS: tuple[LayerName, ...] = ("landlock", "namespaces", "system calls")

PROMISES: dict[str, str] = {
    "files": "no file beyond its own is read, written, made or removed",
    "attributes": "no mode, owner, time or extended attribute of a file is changed",
    "tcp": "no TCP connection is made",
    "network": "no packet is sent by UDP or a virtual machine's socket",
    "unix sockets": "no socket in the file system is talked to",
    "abstract sockets": "no abstract unix socket is talked to",
    "memory": "no other process's memory, environment or descriptors are read",
    "process list": "no other process is seen in /proc",
    "signals": "no process of others is signalled",
    "orphans": "nothing outlives the trial's first process",
    "shared memory": "no System V segment or message queue is shared with other trials",
    "keyrings": "no key is left in the kernel for other trials",
    "kernel": "no mount, namespace, io_uring, bpf, userfaultfd or performance counter is opened",
    "watches": "no file's use by others is watched, and nothing of a trial is hidden from its warden",
    "caps": "file size, open files, core files and, but for root, tasks are capped by the kernel",
}
MINIMUM = frozenset({"files", "memory", "tcp", "network"})
SCOPED_LANDLOCK, TCP_LANDLOCK = 6, 4


@dataclass(frozen=True)
class Layer:
    """One layer as `team doctor` tells of it.

    Attributes:
        name: What it is switched by.
        needs: What of the machine it needs.
        reports: How its parts are named in a trial's outcome.
    """

    name: LayerName
    needs: str
    reports: tuple[str, ...]


LAYERS = (
    Layer("landlock", "Linux 5.13 with Landlock enabled; all of it from Landlock 6 (Linux 6.12) on", ("landlock",)),
    Layer(
        "namespaces",
        "user namespaces for unprivileged processes, and leave to mount a /proc",
        ("network namespace", "process namespace", "own /proc"),
    ),
    Layer("system calls", "seccomp, on x86_64 or aarch64", ("system calls",)),
)

_PROMISED_BY: dict[str, frozenset[str]] = {
    "limits": frozenset({"caps"}),
    "network namespace": frozenset({"tcp", "network", "abstract sockets"}),
    "process namespace": frozenset({"memory", "signals", "orphans", "shared memory"}),
    "own /proc": frozenset({"process list"}),
    "system calls": frozenset(
        {
            "attributes",
            "tcp",
            "network",
            "unix sockets",
            "abstract sockets",
            "shared memory",
            "keyrings",
            "kernel",
            "watches",
        }
    ),
}


def promises_of(reported: Iterable[str]) -> frozenset[str]:
    """Return what the layers promise that a trial's outcome reports, such as `landlock 7`; an unknown one nothing."""
    promised: set[str] = set()
    for layer in reported:
        name, _, version = layer.rpartition(" ")
        if name == "landlock" and version.isdigit():
            promised |= {"files", "memory", "process list"}
            promised |= {"tcp"} if int(version) >= TCP_LANDLOCK else set()
            promised |= {"signals", "abstract sockets"} if int(version) >= SCOPED_LANDLOCK else set()
        promised |= _PROMISED_BY.get(layer, frozenset())
    return frozenset(promised)


def seals(reported: Iterable[str]) -> bool:
    """Say whether a score may be called sealed: the trial could reach no label and tell nobody of any."""
    return promises_of(reported) >= MINIMUM


def lost(reported: Iterable[str]) -> tuple[str, ...]:
    """Return the promises that none of the layers keeps, as `PROMISES` words them."""
    held = promises_of(reported)
    return tuple(words for promise, words in PROMISES.items() if promise not in held)
