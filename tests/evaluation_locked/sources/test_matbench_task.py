import gzip
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation_locked.dataset import DataError
from evaluation_locked.sources import load_source
from evaluation_locked.sources.matbench_task import download, official_splits, task_facts
from tests.evaluation_locked.sources.salts import (
    SALTS,
    split_form,
)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder on this machine: (its url, the folder)."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()
        thread.join()


@pytest.fixture
def small_task(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """Enter a file of three rows, on a local server, into the packages' list of tasks as matbench_mp_is_metal."""
    url, folder = server
    rows = [[structure.as_dict(), name == "NaCl"] for name, structure in list(SALTS.items())[:3]]
    packed = gzip.compress(json.dumps(split_form(["structure", "is_metal"], rows)).encode())
    path = folder / "matbench_mp_is_metal.json.gz"
    path.write_bytes(packed)
    task_facts("matbench_mp_is_metal")
    from matbench.metadata import mbv01_metadata

    facts = mbv01_metadata["matbench_mp_is_metal"]
    monkeypatch.setitem(facts, "url", f"{url}/{path.name}")
    monkeypatch.setitem(facts, "hash", hashlib.sha256(packed).hexdigest())
    monkeypatch.setitem(facts, "n_samples", 3)
    monkeypatch.delenv("MATMINER_DATA", raising=False)
    return url, path


def test_a_task_is_downloaded_once_and_then_comes_from_the_cache(small_task: tuple[str, Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = load_source("matbench:matbench_mp_is_metal", "is_metal", cache)
    assert first.target.tolist() == [1.0, 0.0, 0.0]
    assert first.name == "matbench_mp_is_metal"
    assert first.provenance == "is_metal of MatBench v0.1, in official row order (Dunn et al. 2020)"
    assert first.crystals.space_group.tolist() == [225, 225, 225]
    small_task[1].unlink()
    assert load_source("matbench:matbench_mp_is_metal", "is_metal", cache).content_hash() == first.content_hash()
    other_name = load_source("matbench:matbench_mp_is_metal", "metal / alloy", cache)  # from the downloaded file
    assert other_name.content_hash() == first.content_hash()


def test_a_file_in_matminers_folder_needs_no_network(
    small_task: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MATMINER_DATA", str(small_task[1].parent))
    assert len(load_source("matbench:matbench_mp_is_metal", "is_metal")) == 3
    small_task[1].write_bytes(b"<html>a login page</html>")
    with pytest.raises(DataError, match=r"is not MatBench's file: its sha256 is .*delete it"):
        load_source("matbench:matbench_mp_is_metal", "is_metal")
    monkeypatch.delenv("MATMINER_DATA")
    with pytest.raises(DataError, match="no cache folder was given"):
        load_source("matbench:matbench_mp_is_metal", "is_metal")


def test_a_task_file_of_the_wrong_length_is_refused(
    small_task: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from matbench.metadata import mbv01_metadata

    monkeypatch.setitem(mbv01_metadata["matbench_mp_is_metal"], "n_samples", 4)
    with pytest.raises(DataError, match="has 3 rows of is_metal, where MatBench has 4 of 'is_metal'"):
        load_source("matbench:matbench_mp_is_metal", "is_metal", tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation_locked.sources.matbench_task.PAUSE_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_failed_download_says_what_to_do_and_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    target = tmp_path / "cache" / "task.json.gz"
    with pytest.raises(DataError, match=r"404.*MATMINER_DATA.*--source table:FILE"):
        download(f"{url}/task.json.gz", target, "0" * 64)
    (folder / "task.json.gz").write_bytes(b"<html>moved</html>")
    with pytest.raises(DataError, match=r"18 bytes came, with sha256 .* in place of 000000000000"):
        download(f"{url}/task.json.gz", target, "0" * 64)
    with pytest.raises(DataError, match="ConnectionError"):
        download("http://127.0.0.1:9/task.json.gz", target, "0" * 64)
    assert list(target.parent.iterdir()) == []


@pytest.mark.usefixtures("impatient")
def test_a_download_that_broke_off_once_is_tried_again(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    served: list[int] = []

    class BreaksOffOnce(QuietHandler):
        def do_GET(self) -> None:
            served.append(1)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: 1_000_000 if len(served) == 1 else None])

    with ThreadingHTTPServer(("127.0.0.1", 0), BreaksOffOnce) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        download(f"http://127.0.0.1:{http.server_port}/t", tmp_path / "t", hashlib.sha256(content).hexdigest())
        http.shutdown()
        thread.join()
    assert (tmp_path / "t").read_bytes() == content
    assert len(served) == 2


def test_the_tasks_are_matbenchs_nine_structure_tasks() -> None:
    facts = task_facts("matbench_mp_gap")
    assert (facts.target, facts.unit, facts.n_rows, facts.is_classification) == ("gap pbe", "eV", 106_113, False)
    assert facts.url.startswith("https://") and len(facts.sha256) == 64
    assert task_facts("matbench_mp_is_metal").is_classification
    with pytest.raises(
        DataError, match=r"no task 'matbench_mp_gaps'; did you mean matbench_mp_gap.*structure tasks"
    ) as e:
        load_source("matbench:matbench_mp_gaps", "gap")
    assert str(e.value).split("structure tasks are")[1].count("matbench_") == 9


def test_a_task_of_compositions_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="matbench_expt_gap gives a composition for each row and no crystal structure"):
        load_source("matbench:matbench_expt_gap", "gap")


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matbench", None)  # what Python itself writes there to make an import fail
    with pytest.raises(DataError, match=r"pip install --no-deps matbench==0\.6"):
        load_source("matbench:matbench_mp_gap", "gap")


def test_official_splits_cover_every_row_once() -> None:
    test_rows = np.concatenate([test for _, test in official_splits("matbench_jdft2d")])
    assert sorted(test_rows.tolist()) == list(range(636))
