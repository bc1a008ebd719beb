"""Tell the judge, in the launcher's name, of layers that do not hold.

Stopped by: protocol
Outcome: invalid crashed
"""

import numpy as np

from evaluation_locked.client import Task
from evaluation_locked.wire import Message, send

task = Task.open()
send(task._channel, Message("ready", {"layers": ["redteam layer"]}))
labels = task.start_training()
print("REACHED", labels.mean(), np.pi)
