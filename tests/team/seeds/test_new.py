"""`team seed new`, as a user types it: what is found in data, what is written, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from evaluation_locked import tight_binding
from evaluation_locked.dataset import DataError, Dataset, save_table
from evaluation_locked.seed_folder import SHIPPED, SeedError
from evaluation_locked.sources.matbench_task import task_facts
from evaluation_locked.task import load_task
from memory.techniques import load_playbook
from team.running import load_seed_playbook
from team.seeds.findings import look_at
from team.seeds.proposal import matbench_task, on_matbench, suggest_caps, suggest_split
from team.seeds.writing import Wishes, new_seed
from tests.conftest import TINY_SEED
from tests.evaluation_locked.sources.salts import split_form
from tests.evaluation_locked.sources.test_matbench_task import QuietHandler

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    Team = Callable[..., subprocess.CompletedProcess[str]]

ANIONS = ("O", "S", "Se", "Te")
CATIONS = tuple("Be Mg Ca Sr Ba Zn Cd Hg Sn Pb Mn Fe Co Ni Cu Ti V Cr Sc Y La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm".split())


@pytest.fixture(scope="module")
def cifs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """128 rock salts, with their cell length and whether it is long, in a csv of another name."""
    folder = tmp_path_factory.mktemp("data") / "rock_salts"
    folder.mkdir()
    lines = ["id,length,long"]
    for i, cation in enumerate(CATIONS):
        for j, anion in enumerate(ANIONS):
            a = 4.0 + 0.4 * j + 0.02 * i
            salt = Structure(Lattice.cubic(a), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])
            CifWriter(salt).write_file(folder / f"{cation}{anion}.cif")
            lines.append(f"{cation}{anion},{a:.3f},{a > 5.0}")
    (folder / "cells.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def crystals() -> Dataset:
    return tight_binding.load().select(np.arange(0, 5715, 8))


def test_a_folder_of_cifs_becomes_a_seed_that_runs(cifs: Path, tmp_path: Path, team: Team) -> None:
    told = team("seed", "new", "lengths", "--from", cifs / "cells.csv", "--target", "length", "--unit", "angstrom")
    assert f"128 crystals of 128 formulas, {len(CATIONS) + len(ANIONS)} elements" in told.stdout
    spec = load_task(tmp_path / "lengths")
    assert (spec.name, spec.kind, spec.metric, spec.unit) == ("lengths", "regression", "mae", "angstrom")
    assert spec.source == f"cif:{cifs / 'cells.csv'}"
    assert (spec.split.cross_validation, spec.split.repeats) == (5, 2)  # 103 rows of the search are few
    assert (tmp_path / "lengths" / "train.py").read_text() == (SHIPPED / "train.py").read_text()
    brief = (tmp_path / "lengths" / "brief.md").read_text()
    assert "Labels from 4 to 5.82 angstrom, mean 4.91" in brief
    assert "`train.py` is run 10 times" in brief
    shutil.copy(TINY_SEED / "train.py", tmp_path / "lengths" / "train.py")  # the shipped one takes minutes here
    text = (tmp_path / "lengths" / "task.toml").read_text()
    (tmp_path / "lengths" / "task.toml").write_text(text.replace("check_batches = true", "check_batches = false"))
    done = team("run", "lengths", "--trials", 1, "--json")
    summary = json.loads(done.stdout)
    assert (summary["n_validation"], summary["trained"]) == (102, 1)
    (run,) = (tmp_path / "runs").iterdir()
    assert len(np.load(next((run / "trials").glob("0000-*")) / "predictions.npy")) == 2 * 102
    assert (run / "seed" / "playbook" / "width.md").is_file()  # lent, and kept with the run
    told_models = (run / "seed" / "brief.md").read_text()
    assert told_models.startswith(brief.rstrip()) and "## Off limits" in told_models and "band gap" not in told_models


def test_words_become_classes_and_their_playbook_holds_no_loss_of_a_regression(cifs: Path, tmp_path: Path) -> None:
    made = new_seed(tmp_path / "long", Wishes(str(cifs / "cells.csv"), "long"), cache=None, gpu=False)
    assert (made.spec.kind, made.spec.metric) == ("classification", "roc_auc")
    assert set(made.spec.leave_out) == {"loss", "zero-inflation"}
    left = {technique.family for technique in load_seed_playbook(made.folder, made.spec.leave_out)}
    assert not left & {"loss", "zero-inflation"} and "pooling" in left


def test_a_number_becomes_a_class_by_a_comparison(crystals: Dataset, tmp_path: Path) -> None:
    save_table(tmp_path / "gaps.npz", crystals, "gap_ev")
    made = new_seed(tmp_path / "metal", Wishes(str(tmp_path / "gaps.npz"), "gap_ev == 0"), cache=None, gpu=False)
    assert made.spec.kind == "classification" and load_task(made.folder).target == "gap_ev == 0"
    assert made.findings.summary.target_mean == pytest.approx((crystals.target == 0).mean())


def test_what_is_asked_is_refused_with_the_mend(cifs: Path, tmp_path: Path, team: Team) -> None:
    (tmp_path / "there").mkdir()
    lines = {
        ("there", "--from", cifs): "there exists, and nothing is written over",
        ("a", "--from", cifs / "cells.csv"): "has 2 properties (length, long): choose one with --target",
        ("a", "--from", cifs): "it has cells.csv, so name that",
        (
            "a",
            "--from",
            cifs / "cells.csv",
            "--target",
            "length",
            "--kind",
            "classification",
        ): "make a class of a number",
        ("a", "--from", cifs / "cells.csv", "--target", "length", "--metric", "f1"): "use one of mae, rmse, max_error",
        ("a", "--from", "matbench_steels"): "no crystal structure",
        ("a", "--from", "nowhere"): "no kind of source is called 'nowhere'",
    }
    for arguments, words in lines.items():
        done = team("seed", "new", *arguments, check=False)
        assert done.returncode == 1 and words in " ".join(done.stderr.split()), done.stderr
        assert not (tmp_path / "a").exists()


def test_bad_rows_are_named_and_left_out_only_when_asked(cifs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cifs"
    shutil.copytree(cifs, folder)
    lines = (folder / "cells.csv").read_text().splitlines()
    (folder / "cells.csv").write_text("\n".join([*lines[:-1], "ghost,1.0,True", lines[-1].replace("5.820", "n/a")]))
    wishes = Wishes(str(folder / "cells.csv"), "length")
    with pytest.raises(DataError, match=r"2 of 129 rows.*(?s:.)*ghost(?s:.)*'n/a', which is no finite number"):
        new_seed(tmp_path / "a", wishes, cache=None, gpu=False)
    assert not (tmp_path / "a").exists()
    made = new_seed(tmp_path / "a", Wishes(wishes.source, "length", skip_bad=True), cache=None, gpu=False)
    assert (
        made.findings.summary.n == 127 and "2 of 129 rows could not be used" in (made.folder / "brief.md").read_text()
    )
    assert load_task(made.folder).source == f"table:{made.folder / 'crystals.npz'}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "cifs"]


def test_findings_of_doubles_and_outliers(crystals: Dataset) -> None:
    rows = np.concatenate([np.arange(len(crystals)), np.arange(100)])  # a hundred crystals twice
    target = crystals.target[rows].copy()
    target[len(crystals) :] += 0.25
    target[0] = 1000.0
    found = look_at(Dataset("doubled", crystals.crystals.select(rows), target, ""))
    assert found.n_doubles >= 100 and found.doubles_differ == pytest.approx(0.25)
    assert found.outliers[0] == (crystals.crystals.formula(0), 1000.0)
    assert 0 < found.structure_across < found.formula_across < 1


def test_structures_across_the_split_are_those_a_loop_finds(crystals: Dataset) -> None:
    from evaluation_locked.splits import official_folds

    rows = np.concatenate([np.arange(len(crystals)), np.arange(100)])
    doubled = crystals.select(rows)
    train, test = official_folds(len(doubled))[0]
    table = doubled.crystals
    keys, volume = table.formula_keys(), table.volumes() / table.n_atoms
    near = [
        any(
            keys[i] == keys[j]
            and table.space_group[i] == table.space_group[j]
            and abs(volume[i] / volume[j] - 1) <= 0.01
            for j in train
        )
        for i in test
    ]
    assert look_at(doubled).structure_across == pytest.approx(np.mean(near))
    assert sum(near) > 10


def test_labels_that_are_all_one_value_are_refused(crystals: Dataset) -> None:
    with pytest.raises(DataError, match="every label is 0, so there is nothing to predict"):
        look_at(Dataset("flat", crystals.crystals, np.zeros(len(crystals)), ""))


@pytest.mark.parametrize(
    ("n_rows", "cut"), [(636, (5, 2)), (1265, (5, 1)), (4764, (0, 1)), (106_113, (0, 1)), (3700, (5, 1))]
)
def test_few_rows_are_judged_by_cross_validation(n_rows: int, cut: tuple[int, int]) -> None:
    split = suggest_split(n_rows)
    assert (split.cross_validation, split.repeats) == cut


def test_caps_grow_with_the_data_and_shrink_on_a_gpu() -> None:
    small, large = suggest_split(600), suggest_split(106_113)
    few = suggest_caps(600, 6000, small, gpu=False)
    many = suggest_caps(106_113, 3_184_984, large, gpu=False)
    quick = suggest_caps(106_113, 3_184_984, large, gpu=True)
    assert few.train_seconds < quick.train_seconds < many.train_seconds == 1500
    assert few.memory_gib == 8 < many.memory_gib
    assert many.featurise_seconds > 600


@pytest.fixture
def served_task(cifs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve the rock salts on this machine as the file of matbench_mp_is_metal."""
    rows = [[Structure.from_file(path).as_dict(), path.stem.endswith("O")] for path in sorted(cifs.glob("*.cif"))]
    packed = gzip.compress(json.dumps(split_form(["structure", "is_metal"], rows)).encode())
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "matbench_mp_is_metal.json.gz").write_bytes(packed)
    task_facts("matbench_mp_is_metal")
    from matbench.metadata import mbv01_metadata

    facts = mbv01_metadata["matbench_mp_is_metal"]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        monkeypatch.setitem(facts, "url", f"http://127.0.0.1:{http.server_port}/matbench_mp_is_metal.json.gz")
        monkeypatch.setitem(facts, "hash", hashlib.sha256(packed).hexdigest())
        monkeypatch.setitem(facts, "n_samples", len(rows))
        monkeypatch.delenv("MATMINER_DATA", raising=False)
        yield folder
        http.shutdown()
        thread.join()


def test_a_matbench_task_is_downloaded_and_becomes_a_seed(served_task: Path, tmp_path: Path) -> None:
    made = new_seed(tmp_path / "metals", Wishes("matbench_mp_is_metal"), cache=tmp_path / "cache", gpu=False)
    assert (made.spec.kind, made.spec.metric, made.spec.target) == ("classification", "roc_auc", "is_metal")
    assert made.findings.summary.target_mean == 0.25  # one anion of four
    assert load_task(made.folder).source == "matbench:matbench_mp_is_metal"


def test_a_matbench_task_turns_the_shipped_seed(team: Team) -> None:
    spec = on_matbench(load_task(SHIPPED), "matbench_phonons")
    assert (spec.source, spec.target, spec.metric) == ("matbench:matbench_phonons", "last_phdos_peak", "mae")
    assert spec.split.cross_validation == 5 and spec.set_aside_below is None and spec.check_batches
    assert on_matbench(load_task(SHIPPED), "matbench_mp_is_metal").metric == "roc_auc"
    whole = on_matbench(load_task(SHIPPED), "matbench_mp_gap")
    assert (whole.source, whole.set_aside_below) == ("matbench:matbench_mp_gap", load_task(SHIPPED).set_aside_below)
    assert matbench_task("matbench_log_gvrh")["unit"]
    done = team("run", "--task", "matbench_steels", check=False)
    assert done.returncode == 1 and "no crystal structure" in done.stderr


def test_what_a_task_leaves_out_must_be_known() -> None:
    whole = load_playbook(SHIPPED / "playbook")
    rest = load_playbook(SHIPPED / "playbook", ("loss", "hurdle-head"))
    assert {t.id for t in whole} - {t.id for t in rest} >= {"huber", "hurdle-head"}
    assert all("huber" not in t.conflicts for t in rest)
    with pytest.raises(Exception, match="leave_out names 'los', which is no entry of the playbook and no family"):
        load_playbook(SHIPPED / "playbook", ("los",))


def test_a_name_that_is_taken_is_an_error_of_the_seed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(SeedError, match="nothing is written over"):
        new_seed(tmp_path / "a", Wishes("tight-binding"), cache=None, gpu=False)
