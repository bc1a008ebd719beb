"""Later words on earlier trials: what a replicate decides again, and what follows when a keep was luck."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation_locked.scorer import Comparison
from graph.judging import decide_again
from memory.history import History
from memory.records import TrialRecord
from tests.memory.builders import trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def compare_by_score(history: History) -> Callable[[Sequence[int], Sequence[int]], Comparison]:
    """Return a comparison by the scores themselves, as if crystals had no noise."""

    def mean(numbers: Sequence[int]) -> float:
        return sum(history.trials[n].score.value for n in numbers) / len(numbers)  # type: ignore[union-attr]

    def compare(ours: Sequence[int], theirs: Sequence[int]) -> Comparison:
        return Comparison(
            gain=mean(theirs) - mean(ours), sampling_error=0.002, n_challenger=len(ours), n_champion=len(theirs)
        )

    return compare


def again(number: int, parent: int, value: float) -> TrialRecord:
    return trial(number, value, "replicate", mode="replicate", parent=parent, code_sha=f"code-{parent}")


def decided(*records: TrialRecord) -> list[tuple[int, str]]:
    history, found = History(records), []
    for entry in decide_again(history, records[-1].idea, compare_by_score(history)):
        history.add(entry)
        found.append((entry.trial, entry.outcome))
    return found


SEED = (trial(0, 0.500, "kept"), again(1, 0, 0.502), again(2, 0, 0.498))


def test_a_near_miss_is_kept_or_given_up_on_the_mean_of_its_trainings() -> None:
    near = trial(3, 0.480, "near-miss", parent=0, champion=0)
    assert decided(*SEED, near, again(4, 3, 0.470)) == [(3, "kept")]
    assert decided(*SEED, near, again(4, 3, 0.530)) == [(3, "discarded")]


def test_a_champion_that_was_luck_gives_way_and_what_lost_to_it_is_judged_again() -> None:
    lucky = trial(3, 0.44, "kept", parent=0, champion=0)
    good = trial(4, 0.45, "discarded", parent=3, champion=3)
    poor = trial(5, 0.49, "discarded", parent=3, champion=3)
    best = trial(6, 0.41, "near-miss", parent=3, champion=3)  # waits for its own replicate
    luck = again(7, 3, 0.52)
    assert decided(*SEED, lucky, good, poor, best, luck) == [(3, "discarded"), (4, "near-miss")]
    clear = good.model_copy(update={"score": trial(4, 0.442).score})
    assert decided(*SEED, lucky, clear, poor, luck) == [(3, "discarded"), (4, "near-miss")]
    assert decided(*SEED, lucky, poor, luck) == [(3, "discarded")], "no better than the seed"


def test_what_an_interruption_cut_off_between_two_decisions_is_decided_afterwards_and_once() -> None:
    lucky = trial(3, 0.44, "kept", parent=0, champion=0)
    records = [*SEED, lucky, trial(4, 0.45, "discarded", parent=3, champion=3), again(5, 3, 0.52)]
    history = History(records)
    history.add(next(decide_again(history, records[-1].idea, compare_by_score(history))))  # and killed here
    (second,) = decide_again(history, records[-1].idea, compare_by_score(history))
    assert (second.trial, second.outcome) == (4, "near-miss")
    history.add(second)
    assert list(decide_again(history, records[-1].idea, compare_by_score(history))) == []


def test_a_confirmed_champion_is_not_confirmed_twice_by_one_replicate() -> None:
    records = [*SEED, trial(3, 0.40, "kept", parent=0, champion=0), again(4, 3, 0.41)]
    history = History(records)
    history.add(next(decide_again(history, records[-1].idea, compare_by_score(history))))
    assert list(decide_again(history, records[-1].idea, compare_by_score(history))) == []


def test_a_champion_that_holds_changes_nothing_else() -> None:
    held = trial(3, 0.40, "kept", parent=0, champion=0)
    beaten = trial(4, 0.45, "discarded", parent=3, champion=3)
    assert decided(*SEED, held, beaten, again(5, 3, 0.41)) == [(3, "kept")]


def test_a_replicate_of_what_is_settled_decides_nothing() -> None:
    assert decided(*SEED) == []
    gone = trial(3, 0.55, "discarded", parent=0, champion=0)
    assert decided(*SEED, gone, again(4, 3, 0.40)) == []
