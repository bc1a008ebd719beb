"""Ridge regression on random features, drawn from the seed that the judge gives, inside the clock."""

import numpy as np

from evaluation_locked.client import Task


def features(crystals, rng):
    """Return [n, 16] cosines of random combinations of what is known of a crystal."""
    first = crystals.atomic_numbers[crystals.offsets[:-1]] / 60
    known = np.stack([first, crystals.n_atoms, crystals.volumes() / 64], axis=1)
    directions = rng.normal(size=(3, 16))
    return np.cos(sum(known[:, i : i + 1] * directions[i] for i in range(3)))


task = Task.open()
x = features(task.crystals, np.random.default_rng(task.facts.seed))
y = task.start_training()
weights, steps = np.zeros(16), 0
while task.seconds_left() > 0 and steps < 50:
    weights -= 0.05 * (x * ((x * weights).sum(axis=1) - y)[:, None]).mean(axis=0)
    steps += 1
crystals = task.finish_training()
task.submit((features(crystals, np.random.default_rng(task.facts.seed)) * weights).sum(axis=1))
