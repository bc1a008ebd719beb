"""Where trials lie: shelves of a thousand, folders of earlier versions, and what an interrupted round left."""

from __future__ import annotations

from pathlib import Path

from graph.trial_folders import TrialFolders


def test_the_thousandth_trial_begins_a_shelf(tmp_path: Path) -> None:
    folders = TrialFolders(tmp_path)
    assert folders.make(999, "wider") == tmp_path / "0999-wider"
    assert folders.make(1000, "wider") == tmp_path / "1xxx" / "1000-wider"
    assert folders.make(41234, "a") == tmp_path / "41xxx" / "41234-a"
    assert TrialFolders(tmp_path).find(41234) == tmp_path / "41xxx" / "41234-a"
    assert sorted(number for number, _ in TrialFolders(tmp_path).all()) == [999, 1000, 41234]


def test_the_newest_is_the_highest_number_and_not_the_last_name(tmp_path: Path) -> None:
    assert TrialFolders(tmp_path).newest() is None
    for number in (3, 999):
        TrialFolders(tmp_path).make(number, "a")
    assert TrialFolders(tmp_path).newest() == (999, tmp_path / "0999-a")
    for number in (9_500, 10_001):
        TrialFolders(tmp_path).make(number, "a")
    newest = TrialFolders(tmp_path).newest()
    assert newest is not None and newest[0] == 10_001


def test_folders_of_an_earlier_version_are_found_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "1234-old").mkdir()
    folders = TrialFolders(tmp_path)
    assert folders.find(1234) == tmp_path / "1234-old"
    assert folders.make(1234, "old") == tmp_path / "1234-old"


def test_an_interrupted_round_that_had_another_idea_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "0007-one-idea").mkdir()
    (tmp_path / "0007-one-idea" / "train.py").touch()
    folders = TrialFolders(tmp_path)
    folders.make(8, "next")
    made = folders.make(7, "another")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0007-another", "0008-next"]
    assert folders.find(7) == made


def test_what_another_process_made_or_moved_is_seen(tmp_path: Path) -> None:
    reader = TrialFolders(tmp_path)
    assert reader.find(3) is None
    TrialFolders(tmp_path).make(3, "a")
    assert reader.find(3) == tmp_path / "0003-a"
    (tmp_path / "0003-a").rename(tmp_path / "0003-b")
    assert reader.find(3) == tmp_path / "0003-b"
