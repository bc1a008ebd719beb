"""Hand in predictions after the deadline, from a process that outlived it.

Stopped by: protocol
Outcome: overtime
"""

import signal
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
time.sleep(4)
task.submit(np.full(len(crystals), labels.mean()))
print("REACHED a submission after the deadline")
