"""Fill the process table: each child forks again (96 processes at most).

Stopped by: kernel
Outcome: processes
"""

import contextlib
import os
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
for _ in range(96):
    with contextlib.suppress(OSError):
        if os.fork() == 0:
            time.sleep(10)
            os._exit(0)
time.sleep(3)
print("REACHED 96 processes", np.pi)
