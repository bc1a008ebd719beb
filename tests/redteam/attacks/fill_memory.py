"""Fill the machine's memory (1 GiB, written to).

Stopped by: kernel
Outcome: memory crashed overtime
"""

import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
held = []
for _ in range(20):
    held.append(np.ones(6_700_000))
    time.sleep(0.04)
time.sleep(1)
print("REACHED 1 GiB")
