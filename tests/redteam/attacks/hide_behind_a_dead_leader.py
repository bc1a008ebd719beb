"""End the first thread and live on in a second: to /proc the process then looks dead; take 0.8 GiB there.

Stopped by: kernel
Outcome: memory overtime
"""

import ctypes
import os
import threading
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()


def work():
    """Fill more memory than allowed, slowly, then keep it for a while."""
    held = []
    for _ in range(8):
        held.append(np.ones(13_000_000))
        time.sleep(0.05)
    time.sleep(0.4)
    print("REACHED 0.8 GiB, unseen", flush=True)
    time.sleep(4)
    print("REACHED four more seconds with it", len(held), flush=True)
    os._exit(0)


threading.Thread(target=work).start()
ctypes.CDLL(None).syscall(60, 0)
