"""Send the training labels away over UDP and wait for an answer.

Stopped by: kernel
"""

import socket

import numpy as np

from evaluation_locked.client import Task

try:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.settimeout(0.5)
        channel.sendto(b"labels", ("127.0.0.1", 41771))
        answer = channel.recv(64)
    print("REACHED", answer)
except (OSError, ImportError) as error:
    print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
