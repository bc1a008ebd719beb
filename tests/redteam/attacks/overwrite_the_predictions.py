"""Write predictions.npy into its own trial's folder, past the protocol.

Stopped by: kernel
"""

import numpy as np

from evaluation_locked.client import Task

for path in ("../predictions.npy", "../residuals.npy", "../../0001-earlier/predictions.npy"):
    try:
        np.save(path, np.zeros(102))
        print("REACHED", path)
    except OSError as error:
        print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
