"""Print 10^9 lines.

Stopped by: kernel
Outcome: output
"""

import os
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
block = b"a line of a log that nobody wants\n" * 30_000
until = time.monotonic() + 5
while time.monotonic() < until:
    os.write(1, block)
print("REACHED", np.pi)
