"""Talk to a helper on this machine through an abstract unix socket.

Stopped by: kernel
"""

import socket

import numpy as np

from evaluation_locked.client import Task

try:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(0.5)
        channel.connect("\0redteam-bait")
        answer = channel.recv(64)
    print("REACHED", answer)
except (OSError, ImportError) as error:
    print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
