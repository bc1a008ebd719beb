"""Have every later program load a library of ours: ld.so.preload and the loader's cache.

Stopped by: kernel
"""

import os

import numpy as np

from evaluation_locked.client import Task

for path in ("/etc/ld.so.preload", "/etc/ld.so.conf.d/redteam.conf", "/etc/environment", "/etc/profile"):
    try:
        with open(path, "a") as file:
            file.write("")
        print("REACHED", path)
    except OSError as error:
        print("refused:", error)
os.environ["LD_PRELOAD"] = os.getcwd() + "/mine.so"  # binds its own children alone

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
