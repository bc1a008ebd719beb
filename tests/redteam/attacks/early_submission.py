"""Submit before the clock has started, and claim to be done.

Stopped by: protocol
Outcome: invalid
"""

import numpy as np

from evaluation_locked.client import Task
from evaluation_locked.wire import Message, send

task = Task.open()
send(task._channel, Message("submit", arrays={"predictions": np.zeros(102)}))
print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
