"""The search benchmark on its shipped table: the world foretells what it did not see, and replays are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.search.__main__ import GREEDY, N_TRIALS, STRATEGIES
from benchmarks.search.replay import replay
from benchmarks.search.world import World, load_table


@pytest.fixture(scope="module")
def world() -> World:
    return World(load_table())


def test_the_table_is_of_real_trials_and_the_world_foretells_those_it_did_not_see(world: World) -> None:
    table = load_table()
    assert len(table.design) >= 400 and table.residuals.shape == (len(table.design), world.n_rows)
    assert 0.3 < table.mae_ev.min() < table.mae_ev.max() < 1.0
    recorded, foretold, _ = world.held_out()
    assert 1 - np.mean((recorded - foretold) ** 2) / np.var(recorded) > 0.7


def test_a_training_scatters_around_the_truth_by_the_recorded_seed_noise(world: World) -> None:
    rng = np.random.default_rng(1)
    for changes in (frozenset[str](), frozenset({"film", "space-group"})):
        logs = [np.log(np.abs(world.train(changes, rng)).mean()) for _ in range(300)]
        assert np.exp(np.mean(logs)) == pytest.approx(world.true_mae(changes), rel=0.01)
        assert 0.5 * world.seed_noise < np.std(logs) < 1.5 * world.seed_noise


def test_changes_that_clash_do_not_fit(world: World) -> None:
    assert world.fits(frozenset({"film", "huber"}))
    assert not world.fits(frozenset({"film", "huber", "heteroscedastic-l1"}))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_never_hands_over_what_it_did_not_train_and_replays_alike(name: str, world: World) -> None:
    steps = replay(STRATEGIES[name](world, 3), world, 3, 12)
    assert len(steps) == 12
    assert steps == replay(STRATEGIES[name](world, 3), world, 3, 12)
    assert all(not step.false_keep or step.kept for step in steps)
    changed = [n for n in range(1, 12) if steps[n].champion_mae != steps[n - 1].champion_mae]
    assert {n for n, step in enumerate(steps) if step.kept} <= set(changed)


def test_ours_is_ahead_of_greedy_in_the_same_replays(world: World) -> None:
    """Twelve replays of forty trials: a difference of five intervals in the table, so that luck cannot turn it."""
    ours, greedy = (
        [replay(STRATEGIES[name](world, seed), world, seed, N_TRIALS // 2)[-1].champion_mae for seed in range(12)]
        for name in ("ours", GREEDY)
    )
    assert np.mean(ours) < np.mean(greedy)


def test_eight_in_flight_find_nearly_what_one_after_another_does(world: World) -> None:
    """Each is planned without the results of seven others; no two of them train the same but as a replicate."""
    side_by_side = [replay(STRATEGIES["ours"](world, seed), world, seed, N_TRIALS // 2, workers=8) for seed in range(8)]
    greedy = [replay(STRATEGIES[GREEDY](world, seed), world, seed, N_TRIALS // 2) for seed in range(8)]
    assert sum(step.repeat for steps in side_by_side for step in steps) <= 2
    assert np.mean([s[-1].champion_mae for s in side_by_side]) < np.mean([s[-1].champion_mae for s in greedy])
