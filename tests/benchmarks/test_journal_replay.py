"""The replay of a journal: decided online, counted by a reader's labels."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.journal_replay import LABELS, Row, count, read_journal, read_labels, replay
from benchmarks.repeat_pairs import misread, read_pairs

JOURNAL = [
    Row(1, "seed baseline", 0.200, "keep"),
    Row(2, "LayerNorm instead of BatchNorm (20k steps)", 0.220, "discard"),
    Row(3, "width 64 -> 96", 0.190, "keep"),
    Row(4, "BN -> LayerNorm with width 96", 0.150, "keep"),  # luck, unknown when it is decided
    Row(5, "batch 32 -> 64 (sub-margin -0.0009)", 0.1491, "discard"),
    Row(6, "Huber loss NaN", float("nan"), "discard"),
    Row(7, "lr 1e-3 -> 2e-3", 0.120, "keep"),
    Row(8, "batch size = 64", 0.1195, "discard"),
    Row(9, "smooth L1 loss", 0.130, "discard"),
    Row(10, "batch 64", 0.119, "discard"),
]


def test_rows_are_flagged_before_their_result_and_counted_after_it() -> None:
    flags = replay(JOURNAL)
    assert [(flag.row, flag.repeat.of) for flag in flags] == [(4, 2), (10, 8)]
    counts = count(JOURNAL, flags, {4: "strict", 8: "strict", 9: "borderline"})
    assert counts["keeps_lost"] == [4]
    assert counts["better_than_champion_lost"] == [4, 10]
    assert (counts["strict_repeats_flagged"], counts["strict_repeats_missed"]) == (1, [8])
    assert (counts["false_alarms"], counts["false_alarms_by_label"]) == ([10], {"new": 1})
    assert counts["gpu_hours_saved"] == pytest.approx(2 * 1500 / 3600, abs=0.01)


@pytest.mark.parametrize("at", range(1, len(JOURNAL) + 1))
def test_neither_a_row_s_own_result_nor_a_later_row_is_read(at: int) -> None:
    def flagged(rows: list[Row]) -> list[int]:
        return [flag.row for flag in replay(rows) if flag.row <= at]

    row = JOURNAL[at - 1]
    for other in (replace(row, mae_ev=9.0, status="discard"), replace(row, mae_ev=0.0, status="crash")):
        assert flagged([*JOURNAL[: at - 1], other]) == flagged(JOURNAL)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\tmae\n1\t2\n")
    with pytest.raises(ValueError, match=r"x\.tsv has no column description, status"):
        read_journal(tmp_path / "x.tsv")


def test_the_development_pairs_are_read_but_for_two() -> None:
    wrong = [pair.later for pair in misread(read_pairs())]
    assert wrong == ["small learnable branch scale of each block", "width 64 -> 128"]


def test_the_shipped_labels_name_rows_of_their_kind() -> None:
    labels = read_labels(LABELS)
    assert sum(label == "strict" for label in labels.values()) == 36
    assert set(labels.values()) == {"strict", "bracketed", "borderline", "keep"}


@pytest.mark.skipif("TEAM_TEST_DATA" not in os.environ, reason="TEAM_TEST_DATA is not set")
def test_the_reference_journal() -> None:
    rows = read_journal(Path(os.environ["TEAM_TEST_DATA"], "paper_journal.tsv"))
    flags = replay(rows)
    counts = count(rows, flags, read_labels(LABELS))
    assert counts["strict_repeats_flagged"] >= 30
    assert counts["keeps_lost"] == [] == counts["better_than_champion_lost"]
    assert len(counts["false_alarms"]) <= 10
    for at in (50, 109, 125):  # what is said of a row does not hang on how the journal goes on
        assert [f.row for f in replay(rows[:at])] == [f.row for f in flags if f.row <= at]


@pytest.mark.skipif("TEAM_TEST_DATA" not in os.environ, reason="TEAM_TEST_DATA is not set")
def test_it_prints_json() -> None:
    journal = Path(os.environ["TEAM_TEST_DATA"], "paper_journal.tsv")
    command = [sys.executable, "-m", "benchmarks.journal_replay", "--journal", str(journal), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert '"flagged_rows": [\n' in done.stdout
