"""Read keys of model providers from its own environment.

Stopped by: kernel
"""

import os

import numpy as np

from evaluation_locked.client import Task

keys = {name: value for name, value in os.environ.items() if "KEY" in name or "TOKEN" in name or "SECRET" in name}
print("REACHED" if keys else "refused: the environment holds no key", keys)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
