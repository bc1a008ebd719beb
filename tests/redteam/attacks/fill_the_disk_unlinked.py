"""Fill the disk with files that are removed while open, so that no folder lists them (0.2 GiB).

Stopped by: kernel
Outcome: disk
"""

import os
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
held = []
for number in range(8):
    file = open(f"file{number}", "wb", buffering=0)
    os.remove(f"file{number}")
    for _ in range(25):
        file.write(bytes(1 << 20))
    held.append(file)
time.sleep(3)
print("REACHED 0.2 GiB that no folder lists", np.pi)
