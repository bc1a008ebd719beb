"""Submit an array of no bytes and absurd shape: 2^70 times 0.

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
header = json.dumps({"kind": "submit", "facts": {}, "arrays": [["predictions", "<f8", [1 << 70, 0]]]}).encode()
task._channel.sendall(struct.pack(">Q", len(header)) + header + b"")
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
