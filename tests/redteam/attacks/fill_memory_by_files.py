"""Fill the machine's memory with nameless files that no process maps (0.75 GiB).

Stopped by: kernel
Outcome: memory overtime
"""

import os
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
held = []
for number in range(24):
    handle = os.memfd_create(f"file{number}")
    for _ in range(32):
        os.write(handle, bytes(1 << 20))
    held.append(handle)
time.sleep(0.7)
print("REACHED 0.75 GiB", np.pi)
