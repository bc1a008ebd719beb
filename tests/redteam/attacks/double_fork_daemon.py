"""Leave a daemon behind: fork twice, a session of its own, no name, no environment, signals ignored.

Stopped by: kernel
"""

import os
import signal
import sys

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.chdir("/")
        os.closerange(0, 256)
        os.execve(sys.executable, ["python", "-c", "import time; time.sleep(60)"], {})
    os._exit(0)
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
