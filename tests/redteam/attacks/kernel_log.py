"""Read the kernel's log, which names processes and files of others, and the addresses of what is mapped.

Stopped by: kernel
"""

import ctypes
import os

import numpy as np

from evaluation_locked.client import Task

libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(4096)
if libc.klogctl(3, buffer, 4096) > 0:
    print("REACHED", len(buffer.value), "bytes of the kernel's log")
else:
    print("refused: syslog:", os.strerror(ctypes.get_errno()))
for path in ("/dev/kmsg", "/proc/kmsg"):
    try:
        with open(path, "rb", buffering=0) as log:
            print("REACHED", path, log.read(10))
    except OSError as error:
        print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
