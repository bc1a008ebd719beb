"""Signal every process that the kernel lets it signal.

Stopped by: kernel
"""

import os

import numpy as np

from evaluation_locked.client import Task

try:
    os.kill(-1, 0)  # signal 0 does nothing but ask
    print("REACHED other processes")
except OSError as error:
    print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
