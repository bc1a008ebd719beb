"""Submit an array of negative shape.

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
header = json.dumps({"kind": "submit", "facts": {}, "arrays": [["predictions", "<f8", [-1, n]]]}).encode()
task._channel.sendall(struct.pack(">Q", len(header)) + header + b"")
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
