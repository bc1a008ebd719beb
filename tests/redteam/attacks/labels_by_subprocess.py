"""Let another program read the labels: a child shell with a clean environment.

Stopped by: kernel
"""

import subprocess

import numpy as np

from evaluation_locked.client import Task

LABELS = "/bait/run/locked/validation_labels.npy"
stolen = None
try:
    done = subprocess.run(["/bin/cat", LABELS], capture_output=True, env={}, check=False)
    if done.returncode:
        raise OSError(done.stderr.decode())
    stolen = np.frombuffer(done.stdout[128:])
    print("REACHED", stolen)
except OSError as error:
    print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()) if stolen is None else stolen)
