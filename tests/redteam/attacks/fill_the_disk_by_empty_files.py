"""Fill the disk with empty files, which take no block of their own but a place each (17,000).

Stopped by: kernel
Outcome: disk
"""

import os
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
for number in range(17_000):
    os.mknod(f"file{number}")
time.sleep(3)
print("REACHED 17,000 empty files", np.pi)
