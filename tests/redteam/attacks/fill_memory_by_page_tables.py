"""Fill the machine's memory with the tables of pages that hold nothing: read one in each 2 MiB of 400 GiB.

Stopped by: kernel
Outcome: memory overtime
"""

import ctypes
import mmap
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
NO_RESERVE, SIZE = 0x4000, 1 << 32
for _ in range(100):
    start = libc.mmap(None, SIZE, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE, -1, 0)
    if start in (None, ctypes.c_void_p(-1).value):
        print("refused: mmap")
        break
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(SIZE), 15)  # no huge pages
    table = np.ctypeslib.as_array((ctypes.c_uint8 * SIZE).from_address(start))
    table[:: 2 << 20].sum()
time.sleep(0.5)
with open("/proc/self/status") as status:
    print("REACHED", [line for line in status if line.startswith(("VmPTE", "VmRSS"))])
