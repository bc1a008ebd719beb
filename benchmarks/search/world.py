"""A world made of the recorded trials: it answers what a training of any set of changes would have scored.

A strategy asks for sets of changes that nobody recorded, so that the table is continued by a Gaussian process, as
NAS-Bench-301 (2008.09777) does for architectures: the log MAE of a set is `linear + pairwise + noise` in its changes,
and at recorded sets the recorded scores weigh most. Residuals per crystal are continued with the same weights, scaled
to that MAE; each training adds the difference between two real trainings of one file.

    python -m benchmarks.search.world TABLE

It prints how well trials that were left out are foretold.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

TABLE = Path(__file__).with_name("trials.npz")


@dataclass(frozen=True)
class Table:
    """Recorded trials.

    Attributes:
        names: Changes that a file may hold: `technique` or `technique=value`.
        design: [n_trials, n_changes] bool, which trial held which.
        residuals: [n_trials, n_rows] float32 prediction minus label in eV, on the rows that judged.
        clashes: Pairs of changes that do not fit into one file.
        lines: [n_changes] lines of code that each adds to the file.
    """

    names: tuple[str, ...]
    design: np.ndarray
    residuals: np.ndarray
    clashes: frozenset[frozenset[str]]
    lines: np.ndarray

    @property
    def mae_ev(self) -> np.ndarray:
        """[n_trials] mean absolute error."""
        return np.abs(self.residuals).mean(1)


def load_table(path: Path = TABLE) -> Table:
    """Read the table that `benchmarks.search.pack` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return Table(
            names=tuple(data["names"].tolist()),
            design=data["design"].astype(bool),
            residuals=data["residuals"].astype(np.float32),
            clashes=frozenset(frozenset(pair) for pair in data["clashes"].tolist()),
            lines=data["lines"],
        )


def kernel(a: np.ndarray, b: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Return [n_a, n_b] covariance of log MAE: constant, sum over changes, sum over pairs of changes."""
    constant, linear, pairs = np.exp(2 * parameters[:3])
    common = a.astype(float) @ b.T.astype(float)
    return constant + linear * common + pairs * common * (common - 1) / 2


class World:
    """What trainings of sets of changes score.

    Attributes:
        names: Changes that a set may hold.
        n_rows: Rows that judge.
    """

    def __init__(self, table: Table):
        """Fit the process to the table by its marginal likelihood."""
        self.names = table.names
        self.n_rows = table.residuals.shape[1]
        self._table = table
        self._column = {name: i for i, name in enumerate(table.names)}
        logs = np.log(table.mae_ev)
        sets, inverse = np.unique(table.design, axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        counts = np.bincount(inverse)
        self._sets = sets
        self._logs = np.bincount(inverse, logs) / counts
        groups = [np.flatnonzero(inverse == i) for i in range(len(sets)) if counts[i] > 1]
        spread = [np.var(logs[g], ddof=1) * (len(g) - 1) for g in groups]
        self.seed_noise = float(np.sqrt(sum(spread) / sum(len(g) - 1 for g in groups)))
        self._counts = counts
        start = np.log([0.3, 0.03, 0.01])
        fit = minimize(self._surprise, start, method="Nelder-Mead", options={"maxiter": 200})
        self.parameters = fit.x
        self._solve(np.ones(len(sets), bool))
        mean = np.stack([table.residuals[inverse == i].mean(0) for i in range(len(sets))])  # [n_sets, n_rows]
        self._residual_mean = mean[np.argmax(counts)]
        self._residuals = mean - self._residual_mean
        # Differences between trainings of one file: what another seed does to each crystal.
        self._noise = np.concatenate(
            [(table.residuals[g] - table.residuals[g].mean(0)) * np.sqrt(len(g) / (len(g) - 1)) for g in groups]
        )
        self._known: dict[frozenset[str], tuple[np.ndarray, float, float]] = {}

    def _surprise(self, parameters: np.ndarray) -> float:
        covariance = kernel(self._sets, self._sets, parameters) + np.diag(self.seed_noise**2 / self._counts)
        centred = self._logs - self._logs.mean()
        factor = np.linalg.cholesky(covariance)
        half = np.linalg.solve(factor, centred)
        # A weak prior keeps each scale near what such trials show, where few trials say little.
        prior = 0.5 * float(np.sum(((parameters - np.log([0.3, 0.03, 0.01])) / 1.0) ** 2))
        return 0.5 * float(half @ half) + float(np.log(np.diag(factor)).sum()) + prior

    def _solve(self, use: np.ndarray) -> None:
        self._used = self._sets[use]
        noise = self.seed_noise**2 / self._counts[use]
        covariance = kernel(self._used, self._used, self.parameters) + np.diag(noise)
        self._inverse = np.linalg.inv(covariance)
        self._centre = float(self._logs[use].mean())
        self._weights = self._inverse @ (self._logs[use] - self._centre)

    def foretell(self, design: np.ndarray) -> np.ndarray:
        """Return [n] log MAE that sets of changes [n, n_changes] are expected to have."""
        return self._centre + kernel(design, self._used, self.parameters) @ self._weights

    def true_mae(self, changes: frozenset[str]) -> float:
        """Return the mean MAE in eV over all seeds."""
        return self._look_up(changes)[1]

    def train(self, changes: frozenset[str], rng: np.random.Generator) -> np.ndarray:
        """Return [n_rows] residuals in eV of one training."""
        mean, _, scale = self._look_up(changes)
        residuals = mean + self._noise[rng.integers(len(self._noise))]
        return scale * residuals

    def fits(self, changes: frozenset[str]) -> bool:
        """Say whether the changes can stand in one file."""
        return not any(pair <= changes for pair in self._table.clashes)

    def lines(self, changes: frozenset[str]) -> int:
        """Return the lines of code that the changes add."""
        return int(sum(self._table.lines[self._column[name]] for name in changes))

    def _look_up(self, changes: frozenset[str]) -> tuple[np.ndarray, float, float]:
        if changes not in self._known:
            row = np.zeros((1, len(self.names)), bool)
            row[0, [self._column[name] for name in changes]] = True
            mae = float(np.exp(self.foretell(row)[0]))
            share = kernel(row, self._used, self.parameters) @ self._inverse
            mean = self._residual_mean + (share @ self._residuals)[0]
            seen = float(np.abs(mean + self._noise).mean())
            self._known[changes] = (mean.astype(np.float32), mae, mae / seen)
        return self._known[changes]

    def held_out(self, n_folds: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return [n_sets] recorded log MAE, what the others foretell of it, and how often it was trained."""
        order = np.random.default_rng(0).permutation(len(self._sets))
        foretold = np.zeros(len(self._sets))
        for fold in np.array_split(order, n_folds):
            use = np.ones(len(self._sets), bool)
            use[fold] = False
            self._solve(use)
            foretold[fold] = self.foretell(self._sets[fold])
        self._solve(np.ones(len(self._sets), bool))
        return self._logs, foretold, self._counts


def main() -> None:
    """Print how well the world foretells what it has not seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?", default=TABLE)
    table = load_table(parser.parse_args().table)
    world = World(table)
    recorded, foretold, counts = world.held_out()
    error = recorded - foretold
    noise = world.seed_noise**2 * np.mean(1 / counts)
    explained = 1 - np.mean(error**2) / np.var(recorded)
    ceiling = 1 - noise / np.var(recorded)
    order = np.corrcoef(np.argsort(np.argsort(recorded)), np.argsort(np.argsort(foretold)))[0, 1]
    print(f"{len(table.design)} trainings of {len(recorded)} sets of {len(table.names)} changes")
    print(
        f"MAE {table.mae_ev.min():.4f} to {table.mae_ev.max():.4f} eV, seed noise {world.seed_noise:.2%} of the score"
    )
    scales = ", ".join(f"{value:.4f}" for value in np.exp(world.parameters))
    print(f"scales of log MAE: constant, one change, a pair: {scales}")
    print(f"left-out sets: variance explained {explained:.2f} of at most {ceiling:.2f}, rank correlation {order:.2f}")
    rng = np.random.default_rng(0)
    drawn = [np.log(np.abs(world.train(frozenset(), rng)).mean()) for _ in range(400)]
    bias = np.mean(drawn) - np.log(world.true_mae(frozenset()))
    print(f"seed noise of the world at the seed {np.std(drawn):.2%}, bias {bias:+.2%}")


if __name__ == "__main__":
    main()
