from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from memory.history import History, HistoryError
from tests.memory.builders import decision, score, trial


def test_an_empty_history_has_no_champion_and_starts_at_zero() -> None:
    history = History()
    assert (history.champion, history.keeps, history.next_number, history.rounds_since_keep) == (None, [], 0, 0)


def test_a_decision_promotes_a_near_miss_over_a_later_trial_that_was_kept_before_it() -> None:
    history = History([trial(0, 0.30, "kept"), trial(1, 0.29, "near-miss", parent=0), trial(2, 0.28, "kept", parent=0)])
    assert history.keeps == [0, 2]
    history.add(decision(1, "kept"))
    assert history.keeps == [0, 2, 1]
    assert history.champion is not None
    assert history.champion.number == 1
    assert (history.outcome(1), history.reason(1)) == ("kept", "decided later")
    assert history.trials[1].outcome == "near-miss"


def test_a_decision_that_takes_a_keep_back_restores_the_one_before() -> None:
    history = History([trial(0, 0.30, "kept"), trial(1, 0.29, "kept", parent=0), trial(2, 0.4, parent=1)])
    assert history.rounds_since_keep == 1
    history.add(decision(1, "discarded"))
    assert history.keeps == [0]
    assert history.rounds_since_keep == 2
    history.add(decision(1, "kept"))
    assert (history.keeps, history.rounds_since_keep) == ([0, 1], 0)


def test_confirming_an_earlier_keep_does_not_make_it_champion_again() -> None:
    history = History([trial(0, 0.30, "kept"), trial(1, 0.29, "kept", parent=0), decision(0, "kept")])
    assert history.keeps == [0, 1]


def test_replicates_share_code_and_finished() -> None:
    history = History(
        [
            trial(0, 0.30, "kept", code_sha="a"),
            trial(1, 0.34, "replicate", code_sha="a", parent=0, mode="replicate"),
            trial(2, None, "crashed", code_sha="a", parent=0),
            trial(3, 0.25, code_sha="b", parent=0),
            trial(4, None, "rejected", code_sha="", parent=0),
            trial(5, None, "rejected", code_sha="", parent=0),
        ]
    )
    assert history.replicates_of(0) == history.replicates_of(1) == history.replicates_of(2) == [0, 1]
    assert history.replicates_of(4) == []
    assert history.seed_noise_groups() == [[0.30, 0.34]]
    assert history.mean_score(1) == pytest.approx(0.32)
    assert history.mean_score(4) is None
    assert history.scores == [0.30, 0.34, 0.25]
    assert history.gain(0, 3) == pytest.approx(0.07)
    assert (history.find_code("a"), history.find_code("b"), history.find_code("c")) == (0, 3, None)
    assert history.find_code("") is None


def test_gain_follows_the_direction_of_the_metric() -> None:
    better = trial(1, parent=0).model_copy(update={"score": score(0.9, "roc_auc")})
    history = History([trial(0).model_copy(update={"score": score(0.8, "roc_auc")}), better, trial(2, 0.3, parent=0)])
    assert history.gain(0, 1) == pytest.approx(0.1)
    assert history.gain(0, 2) is None  # another metric


def test_techniques_and_knobs_follow_the_lineage() -> None:
    history = History(
        [
            trial(0, techniques=("ema", "knn"), knobs={"WIDTH": 64, "DEPTH": 4}),
            trial(1, parent=0, techniques=("film",), knobs={"WIDTH": 96}),
            trial(2, parent=0, techniques=("swiglu",)),
            trial(3, parent=1, removed=("ema",), mode="ablate"),
            trial(4, parent=3, techniques=("ema",), knobs={"DEPTH": 5}),
        ]
    )
    assert history.lineage(4) == [0, 1, 3, 4]
    assert history.techniques_in(3) == ("knn", "film")
    assert history.techniques_in(4) == ("knn", "film", "ema")
    assert history.techniques_in(2) == ("ema", "knn", "swiglu")
    assert history.knobs_in(4) == {"WIDTH": 96, "DEPTH": 5}


def test_the_first_line_on_a_trial_stands() -> None:
    history = History([trial(0, 0.3, "kept")])
    assert history.add(trial(0, 0.9, "discarded")) is False
    assert (history.outcome(0), history.scores, history.next_number) == ("kept", [0.3], 1)


def test_trials_may_end_out_of_order() -> None:
    history = History([trial(0), trial(3, parent=0), trial(2, parent=0)])
    assert history.next_number == 4
    assert list(history.trials) == [0, 3, 2]


def test_what_does_not_follow_is_refused() -> None:
    history = History([trial(0)])
    with pytest.raises(HistoryError, match="trial 2 edits trial 1, which is not recorded"):
        history.add(trial(2, parent=1))
    with pytest.raises(HistoryError, match="a decision on trial 5"):
        history.add(decision(5, "kept"))
    assert list(history.trials) == [0]


def test_the_truth_is_read_without_chroma_or_networkx() -> None:
    code = (
        "import sys, memory.journal, memory.history, memory.records; "
        "print(sorted({'chromadb', 'networkx', 'torch', 'langgraph', 'pymatgen'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_changes_add_up_along_the_lineage() -> None:
    history = History(
        [
            trial(0, 0.5, "kept"),
            trial(1, 0.4, parent=0, techniques=("film", "width"), knobs={"WIDTH": 96}),
            trial(2, 0.4, parent=1, techniques=("width",), knobs={"WIDTH": 48}),
            trial(3, 0.4, parent=2, mode="ablate", removed=("film",)),
            trial(4, 0.4, "replicate", mode="replicate", parent=3),
            trial(5, 0.4, parent=4),
        ]
    )
    assert history.changes_in(0) == ()
    assert history.changes_in(1) == ("film", "width", "WIDTH=96")
    assert history.changes_in(2) == ("film", "width", "WIDTH=48"), "a knob has one value"
    assert history.changes_in(3) == history.changes_in(4) == ("width", "WIDTH=48")
    assert history.changes_in(5) == ("width", "WIDTH=48", "trial 5"), "an idea without a name goes by its trial"


def test_gains_of_an_axis_follow_the_latest_decision() -> None:
    entries = [
        trial(0, 0.5, "kept"),
        trial(1, 0.4, "near-miss", parent=0, gain=0.1),
        trial(2, None, "rejected", parent=0),
    ]
    history = History(entries)
    axis = entries[1].idea.axis
    assert (history.gains[axis][1], history.n_of_axis[axis]) == (0.1, sum(e.idea.axis == axis for e in entries))
    history.add(decision(1, "kept"))
    assert history.gains[axis] == {1: history.decided_gain(1)}
    assert [t.number for t in history.last_measured(5)] == [1]
