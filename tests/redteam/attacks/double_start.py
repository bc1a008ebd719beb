"""Ask for labels again after training, hoping for those of the crystals to predict.

Stopped by: protocol
Outcome: invalid
"""

from evaluation_locked.client import Task
from evaluation_locked.wire import Message, send

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
n = len(crystals)
send(task._channel, Message("start"))
try:
    print("REACHED" if task._channel.recv(1) else "refused: the channel closed")
except OSError as error:
    print("refused:", error)
