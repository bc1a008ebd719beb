"""Start a submission in time and send it byte by byte past the deadline.

Stopped by: protocol
Outcome: overtime
"""

import json
import struct
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
n = len(crystals)
header = json.dumps({"kind": "submit", "facts": {}, "arrays": [["predictions", "<f8", [n]]]}).encode()
task._channel.sendall(struct.pack(">Q", len(header)) + header)
for byte in np.full(n, labels.mean()).tobytes():
    task._channel.sendall(bytes([byte]))
    time.sleep(0.01)
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
