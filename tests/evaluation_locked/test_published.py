"""Published predictions: the forms they come in, and what is said of rows that do not match."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation_locked.dataset import DataError
from evaluation_locked.metrics import METRICS
from evaluation_locked.published import beside, read_published

if TYPE_CHECKING:
    from pathlib import Path

N = 200


def results(folder: Path, said: dict[str, float | None], task: str = "matbench_x") -> Path:
    folder.mkdir()
    path = folder / "results.json.gz"
    held = {"tasks": {task: {"results": {"fold_0": {"data": said}}}}}
    path.write_bytes(gzip.compress(json.dumps(held).encode()))
    return path


def test_every_form_comes_to_the_same_rows(tmp_path: Path) -> None:
    said = {"mb-x-003": 0.5, "mb-x-001": 1.5, "mb-x-002": None}
    ((name, from_results),) = read_published(results(tmp_path / "matbench_v0.1_Net", said), "matbench_x", 4)
    assert name == "Net"
    (tmp_path / "a.csv").write_text("id,prediction\nmb-x-003,0.5\nmb-x-001,1.5\n")
    (tmp_path / "b.csv").write_text("row,y_pred\n2,0.5\n0,1.5\n1,\n")
    np.savez(tmp_path / "c.npz", Net=np.array([1.5, np.nan, 0.5, np.nan]))
    for file in ("a.csv", "b.csv", "c.npz"):
        ((_, found),) = read_published(tmp_path / file, "matbench_x", 4)
        assert np.array_equal(found, from_results, equal_nan=True), file
    assert from_results.tolist()[::2] == [1.5, 0.5] and np.isnan(from_results[[1, 3]]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,prediction\nmb-x-009,1\n", "'mb-x-009' is no id of the 4 rows"),
        ("id,prediction\nmp-3,1\n", "'mp-3' is no id"),
        ("row,prediction\n4,1\n", "line 2: row 4 is none of the 4"),
        ("row,prediction\n1,1\n1,2\n", "line 3: 1 stands there twice"),
        ("material,gap\nx,1\n", "has the columns material, gap"),
        ("row,prediction\n1,much\n", "cannot be read"),
    ],
)
def test_a_file_about_other_rows_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_published(tmp_path / "a.csv", "matbench_x", 4))


def test_another_task_and_another_length_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds matbench_y, and this run is about matbench_x"):
        list(read_published(results(tmp_path / "y", {}, "matbench_y"), "matbench_x", 4))
    np.savez(tmp_path / "c.npz", Net=np.zeros(3))
    with pytest.raises(DataError, match=r"Net is \(3,\); a number for each of 4 rows"):
        list(read_published(tmp_path / "c.npz", "matbench_x", 4))


def test_only_rows_that_both_have_are_compared() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=N)
    ours, theirs = labels + 0.1 * rng.normal(size=N), labels + 0.2 * rng.normal(size=N)
    ours[:50], theirs[150:] = np.nan, np.nan
    found = beside(METRICS["mae"], labels, ours, theirs, np.arange(N).astype(np.uint64), "Net")
    assert not isinstance(found, str)
    assert (found.n, found.n_ours, found.n_theirs) == (100, 150, 150)
    both = slice(50, 150)
    gain = np.abs(theirs - labels)[both].mean() - np.abs(ours - labels)[both].mean()
    assert found.gain.value == pytest.approx(gain) and found.gain.low < gain < found.gain.high
    assert found.correlation == pytest.approx(
        np.corrcoef(np.abs(ours - labels)[both], np.abs(theirs - labels)[both])[0, 1]
    )
    assert found.gain_together.value == pytest.approx(found.ours - found.together)
    theirs[60:] = np.nan
    assert beside(METRICS["mae"], labels, ours, theirs, np.arange(N).astype(np.uint64), "Net") == (
        "Net: 10 of our 150 rows are among its 60; 20 at least are needed"
    )
