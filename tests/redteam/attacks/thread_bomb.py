"""Fill the process table with threads, which are no processes (1000 at most).

Stopped by: kernel
Outcome: crashed processes
"""

import os
import threading
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
threading.stack_size(65_536)
started = 0
try:
    for _ in range(1000):
        threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
        started += 1
except RuntimeError as error:
    print("refused:", error)
time.sleep(0.8)
if started > 900:
    print("REACHED", started, "threads")
os._exit(np.int64(3))
