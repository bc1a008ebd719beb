"""The rule of repeats: what earlier trials have answered, and what deserves another look."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from memory.changes import read_changes
from memory.crowding import diff_fingerprint
from memory.history import History
from memory.records import Idea
from memory.repeats import Answer, Attempt, Attempts, Repeats, answer_of, constants_set
from tests.memory.builders import decision, trial


def attempts(*tried: tuple[str, int, Answer]) -> Attempts:
    """Return attempts 1, 2, ... from (description, base, answer)."""
    answers = {number: answer for number, (_, _, answer) in enumerate(tried, start=1)}
    known = Attempts(answers.__getitem__)
    for number, (text, base, _) in enumerate(tried, start=1):
        known.add(Attempt(number, read_changes(text), base))
    return known


def find(known: Attempts, text: str, base: int = 0, held: str = "") -> tuple[str, int] | None:
    repeat = known.find(read_changes(text), base, read_changes(held))
    return None if repeat is None else (repeat.kind, repeat.of)


@pytest.mark.parametrize(
    ("z", "kept", "answer"),
    [(2.0, True, "kept"), (None, False, "failed"), (1.2, False, "open"), (-0.9, False, "open"), (-1.1, False, "lost"),
     (-2.1, False, "clearly lost")],
)  # fmt: skip
def test_what_a_trial_answers_is_the_keep_rule_mirrored(z: float | None, kept: bool, answer: Answer) -> None:
    assert answer_of(z, kept=kept) == answer


def test_a_change_that_lost_is_a_repeat_in_other_words_and_on_a_later_base() -> None:
    known = attempts(("LayerNorm instead of BatchNorm", 0, "lost"))
    assert find(known, "BN -> LayerNorm") == ("same", 1)
    assert find(known, "layer normalisation rather than batch norm with dim=96", base=5, held="dim 64 -> 96") == (
        "same",
        1,
    )
    assert find(known, "GroupNorm instead of BatchNorm") is None


def test_what_the_base_holds_is_no_part_of_the_change_and_what_it_does_not_hold_is() -> None:
    known = attempts(("dropout 0.1", 0, "lost"))
    assert find(known, "dropout 0.1 + attention pool", held="attention pooling") == ("same", 1)
    assert find(known, "dropout 0.1 + attention pool", held="set2set") is None, "a bundle that was never tried"


def test_a_value_between_two_clear_losers_of_this_base_is_bracketed_and_one_beyond_is_not() -> None:
    known = attempts(("width 32", 0, "clearly lost"), ("width 128", 0, "clearly lost"))
    assert find(known, "width 64 -> 96") == ("bracketed", 2)
    assert find(known, "width 64 -> 160") is None
    assert find(known, "width 64 -> 96", base=7) is None, "what was inferred on one base is not carried to another"
    within_noise = attempts(("width 32", 0, "lost"), ("width 128", 0, "clearly lost"))
    assert find(within_noise, "width 64 -> 96") is None


def test_the_value_that_a_keep_replaced_is_an_end_of_the_bracket() -> None:
    known = attempts(("width 64 -> 96", 0, "kept"), ("width 96 -> 128", 1, "clearly lost"))
    assert find(known, "width 96 -> 80", base=1) == ("bracketed", 2)
    assert find(known, "width 96 -> 48", base=1) is None


def test_what_was_too_close_to_call_gets_one_second_chance_on_another_base() -> None:
    once = [("n_rbf 32 -> 64", 0, "open")]
    assert find(attempts(*once), "n_rbf = 64", base=0) == ("same", 1), "here it would be a replicate"
    assert find(attempts(*once), "n_rbf = 64", base=3) is None
    twice = [*once, ("n_rbf 32 -> 64", 3, "open")]
    assert find(attempts(*twice), "n_rbf = 64", base=4) == ("same", 2)
    other_value = [*twice, ("n_rbf 32 -> 24", 3, "open")]
    assert find(attempts(*other_value), "n_rbf = 24", base=4) == ("same", 3), "the second chance is the knob's"


def test_a_crash_says_nothing_the_first_time() -> None:
    assert find(attempts(("SwiGLU", 0, "failed")), "swiglu") is None
    assert find(attempts(("SwiGLU", 0, "failed"), ("GLU", 0, "failed")), "swiglu") == ("same", 2)
    then = attempts(("SwiGLU", 0, "failed"), ("GLU", 0, "open"))
    assert find(then, "swiglu", base=3) is None, "the crash was no look at it, so this is its second chance"


def test_what_was_kept_may_be_brought_to_a_base_without_it() -> None:
    assert find(attempts(("virtual node", 0, "kept")), "virtual node", base=9) is None


# The same rule on a run's own records.

SEED = "WIDTH = 64\nLR = 1e-3\nx = 1\n"


def diff_to(after: str, before: str = SEED) -> str:
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), "a", "b"))


def history(*records: Any) -> History:
    return History([trial(0, 0.5, "kept", status="finished"), *records])


def tried(number: int, z: float | None, **fields: Any) -> Any:
    status = "crashed" if z is None else "finished"
    outcome = "crashed" if z is None else "discarded"
    return trial(number, None if z is None else 0.5, outcome, **({"parent": 0, "status": status, "z": z} | fields))


def idea(**fields: Any) -> Idea:
    return Idea(**({"number": 50, "mode": "explore", "axis": "A4", "title": "an idea", "parent": 0} | fields))


def test_ids_and_knobs_are_exact() -> None:
    known = Repeats(
        history(
            tried(1, -3.0, techniques=("layernorm",)),
            tried(2, -3.0, mode="refine", techniques=("width",), knobs={"WIDTH": 32}),
            tried(3, -3.0, mode="refine", techniques=("width",), knobs={"WIDTH": 128}),
        ),
        knobs=["width"],
    )
    found = known.find(idea(techniques=("layernorm",), title="words that nobody used"))
    assert found is not None and (found.kind, found.of) == ("same", 1)
    assert known.find(idea(removed=("layernorm",), mode="ablate")) is None
    assert known.find(idea(techniques=("layernorm", "graphnorm"))) is None
    bracketed = known.find(idea(mode="refine", techniques=("width",), knobs={"WIDTH": 96}))
    assert bracketed is not None and bracketed.reason.startswith("96 lies between 32 (trial 2) and 128 (trial 3)")
    assert known.find(idea(mode="refine", techniques=("width",), knobs={"WIDTH": 256})) is None


def test_an_idea_in_words_meets_one_in_ids() -> None:
    known = Repeats(history(tried(1, -3.0, techniques=("layernorm",), title="Layer normalisation")))
    found = known.find(idea(title="LayerNorm"))
    assert found is not None and found.of == 1


def test_a_diff_of_constants_says_which_knob_whatever_the_title() -> None:
    wide = diff_to(SEED.replace("64", "96"))
    assert constants_set(wide) == {"WIDTH": (64.0, 96.0)}
    assert constants_set(diff_to(SEED.replace("64", "96").replace("x = 1", "x = 2"))) == {}
    known = Repeats(history(tried(1, -3.0, title="more room to think", diff=wide)))
    found = known.find(idea(title="a larger mind", parent=0), wide)
    assert found is not None and (found.kind, found.of) == ("same", 1)
    assert known.find(idea(title="a larger mind"), diff_to(SEED.replace("64", "128"))) is None


def test_the_same_lines_on_a_later_base_are_the_same_change() -> None:
    change = diff_to(SEED.replace("x = 1", "x = f(1)  # why not"))
    kept = trial(2, 0.4, "kept", parent=0, status="finished", z=3.0, title="other", diff=diff_to("y = 2\n" + SEED))
    known = Repeats(history(tried(1, -3.0, title="first words", diff=change), kept))
    moved = diff_to("y = 2\n" + SEED.replace("x = 1", "x = f(1)"), "y = 2\n" + SEED)
    found = known.find(idea(title="entirely different", parent=2), moved)
    assert found is not None and found.of == 1


def test_what_the_parent_holds_already_is_a_no_op() -> None:
    kept = trial(1, 0.4, "kept", parent=0, status="finished", z=3.0, techniques=("virtual-node",))
    found = Repeats(history(kept)).find(idea(techniques=("virtual-node",), parent=1))
    assert found is not None and (found.kind, found.of) == ("no-op", 1)


def test_replicates_rejections_and_later_decisions() -> None:
    records = history(tried(1, 1.2, techniques=("layernorm",)), tried(2, None, techniques=("huber",), status="not run"))
    known = Repeats(records)
    again = idea(techniques=("layernorm",), parent=0)
    assert known.find(again.model_copy(update={"mode": "replicate"})) is None, "it calls itself one"
    assert known.find(idea(techniques=("huber",))) is None, "what was never trained answered nothing"
    records.add(tried(4, None, techniques=("huber",), status="not run"))
    assert known.find(idea(techniques=("huber",))) is not None, "twice rejected is given up"
    kept = trial(5, 0.4, "kept", parent=0, status="finished", z=3.0, techniques=("film",))
    records.add(kept)
    later = again.model_copy(update={"parent": 5})
    assert known.find(later) is None, "a near miss gets its second chance"
    records.add(decision(1, "discarded", gain=-0.02).model_copy(update={"z": -2.0}))
    found = known.find(later)
    assert found is not None and found.of == 1, "after the replicate it has lost"


def test_what_a_trial_in_flight_tries_is_a_repeat_until_it_has_an_answer() -> None:
    records = history()
    known = Repeats(records)
    film = idea(number=1, techniques=("film",), title="FiLM")
    records.in_flight |= {1: film, 2: None}
    same = idea(number=2, techniques=("film",), title="modulated features")
    found = known.find(same)
    assert found is not None and (found.kind, found.of) == ("same", 1)
    assert found.reason == "trial 1 is trying it now"
    assert known.find(film) is None, "it is itself"
    assert known.find(same.model_copy(update={"mode": "replicate"})) is None
    assert known.find(idea(number=2, techniques=("film", "swiglu"))) is None, "more than that is another idea"
    assert known.find(idea(number=2, title="FiLM")) is not None, "in words too"
    records.in_flight[2] = later = idea(number=2, techniques=("swiglu",))
    assert known.find(idea(number=3, techniques=("swiglu",))) is not None
    del records.in_flight[2]  # abandoned
    assert known.find(idea(number=3, techniques=("swiglu",))) is None
    records.add(tried(1, -3.0, techniques=("film",), title="FiLM"))
    found = known.find(same)
    assert found is not None and found.reason == "trial 1 made the same change and lost"
    records.in_flight[2] = later.model_copy(update={"techniques": ("graphnorm",)})
    assert known.find(idea(number=3, techniques=("graphnorm",))) is not None
    records.in_flight[2] = later
    assert known.find(idea(number=3, techniques=("graphnorm",))) is None, "its idea was chosen anew"
    records.add(trial(2, 0.4, "kept", parent=0, status="finished", z=3.0, techniques=("swiglu",)))
    assert known.find(idea(number=3, techniques=("swiglu",), parent=1)) is None, "it was kept; elsewhere it is news"


def test_of_two_in_flight_that_wrote_the_same_code_the_later_repeats_the_earlier() -> None:
    diff = diff_to(SEED.replace("x = 1", "x = f(1)"))
    records = history()
    written = {1: diff, 2: diff_to(SEED.replace("x = 1", "x = f(1)  # the same"))}
    records.in_flight |= {n: idea(number=n, title=title) for n, title in ((1, "first words"), (2, "other words"))}
    known = Repeats(records, (), {number: diff_fingerprint(change) for number, change in written.items()})
    first, second = (records.in_flight[n] for n in (1, 2))
    assert first is not None and second is not None
    assert known.find(first, written[1]) is None
    found = known.find(second, written[2])
    assert found is not None and found.of == 1


def test_a_loss_is_found_among_many_attempts_of_one_knob_and_a_crash_is_none() -> None:
    turned = [
        tried(n, z, mode="refine", techniques=("width",), knobs={"WIDTH": width})
        for n, z, width in ((1, -3.0, 32), (2, None, 48), (3, -1.5, 96), (4, None, 96), (5, 0.2, 128))
    ]
    known = Repeats(history(*turned), knobs=["width"])

    def width(value: int, **fields: Any) -> tuple[str, int] | None:
        found = known.find(idea(mode="refine", techniques=("width",), knobs={"WIDTH": value}, **fields))
        return None if found is None else (found.kind, found.of)

    assert width(96) == ("same", 3)
    assert width(48) is None, "it crashed once"
    assert width(128) == ("same", 5), "too close to call on this base"
    assert width(64) is None, "96 lost, but not clearly: no bracket"
