"""Ask for the crystals to predict before the clock has started.

Stopped by: protocol
Outcome: invalid
"""

import numpy as np

from evaluation_locked.client import Task
from evaluation_locked.wire import Message, send

task = Task.open()
send(task._channel, Message("finish"))
print("REACHED" if task._channel.recv(1) else "refused: the channel closed", np.pi)
