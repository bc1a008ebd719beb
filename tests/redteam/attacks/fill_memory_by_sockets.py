"""Fill the machine's memory with what pairs of sockets hold and nobody reads (0.7 GiB).

Stopped by: kernel
Outcome: memory overtime
"""

import contextlib
import resource
import socket
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held, total = [], 0
with contextlib.suppress(OSError):
    while total < 700 << 20:
        pair = socket.socketpair()
        held.append(pair)
        for end in pair:
            end.setblocking(False)
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
            with contextlib.suppress(BlockingIOError):
                while True:
                    total += end.send(bytes(1 << 16))
time.sleep(0.7)
print("REACHED", total >> 20, "MiB in", len(held), "pairs", np.pi)
