"""Ridge regression on element fractions: real enough to be improved, fast enough for a test."""

import numpy as np

from evaluation_locked.client import Task

RIDGE = 1000.0


def features(crystals):
    """Return [n, any] features of each crystal."""
    owner = np.repeat(np.arange(len(crystals)), crystals.n_atoms)
    parts = [np.ones((len(crystals), 1))]
    fractions = np.zeros((len(crystals), 119))
    np.add.at(fractions, (owner, crystals.atomic_numbers), 1.0)
    parts.append(fractions / crystals.n_atoms[:, None])
    return np.concatenate(parts, axis=1)


def main():
    """Train in closed form and predict."""
    task = Task.open()
    x = features(task.crystals)
    y = task.start_training()
    rng = np.random.default_rng(task.facts.seed)
    rows = rng.choice(len(y), size=len(y), replace=True)
    weights = np.linalg.solve(x[rows].T @ x[rows] + RIDGE * np.eye(x.shape[1]), x[rows].T @ y[rows])
    predictions = features(task.finish_training()) @ weights
    task.submit(predictions)


main()
