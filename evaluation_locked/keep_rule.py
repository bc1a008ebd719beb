"""Keep, discard, or measure again: the rule that a challenger must pass to become champion.

A challenger's gain has a standard error from the paired bootstrap (which crystals) and one from seed noise (which
random numbers). The gain is measured in the root of the sum of their squares. See docs/concepts.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

KEEP_Z = 2.0
NEAR_MISS_Z = 1.0  # a gain of this many standard errors is worth one more training before it is given up
FALSE_KEEP_RATE = 0.035  # of changes that do nothing, near misses and their replicates included; see the tests
MAX_REPLICATES = 3

DecisionKind = Literal["keep", "discard", "near-miss"]


@dataclass(frozen=True)
class Decision:
    """What becomes of a challenger, and why.

    Attributes:
        kind: `keep`, `discard`, or `near-miss` (train it once more, then decide).
        gain: Challenger over champion in the unit of the metric; positive is better.
        low: Lower end of the 95 % interval of the gain, seed noise included.
        high: Upper end.
        z: The gain in standard errors.
        reason: One sentence with the figures.
    """

    kind: DecisionKind
    gain: float
    low: float
    high: float
    z: float
    reason: str


def decide(
    gain: float,
    sampling_error: float,
    seed_noise: float,
    n_challenger: int,
    n_champion: int,
    *,
    simpler: bool = False,
    keep_z: float = KEEP_Z,
) -> Decision:
    """Decide on a challenger.

    Args:
        gain: Mean gain over the champion on the same rows; positive is better.
        sampling_error: Its standard error from the paired bootstrap.
        seed_noise: Standard deviation of one training's score between random seeds.
        n_challenger: Trainings of the challenger that were averaged.
        n_champion: Trainings of the champion that were averaged.
        simpler: Whether the challenger's file is the smaller one: at no difference the simpler file wins.
        keep_z: Standard errors that a gain must reach.
    """
    error = math.sqrt(sampling_error**2 + seed_noise**2 * (1 / n_challenger + 1 / n_champion))
    z = gain / max(error, abs(gain) * 1e-6, 1e-300)  # finite even where nothing varies
    low, high = gain - 1.96 * error, gain + 1.96 * error
    figures = f"gain {gain:+.4f} [{low:+.4f}, {high:+.4f}], {z:+.1f} standard errors"
    if z >= keep_z:
        return Decision("keep", gain, low, high, z, f"{figures}; {keep_z} keep")
    if simpler and gain >= 0 and n_challenger > 1:
        return Decision("keep", gain, low, high, z, f"{figures}; no worse, and the file is simpler")
    if simpler and gain >= 0:
        reason = f"{figures}; no worse and simpler, so it is trained once more before that is believed"
        return Decision("near-miss", gain, low, high, z, reason)
    if z >= NEAR_MISS_Z and n_challenger < MAX_REPLICATES:
        return Decision("near-miss", gain, low, high, z, f"{figures}; close to {keep_z}, so it is trained once more")
    return Decision("discard", gain, low, high, z, f"{figures}; {keep_z} would keep")
