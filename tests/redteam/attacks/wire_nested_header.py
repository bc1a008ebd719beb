"""Submit a header of ten thousand nested lists.

Stopped by: protocol
Outcome: invalid
"""

import struct

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
n = len(crystals)
header = b'{"kind": "submit", "facts": {}, "arrays": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
task._channel.sendall(struct.pack(">Q", len(header)) + header)
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
