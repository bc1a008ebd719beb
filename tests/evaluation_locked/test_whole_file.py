"""A file is the old one or the new one, whole, whatever happens while it is written."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.whole_file import save_array, whole_file
from tests.small_disk import NOT_PERMITTED, fill, small_disk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("durable", [True, False])
def test_a_reader_sees_the_old_one_until_the_new_one_is_whole(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with whole_file(path, durable=durable) as file:
        file.write(b"ne")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b"w")
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_what_fails_in_the_middle_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"ne")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_called_one_and_the_old_array_stands(tmp_path: Path) -> None:
    """On a real file system of 64 KiB, where this user may mount one."""
    with small_disk(tmp_path / "disk", "64k") as mounted:
        if not mounted:
            pytest.skip(NOT_PERMITTED)
        path = tmp_path / "disk" / "array.npy"
        save_array(path, np.arange(3))
        fill(tmp_path / "disk" / "filler", spare=4096)
        with pytest.raises(OSError, match="No space left") as full:
            save_array(path, np.zeros(10_000))
        assert full.value.errno == errno.ENOSPC
        assert np.load(path).tolist() == [0, 1, 2]
        assert sorted(one.name for one in path.parent.iterdir()) == ["array.npy", "filler"]
