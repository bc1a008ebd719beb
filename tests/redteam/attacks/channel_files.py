"""Leave a note to a later trial in /dev/shm, /tmp, /var/tmp, the scratch folder's parents.

Stopped by: kernel
Runs: 2
"""

import os

import numpy as np

from evaluation_locked.client import Task

for folder in ("/dev/shm", "/tmp", "/var/tmp", "/run", "..", "../..", "/bait", os.path.expanduser("~")):
    path = f"{folder}/redteam-bait-note"
    try:
        if os.path.lexists(path):
            print("REACHED a note of an earlier trial in", folder)
        with open(path, "w") as file:
            file.write("note")
    except OSError as error:
        print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
