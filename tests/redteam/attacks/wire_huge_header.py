"""Announce a header of 2^62 bytes, for which the judge might make room.

Stopped by: protocol
Outcome: invalid
"""

import struct

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
n = len(crystals)
task._channel.sendall(struct.pack(">Q", 1 << 62) + b"{}")
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
