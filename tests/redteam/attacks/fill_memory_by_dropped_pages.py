"""Fill the machine's memory with shared pages that are dropped from every table once they are written (0.75 GiB).

Stopped by: kernel
Outcome: memory overtime
"""

import mmap
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
held = mmap.mmap(-1, 768 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
for start in range(0, len(held), 32 << 20):
    held[start : start + (32 << 20)] = b"x" * (32 << 20)
    held.madvise(mmap.MADV_DONTNEED, start, 32 << 20)
time.sleep(0.7)
print("REACHED", sum(held[i] == ord("x") for i in range(0, len(held), 1 << 20)) / 1024, "GiB", np.pi)
