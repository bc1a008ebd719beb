"""A filter of system calls for a trial: what neither Landlock nor a namespace closes on every kernel.

It is classic BPF, loaded by the launcher through `prctl` (seccomp mode 2, Linux 3.17) after everything else is set. A
call on the list fails with the error given, as if the system did not offer it; any other call passes.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_RET_ERRNO, _RET_ALLOW, _RET_KILL = 0x00050000, 0x7FFF0000, 0x80000000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_AND = 0x54
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_FIRST_ARGUMENT, _OFFSET_SECOND_ARGUMENT = 0, 4, 16, 24
_SOCKETPAIR, _CLONE, _PRCTL = (53, 199), (56, 220), (157, 167)  # x86_64, aarch64
_CLONE_NEW_ANYTHING = 0x7E020080
_PR_SET_DUMPABLE = 4
_X32_BIT = 0x40000000
_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Numbers on x86_64 and aarch64; None where the architecture has no such call.
# fmt: off
_SOCKETS = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200),
    "setsockopt": (54, 208),  # a pair then holds what the kernel's default lets it, and the warden counts that
}
_OTHER_PROCESSES = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "setpriority": (141, 140),
}
_NAMESPACES = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "unshare": (272, 97), "setns": (308, 268),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "mount_setattr": (442, 442),
    "syslog": (103, 116),
}
_WATCHES = {
    "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
}
_KERNEL = {
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "clone3": (435, 435),  # its flags lie in memory, where a filter cannot look; the C library goes back to clone
    "memfd_secret": (447, 447),
    "open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104),
}
_SHARED = {"shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180)}
_METADATA = {
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "setxattrat": (463, 463),
}
# Linkers and caches set modes and times of files they made, so these seem to succeed and change nothing.
_PRETENDED = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "utimensat": (280, 88), "futimesat": (261, None),
}
# fmt: on
_REFUSED = (
    (_SOCKETS, errno.EACCES),
    (_OTHER_PROCESSES, errno.EPERM),
    (_NAMESPACES, errno.EPERM),
    (_WATCHES, errno.ENOSYS),
    (_KERNEL, errno.ENOSYS),
    (_SHARED, errno.ENOSYS),
    (_METADATA, errno.EOPNOTSUPP),
    (_PRETENDED, 0),
)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def refused() -> dict[str, int]:
    """Return the error that each refused system call fails with, by name; 0 where it seems to succeed."""
    return {name: error for calls, error in _REFUSED for name in calls}


def program(machine: str) -> bytes:
    """Return the filter for a machine, 8 bytes an instruction; empty where its system calls are not known here."""
    if machine not in _AUDIT_ARCHITECTURE:
        return b""
    column = list(_AUDIT_ARCHITECTURE).index(machine)
    steps = [
        (_LOAD, 0, 0, _OFFSET_ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCHITECTURE[machine]),
        (_RETURN, 0, 0, _RET_KILL),  # another architecture's calls have other numbers
        (_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    if machine == "x86_64":
        steps += [(_JUMP_IF_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _RET_KILL)]
    for calls, error in _REFUSED:
        for numbers in calls.values():
            number = numbers[column]
            if number is not None:
                steps += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _RET_ERRNO | error)]
    steps += [
        (_JUMP_IF_EQUAL, 0, 5, _CLONE[column]),
        (_LOAD, 0, 0, _OFFSET_FIRST_ARGUMENT),
        (_AND, 0, 0, _CLONE_NEW_ANYTHING),  # a namespace of its own would make it root there
        (_JUMP_IF_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_JUMP_IF_EQUAL, 0, 4, _PRCTL[column]),
        (_LOAD, 0, 0, _OFFSET_FIRST_ARGUMENT),
        (_JUMP_IF_EQUAL, 0, 1, _PR_SET_DUMPABLE),  # it would hide its files and mappings from the warden
        (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    # One end of a pair of datagram sockets can send to any socket in the file system, without connecting.
    steps += [
        (_JUMP_IF_EQUAL, 0, 4, _SOCKETPAIR[column]),
        (_LOAD, 0, 0, _OFFSET_SECOND_ARGUMENT),
        (_AND, 0, 0, 0xF),
        (_JUMP_IF_EQUAL, 0, 1, 2),  # SOCK_DGRAM
        (_RETURN, 0, 0, _RET_ERRNO | errno.EACCES),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def install() -> bool:
    """Load the filter for this thread and all it starts; say whether the kernel took it. Needs no_new_privs."""
    instructions = program(platform.machine())
    if not instructions:
        return False
    held = ctypes.create_string_buffer(instructions, len(instructions))
    loaded = _Program(len(instructions) // 8, ctypes.cast(held, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(loaded), 0, 0) == 0)
