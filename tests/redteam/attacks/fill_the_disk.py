"""Fill the disk with one file, then many (0.2 GiB).

Stopped by: kernel
Outcome: disk
"""

import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
for number in range(200):
    try:
        with open(f"file{number}", "wb") as file:
            file.write(bytes(1 << 20))
    except OSError as error:
        print("refused:", error)
time.sleep(2)
print("REACHED 0.2 GiB", np.pi)
