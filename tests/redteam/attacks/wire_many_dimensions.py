"""Submit an array of 100 dimensions, more than numpy has.

Stopped by: protocol
Outcome: invalid
"""

import json
import struct

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
n = len(crystals)
header = json.dumps({"kind": "submit", "facts": {}, "arrays": [["predictions", "<f8", [1] * 99 + [n]]]}).encode()
task._channel.sendall(struct.pack(">Q", len(header)) + header + bytes(8 * n))
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
