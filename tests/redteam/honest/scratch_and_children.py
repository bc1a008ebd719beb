"""Nearest crystals by volume, with a child process and a file in the scratch folder on the way."""

import multiprocessing
import tempfile

import numpy as np

from evaluation_locked.client import Task


def mean_near(volume, volumes, labels):
    """Return the mean label of the five crystals nearest in volume."""
    return labels[np.argsort(np.abs(volumes - volume), kind="stable")[:5]].mean()


task = Task.open()
with tempfile.NamedTemporaryFile(suffix=".npy") as file:
    np.save(file, task.crystals.volumes())
    file.flush()
    volumes = np.load(file.name)
labels = task.start_training()
child = multiprocessing.Process(target=mean_near, args=(volumes[0], volumes, labels))
child.start()
child.join()
crystals = task.finish_training()
task.submit(np.array([mean_near(volume, volumes, labels) for volume in crystals.volumes()]))
