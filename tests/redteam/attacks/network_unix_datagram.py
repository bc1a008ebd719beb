"""Send a datagram to a socket in the file system, from one end of a socket pair.

Stopped by: kernel
"""

import socket

import numpy as np

from evaluation_locked.client import Task

try:
    mine, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    answer = mine.sendto(b"labels", "/bait/run/syslog.sock")
    print("REACHED", answer)
except (OSError, ImportError) as error:
    print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
