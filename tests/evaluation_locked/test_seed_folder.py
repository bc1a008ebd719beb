"""Seed folders that are found by name, and that take files from another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evaluation_locked.seed_folder import SHIPPED, SeedError, copy_seed, find_seed, seed_file, shipped_seeds
from evaluation_locked.task import load_task
from tests.conftest import TINY_SEED

TASK = 'name = "mine"\ntitle = "Mine"\ntarget = "gap_ev"\nsource = "tight-binding"\nbase = "{base}"\n'


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A seed of two files that takes the others from a folder beside it."""
    shutil.copytree(TINY_SEED, tmp_path / "tiny")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "task.toml").write_text(TASK.format(base="../tiny"))
    (folder / "brief.md").write_text("of mine\n")
    return folder


def test_every_shipped_seed_is_found_by_its_name_and_is_whole() -> None:
    assert next(iter(shipped_seeds())) == "crystal_seed" and {"is_metal", "few_crystals"} < set(shipped_seeds())
    for name, path in shipped_seeds().items():
        assert find_seed(name).resolve() == path
        load_task(path)
        assert seed_file(path, "train.py") is not None and seed_file(path, "brief.md") is not None


def test_what_a_folder_lacks_is_taken_and_what_it_has_is_its_own(mine: Path, tmp_path: Path) -> None:
    load_task(mine)
    assert seed_file(mine, "train.py") == mine / "../tiny" / "train.py"
    copy_seed(mine, tmp_path / "copy")
    assert (tmp_path / "copy" / "brief.md").read_text() == "of mine\n"  # the tiny seed has none to lend
    assert (tmp_path / "copy" / "train.py").read_text() == (TINY_SEED / "train.py").read_text()
    assert len(list((tmp_path / "copy" / "playbook").glob("*.md"))) == len(list((TINY_SEED / "playbook").glob("*.md")))
    assert 'name = "mine"' in (tmp_path / "copy" / "task.toml").read_text()


def test_a_brief_takes_the_sections_that_it_lacks(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny" / "brief.md").write_text("# Tiny\n\n## The task\ngaps\n\n## The file\nridge\n")
    (mine / "brief.md").write_text("# Mine\n\n## The task\nmoduli\n")
    copy_seed(mine, tmp_path / "copy")
    assert (tmp_path / "copy" / "brief.md").read_text() == "# Mine\n\n## The task\nmoduli\n\n## The file\nridge\n"


def test_a_copy_of_the_first_shipped_seed_holds_no_other_seed(tmp_path: Path) -> None:
    copy_seed(SHIPPED, tmp_path / "copy")
    assert (tmp_path / "copy" / "train.py").is_file()
    assert not (tmp_path / "copy" / "tasks").exists()


def test_a_metric_is_not_taken_from_another(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny" / "metric.py").write_text("def score(a, b):\n    return 0.0\n")
    assert seed_file(mine, "metric.py") is None
    copy_seed(mine, tmp_path / "copy")
    assert not (tmp_path / "copy" / "metric.py").exists()


def test_folders_that_take_from_each_other_are_refused(mine: Path, tmp_path: Path) -> None:
    text = (tmp_path / "tiny" / "task.toml").read_text()
    (tmp_path / "tiny" / "task.toml").write_text(f'base = "../mine"\n{text}')
    with pytest.raises(SeedError, match="which lends from this folder"):
        load_task(mine)


@pytest.mark.parametrize(("name", "meant"), [("is_metl", "is_metal"), ("few-crystals", "few_crystals")])
def test_a_name_that_is_nearly_that_of_a_shipped_seed_is_asked_about(name: str, meant: str) -> None:
    with pytest.raises(SeedError, match=f"did you mean '{meant}'"):
        find_seed(name)


def test_a_base_that_is_not_there_is_named(mine: Path) -> None:
    (mine / "task.toml").write_text(TASK.format(base="../other"))
    with pytest.raises(SeedError, match=r"no seed folder at .*other"):
        load_task(mine)


def test_a_relative_source_starts_at_the_folder(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine / "task.toml").write_text(TASK.format(base="../tiny").replace("tight-binding", "table:crystals.npz"))
    monkeypatch.chdir(tmp_path)
    assert load_task(Path("mine")).source == f"table:{mine.resolve() / 'crystals.npz'}"
