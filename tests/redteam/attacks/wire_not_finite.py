"""Submit predictions that are not a number, past the client's own check.

Stopped by: protocol
Outcome: invalid
"""

import numpy as np

from evaluation_locked.client import Task
from evaluation_locked.wire import Message, send

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
n = len(crystals)
send(task._channel, Message("submit", arrays={"predictions": np.full(n, np.nan)}))
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
