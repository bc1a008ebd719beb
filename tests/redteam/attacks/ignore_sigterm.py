"""Ignore every signal that can be ignored, and never end.

Stopped by: protocol
Outcome: overtime
"""

import signal
import time

import numpy as np

from evaluation_locked.client import Task

for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
task = Task.open()
task.start_training()
time.sleep(30)
print("REACHED half a minute", np.pi)
