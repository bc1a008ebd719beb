"""Search the memory of the parent processes for labels, through /proc and process_vm_readv.

Stopped by: kernel
"""

import ctypes
import os

import numpy as np

from evaluation_locked.client import Task

libc = ctypes.CDLL(None, use_errno=True)
reached = False
for process in {1, 2, os.getppid(), os.getpid() - 1}:
    if process == os.getpid():
        continue
    try:
        with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb") as memory:
            start = int(maps.readline().split("-")[0], 16)
            memory.seek(start)
            reached = bool(memory.read(64))
    except OSError as error:
        print("refused:", error)
    buffer = ctypes.create_string_buffer(64)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
    remote = (ctypes.c_size_t * 2)(id(None) & ~4095, 64)
    if libc.process_vm_readv(process, local, 1, remote, 1, 0) > 0:
        reached = True
    else:
        print("refused: process_vm_readv", process, os.strerror(ctypes.get_errno()))
if reached:
    print("REACHED memory of another process")

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
