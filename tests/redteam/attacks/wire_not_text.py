"""Submit a header that is no text, no object and no JSON.

Stopped by: protocol
Outcome: invalid
"""

import struct

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
n = len(crystals)
header = bytes(range(128, 256)) * 8
task._channel.sendall(struct.pack(">Q", len(header)) + header)
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
