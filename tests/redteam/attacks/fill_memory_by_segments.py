"""Fill the machine's memory with System V segments that are detached again (0.75 GiB).

Stopped by: kernel
Outcome: memory crashed invalid overtime
"""

import ctypes
import os
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_void_p]
held = 0
for _ in range(12):
    segment = libc.shmget(0, 64 << 20, 0o1600)
    if segment < 0:
        print("refused:", os.strerror(ctypes.get_errno()))
        break
    address = libc.shmat(segment, None, 0)
    ctypes.memset(address, 1, 64 << 20)
    libc.shmdt(address)
    held += 64
    time.sleep(0.02)
time.sleep(0.6)
print("REACHED" if held > 600 else "refused:", held, "MiB", np.pi)
