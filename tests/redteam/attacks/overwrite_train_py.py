"""Replace its own train.py by an innocent one, so that nobody reads what ran.

Stopped by: kernel
"""

import os
import sys

import numpy as np

from evaluation_locked.client import Task

for change in (lambda: open(sys.argv[0], "a"), lambda: os.remove(sys.argv[0]), lambda: os.rename(sys.argv[0], "t.py")):
    try:
        change()
        print("REACHED", sys.argv[0])
    except OSError as error:
        print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
