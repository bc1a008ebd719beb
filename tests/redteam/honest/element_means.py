"""Predict the mean label of each crystal's first element."""

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
first = task.crystals.atomic_numbers[task.crystals.offsets[:-1]]
mean_of_element = {z: labels[first == z].mean() for z in set(first.tolist())}
crystals = task.finish_training()
first = crystals.atomic_numbers[crystals.offsets[:-1]]
task.submit(np.array([mean_of_element.get(z, labels.mean()) for z in first.tolist()]))
