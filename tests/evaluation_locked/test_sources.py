import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evaluation_locked.crystals import Crystals
from evaluation_locked.dataset import DataError, Dataset, save_table
from evaluation_locked.sources import describe, load_source
from evaluation_locked.sources.structures import crystals_from_structures, space_groups
from tests.evaluation_locked.sources.salts import SALTS


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "tight_binding",
            r"no kind of source is called 'tight_binding'; did you mean tight-binding\?.*Known:.*cif:FOLDER",
        ),
        ("matbench_mp_gap", r"did you mean matbench:matbench_mp_gap\?"),
        ("matbnch:matbench_mp_gap", r"did you mean matbench:matbench_mp_gap\?"),
        ("crystals.npz", r"did you mean table:crystals.npz\?"),
        ("crystals.json.gz", r"did you mean json:crystals.json.gz\?"),
        ("http://x", r"no kind of source is called 'http://x'\. Known: tight-binding"),
        ("cif:", "'cif:' is incomplete"),
        ("tight-binding:small", "takes nothing after its name"),
    ],
)
def test_a_source_that_is_none_is_refused_with_the_likely_one(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_source(spec, "gap")


def test_a_bare_folder_is_asked_about(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"did you mean cif:"):
        load_source(str(tmp_path), "gap")


def test_only_cif_and_json_rows_can_be_left_out() -> None:
    with pytest.raises(DataError, match="cif and json sources only"):
        load_source("tight-binding", "gap_ev", skip_bad=True)


@pytest.mark.parametrize("name", ["space_group", "file", ""])
def test_a_property_with_the_name_of_a_structure_array_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="a property cannot be called"):
        load_source(f"cif:{tmp_path}", name)


def small_dataset(target: list[float]) -> Dataset:
    doubled = SALTS["NaCl"] * (2, 1, 1)
    crystals = crystals_from_structures(
        [SALTS["NaCl"], SALTS["quartz"], doubled, SALTS["MgO"]], list("abcd"), with_space_group=False
    )
    return Dataset("small", crystals, np.array(target), "made here")


def test_a_table_file_is_read_and_checked(tmp_path: Path) -> None:
    save_table(tmp_path / "small.npz", small_dataset([1.0, 0.0, 3.0, 0.0]), "gap")
    dataset = load_source(f"table:{tmp_path / 'small.npz'}", "gap")
    assert dataset.content_hash() == small_dataset([1.0, 0.0, 3.0, 0.0]).content_hash()
    save_table(tmp_path / "holes.npz", small_dataset([1.0, float("nan"), 3.0, float("nan")]), "gap")
    with pytest.raises(DataError, match=r"the target of row 1 \(O2Si\) is nan; 2 of 4 rows"):
        load_source(f"table:{tmp_path / 'holes.npz'}", "gap")


def test_coordinates_of_a_foreign_table_are_wrapped_into_the_cell(tmp_path: Path) -> None:
    inside = small_dataset([1.0, 0.0, 3.0, 0.0])
    arrays = inside.crystals.arrays()
    shifted = arrays["frac_coords_e8"] + np.array([[0], [100_000_000], [-100_000_000]], dtype=np.int32)
    outside = Crystals.from_arrays(arrays | {"frac_coords_e8": shifted})
    save_table(tmp_path / "t.npz", Dataset("t", outside, inside.target, ""), "gap")
    assert load_source(f"table:{tmp_path / 't.npz'}", "gap").content_hash() == inside.content_hash()


def test_a_summary_counts_what_a_reader_would_count() -> None:
    summary = describe(small_dataset([1.0, 0.0, 3.0, 0.0]))
    assert (summary.n, summary.n_elements, summary.n_formulas, summary.atoms_max) == (4, 5, 3, 16)
    assert summary.shared_formula_share == 0.5  # NaCl in a single and in a doubled cell
    assert dict(summary.atoms_percentiles)[50] == 8.5  # of 8, 9, 16, 8
    assert (summary.target_min, summary.target_median, summary.target_mean, summary.target_max) == (0.0, 0.5, 1.0, 3.0)
    assert summary.zero_share == 0.5
    assert (summary.mean_predictor_mae, summary.median_predictor_mae) == (1.0, 1.0)
    with pytest.raises(DataError, match="holds no crystals"):
        describe(small_dataset([1.0, 0.0, 3.0, 0.0]).select(np.zeros(0, dtype=np.int64)))


def test_the_shipped_crystals_load_and_have_gaps() -> None:
    summary = describe(load_source("tight-binding", "gap_ev"))
    assert summary.n > 1000
    assert summary.target_min == 0.0 and 0.1 < summary.zero_share < 0.9


def test_importing_the_sources_imports_no_heavy_library() -> None:
    code = (
        "import sys, evaluation_locked.sources, evaluation_locked.splits, evaluation_locked.baselines;"
        "heavy = {'pymatgen', 'matbench', 'matminer', 'pandas', 'sklearn', 'spglib', 'requests', 'torch'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif("TEAM_TEST_DATA" not in os.environ, reason="TEAM_TEST_DATA is not set")
def test_the_whole_of_matbench_mp_gap_loads_and_is_summarised() -> None:
    dataset = load_source(f"table:{Path(os.environ['TEAM_TEST_DATA']) / 'matbench_mp_gap.npz'}", "gap_pbe")
    assert len(dataset) == 106_113
    coords = dataset.crystals.frac_coords_e8
    assert coords.min() >= 0 and coords.max() < 100_000_000
    summary = describe(dataset)
    assert dict(summary.atoms_percentiles) == {5: 4, 25: 10, 50: 20, 75: 40, 95: 88, 99: 144}
    assert summary.atoms_max == 444
    assert summary.zero_share == pytest.approx(0.435, abs=5e-4)
    assert summary.shared_formula_share == pytest.approx(0.374, abs=5e-4)
    assert summary.mean_predictor_mae == pytest.approx(1.327, abs=1e-3)
    some = np.arange(0, 106_113, 1000)
    np.testing.assert_array_equal(space_groups(dataset.select(some).crystals), dataset.crystals.space_group[some])
