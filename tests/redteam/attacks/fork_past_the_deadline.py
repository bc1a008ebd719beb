"""Train on in a child process past the deadline while the parent waits at the channel.

Stopped by: protocol
Outcome: overtime
"""

import os
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
if os.fork() == 0:
    os.setsid()
    time.sleep(5)
    print("REACHED five seconds of training")
    task.submit(np.full(len(task.finish_training()), labels.mean()))
time.sleep(10)
