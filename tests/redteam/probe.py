"""What the conformance suite runs below each choice of layers: one attempt or more at every promise of a layer.

It is started by the launcher in place of a train.py, and prints `<promise>: held` or `<promise>: open, <what>`. Paths,
port and process id of the bait stand in it as in every attack.
"""

import ctypes
import os
import platform
import signal
import socket
import sys
import time

SUITE_PID = 99_410_771  # replaced by the id of the suite's process
SEGMENT_KEY = 0x7EA3_0001
X86 = platform.machine() == "x86_64"
libc = ctypes.CDLL(None, use_errno=True)


def call(x86_64, aarch64, *arguments):
    """Make a system call, and raise where the kernel refuses it."""
    result = libc.syscall(x86_64 if X86 else aarch64, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attempt(promise, what, function):
    """Print whether `function` got through; it says so by returning, or by returning True."""
    try:
        done = function()
    except (OSError, ValueError, ImportError) as error:
        print(f"{promise}: held, {what} ({type(error).__name__})")
        return
    print(f"{promise}: {'open' if done is not False else 'held'}, {what}")


def read_labels():
    with open("/bait/run/locked/validation_labels.npy", "rb") as file:
        file.read(8)


def write_beside():
    with open("/bait/run/trials/from-a-probe", "w") as file:
        file.write("x")
    os.unlink("/bait/run/trials/from-a-probe")


def link_labels():
    os.link("/bait/run/locked/validation_labels.npy", "linked")
    with open("linked", "rb") as file:
        file.read(8)


def change(function, look):
    """Change something of the journal, look whether it changed, and put it back."""
    path = "/bait/run/journal.jsonl"
    before = look(os.stat(path))
    function(path)
    return look(os.stat(path)) != before


def change_mode():
    return change(lambda p: os.chmod(p, os.stat(p).st_mode ^ 0o111), lambda s: s.st_mode)


def change_times():
    return change(lambda p: os.utime(p, ns=(1, os.stat(p).st_mtime_ns - 1)), lambda s: s.st_mtime_ns)


def set_attribute():
    os.setxattr("/bait/run/journal.jsonl", "user.note", b"x")
    os.removexattr("/bait/run/journal.jsonl", "user.note")


def talk(family, kind, address):
    """Say whether a server of the bait answers."""
    with socket.socket(family, kind) as channel:
        channel.settimeout(1.0)
        if kind == socket.SOCK_DGRAM and family != socket.AF_UNIX:
            channel.sendto(b"x", address)
        else:
            channel.connect(address)
            if kind == socket.SOCK_DGRAM:
                return channel.send(b"x") == 1
        return b"sk-" in channel.recv(64)


def pair_of_datagrams():
    """Send to a socket in the file system from one end of a pair, without connecting."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.sendto(b"x", "/bait/run/syslog.sock")


def read_memory():
    with open(f"/proc/{SUITE_PID}/mem", "rb"):
        return


def read_environment():
    with open(f"/proc/{SUITE_PID}/environ", "rb") as file:
        return len(file.read()) > 0


def list_descriptors():
    return len(os.listdir(f"/proc/{SUITE_PID}/fd")) > 0


def copy_memory():
    buffer = ctypes.create_string_buffer(8)

    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    ours = Piece(ctypes.cast(buffer, ctypes.c_void_p), 8)
    theirs = Piece(ctypes.c_void_p(SUITE_ADDRESS), 8)
    call(310, 270, SUITE_PID, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)


SUITE_ADDRESS = 0x7EA3_0000_0002  # replaced by an address in the suite's memory


def attach():
    call(101, 117, 0x4206, SUITE_PID, None, None)  # PTRACE_SEIZE, which does not stop it
    # Whoever seized a process is shaken off by ending, and the probe's last process ends soon.


def see_command():
    with open(f"/proc/{SUITE_PID}/cmdline", "rb") as file:
        return len(file.read()) > 0


def see_name():
    with open(f"/proc/{SUITE_PID}/stat") as file:
        return len(file.read()) > 0


def list_processes():
    return str(SUITE_PID) in os.listdir("/proc")


def send_signal():
    os.kill(SUITE_PID, 0)


def find_segment():
    call(29, 194, SEGMENT_KEY, 0, 0)


def find_queue():
    call(240, 180, b"redteam-bait", os.O_RDWR, 0, None)


def add_key():
    key = call(248, 217, b"user", b"redteam-bait", b"note", 4, -3)  # the session's keyring
    call(250, 219, 9, key, -3)  # unlink it again


def unshare():
    if not (child := os.fork()):
        os._exit(libc.unshare(0x10020000) != 0)  # a user and a mount namespace
    return os.waitpid(child, 0)[1] == 0


def clone():
    child = libc.syscall(56 if X86 else 220, ctypes.c_ulong(0x10020000 | signal.SIGCHLD), None, None, None, None)
    if child == 0:
        os._exit(0)
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone")
    os.waitpid(child, 0)


def clone3():
    order = (ctypes.c_uint64 * 11)()
    order[0], order[4] = 0x10020000, signal.SIGCHLD
    child = libc.syscall(435, order, ctypes.sizeof(order))
    if child == 0:
        os._exit(0)
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    os.waitpid(child, 0)


def watch():
    handle = call(294, 26, 0)
    call(254, 27, handle, b"/bait/run/locked", 0xFFF)


def hide_from_the_warden():
    """Give up being dumpable, after which only root may read this process's descriptors and mappings."""
    if libc.prctl(4, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    libc.prctl(4, 1, 0, 0, 0)


def io_uring():
    parameters = ctypes.create_string_buffer(120)
    os.close(call(425, 425, 4, parameters))


def bpf_map():
    attributes = (ctypes.c_uint32 * 18)(2, 4, 4, 1)
    os.close(call(321, 280, 0, attributes, 72))


def userfaultfd():
    os.close(call(323, 282, 1))


def performance_counter():
    attributes = ctypes.create_string_buffer(120)
    ctypes.memmove(attributes, (ctypes.c_uint32 * 2)(1, 120), 8)  # a software counter
    attributes[40] = b"\x60"  # of user code alone, which most machines allow
    os.close(call(298, 241, attributes, 0, -1, -1, 0))


def large_file():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("large", "wb") as file:
        file.truncate(1 << 27)


def many_tasks():
    children = []
    try:
        for _ in range(40):
            if not (child := os.fork()):
                time.sleep(60)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def core_files():
    import resource

    return resource.getrlimit(resource.RLIMIT_CORE)[1] != 0


def outlive():
    """Leave a process that has left its session and its parent; the suite looks for it."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            for number in range(3):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.execv(sys.executable, [sys.executable, "-I", "-c", "import time; time.sleep(20)  # redteam-bait"])
        os._exit(0)
    os.wait()
    time.sleep(0.1)


for promise, functions in {
    "files": (read_labels, write_beside, link_labels),
    "attributes": (change_mode, change_times, set_attribute),
    "memory": (read_memory, read_environment, list_descriptors, copy_memory, attach),
    "process list": (see_command, see_name, list_processes),
    "signals": (send_signal,),
    "shared memory": (find_segment, find_queue),
    "keyrings": (add_key,),
    "kernel": (unshare, clone, clone3, io_uring, bpf_map, userfaultfd, performance_counter),
    "watches": (watch, hide_from_the_warden),
    # The kernel caps no tasks of root; the warden counts those.
    "caps": (large_file, core_files, many_tasks) if os.getuid() else (large_file, core_files),
}.items():
    for function in functions:
        attempt(promise, function.__name__, function)
attempt("tcp", "connect", lambda: talk(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 41771)))
attempt("network", "UDP", lambda: talk(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 41771)))
if hasattr(socket, "AF_VSOCK"):
    attempt("network", "vsock", lambda: talk(socket.AF_VSOCK, socket.SOCK_STREAM, (1, 41771)))
attempt("unix sockets", "stream", lambda: talk(socket.AF_UNIX, socket.SOCK_STREAM, "/bait/run/agent.sock"))
attempt("unix sockets", "datagram", lambda: talk(socket.AF_UNIX, socket.SOCK_DGRAM, "/bait/run/syslog.sock"))
attempt("unix sockets", "pair", pair_of_datagrams)
attempt("abstract sockets", "stream", lambda: talk(socket.AF_UNIX, socket.SOCK_STREAM, "\0redteam-bait"))
outlive()
print("done", flush=True)
