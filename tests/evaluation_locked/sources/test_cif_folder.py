import os
from pathlib import Path

import numpy as np
import pytest
from pymatgen.io.cif import CifWriter

from evaluation_locked.dataset import DataError, load_table
from evaluation_locked.sources import load_source
from evaluation_locked.sources.cif_folder import load_cif_folder
from tests.evaluation_locked.sources.salts import GAPS_EV, SALTS, half_iron, rock_salt, salts_csv, write_cifs


def test_a_folder_of_cifs_is_read_in_the_order_of_its_csv(tmp_path: Path) -> None:
    dataset = load_source(f"cif:{write_cifs(tmp_path / 'salts', SALTS, salts_csv())}", "gap_ev")
    assert dataset.name == "salts"
    assert dataset.provenance == "gap_ev from id_prop.csv of the folder salts"
    assert [dataset.crystals.formula(row) for row in range(4)] == ["NaCl", "OMg", "LiF", "O2Si"]
    assert dataset.target.tolist() == list(GAPS_EV.values())
    assert dataset.crystals.space_group.tolist() == [225, 225, 225, 154]


@pytest.mark.parametrize(
    "csv_text",
    [
        "id,gap_ev,e_form\nNaCl,5.0,-2.1\nMgO,4.4,-3.0\n",
        "\ufeffid,e_form,gap_ev\nNaCl,-2.1,5.0\n\nMgO,-3.0,4.4\n",
        "material,band gap\nNaCl.cif,5.0\nMgO.cif,4.4\n",
        "NaCl,0,5.0\nMgO,0,4.4\n",
    ],
    ids=[
        "named column",
        "named last column, BOM, blank line",
        "only property, ids with .cif",
        "no header: last column",
    ],
)
def test_the_property_is_the_named_or_the_only_or_the_last_column(tmp_path: Path, csv_text: str) -> None:
    dataset = load_cif_folder(write_cifs(tmp_path, SALTS, csv_text), "gap_ev")
    assert dataset.target.tolist() == [5.0, 4.4]
    assert "2 CIFs have no row and were not used" in dataset.provenance


def test_several_properties_and_none_of_that_name_ask_for_one(tmp_path: Path) -> None:
    folder = write_cifs(tmp_path, SALTS, "id,gap,e_form\nNaCl,5.0,-2.1\n")
    with pytest.raises(DataError, match="no column 'gap_ev'; it has gap, e_form: set `target`"):
        load_cif_folder(folder, "gap_ev")


def test_a_bad_value_in_the_first_line_is_not_taken_for_a_header(tmp_path: Path) -> None:
    folder = write_cifs(tmp_path, SALTS, "missing,n/a\nNaCl,5.0\n")
    with pytest.raises(DataError, match=r"1 of 2 rows[\s\S]*line 1 \(missing\): the value is 'n/a'"):
        load_cif_folder(folder, "gap_ev")


BAD_CSV = (
    "id,gap\nNaCl,5.0\nMgO,nan\nLiF,eight\nquartz\nabsent,1.0\nalloy,0.0\ntorn,1.0\nNaCl,4.0\nbare,2.0\nquartz,inf\n"
)


def bad_folder(folder: Path) -> Path:
    write_cifs(folder, SALTS | {"alloy": half_iron()}, BAD_CSV)
    (folder / "torn.cif").write_text("data_torn\n_cell_length_a 4.0\nloop_\n")
    text = (folder / "NaCl.cif").read_text()
    (folder / "bare.cif").write_text(text.replace("'Na4 Cl4'", "'Na4 Cl4 H8'"))
    return folder


def test_all_bad_rows_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_cif_folder(bad_folder(tmp_path), "gap")
    message = str(caught.value)
    assert message.startswith("9 of 10 rows of id_prop.csv cannot be used; mend them, or leave all of them out")
    for text in (
        "line 3 (MgO): the value is 'nan', which is no finite number; fill it in or delete the line",
        "line 4 (LiF): the value is 'eight'",
        "line 5 (quartz): the value is ''",
        "line 6 (absent): there is no file absent.cif; add it or delete the line",
        "line 7 (alloy): alloy.cif: site ",
        "line 8 (torn): torn.cif cannot be parsed as CIF (",
        "line 9 (NaCl): the id stands in line 2 already",
        "line 10 (bare): bare.cif: its atoms do not make its formula (Missing elements H",
        "line 11 (quartz): the id stands in line 5 already",
    ):
        assert text in message


def test_more_than_ten_bad_rows_are_counted(tmp_path: Path) -> None:
    folder = write_cifs(tmp_path, {"NaCl": SALTS["NaCl"]}, "NaCl,1.0\n" + "".join(f"x{i},1.0\n" for i in range(14)))
    with pytest.raises(DataError, match=r"14 of 15 rows[\s\S]*\(x9\)[\s\S]*\.\.\. and 4 more") as caught:
        load_cif_folder(folder, "gap")
    assert "(x10)" not in str(caught.value)


def test_bad_rows_are_left_out_only_when_asked_and_then_counted(tmp_path: Path) -> None:
    folder, cache = bad_folder(tmp_path / "mixed"), tmp_path / "cache"
    for _ in range(2):  # the second time from the cache
        dataset = load_source(f"cif:{folder}", "gap", cache, skip_bad=True)
        assert dataset.target.tolist() == [5.0]
        assert "; 9 of 10 rows could not be used and were left out" in dataset.provenance
    with pytest.raises(DataError, match="9 of 10 rows"):
        load_source(f"cif:{folder}", "gap", cache)


def test_a_folder_with_no_usable_row_is_refused_even_when_skipping(tmp_path: Path) -> None:
    folder = write_cifs(tmp_path, {}, "a,1.0\nb,2.0\n")
    with pytest.raises(DataError, match=r"2 of 2 rows of id_prop\.csv cannot be used; no row is left"):
        load_cif_folder(folder, "gap", skip_bad=True)


def test_a_folder_without_a_csv_or_with_an_empty_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        load_cif_folder(tmp_path / "nowhere", "gap")
    with pytest.raises(DataError, match=r"no id_prop.csv in .*it has no such file"):
        load_cif_folder(tmp_path, "gap")
    with pytest.raises(DataError, match="has no rows"):
        load_cif_folder(write_cifs(tmp_path, {}, "id,gap\n"), "gap")


def test_a_cif_of_two_structures_is_refused(tmp_path: Path) -> None:
    folder = write_cifs(tmp_path, SALTS, "NaCl,5.0\n")
    two = (folder / "NaCl.cif").read_text() + (folder / "MgO.cif").read_text()
    (folder / "NaCl.cif").write_text(two)
    with pytest.raises(DataError, match=r"NaCl\.cif holds 2 structures; keep one data block"):
        load_cif_folder(folder, "gap")


def test_the_cache_answers_until_a_file_changes(tmp_path: Path) -> None:
    folder, cache = write_cifs(tmp_path / "salts", SALTS, salts_csv()), tmp_path / "cache"
    first = load_cif_folder(folder, "gap", cache=cache)
    (table,) = cache.iterdir()
    assert load_cif_folder(folder, "gap", cache=cache).content_hash() == first.content_hash()
    assert load_table(table, "gap").content_hash() == first.content_hash()

    table.write_bytes(b"torn")  # as if the disk had been full: the folder is read again
    assert load_cif_folder(folder, "gap", cache=cache).content_hash() == first.content_hash()

    CifWriter(rock_salt("Na", "Cl", 5.7)).write_file(folder / "NaCl.cif")
    os.utime(folder / "NaCl.cif", ns=(1, 1))
    changed = load_cif_folder(folder, "gap", cache=cache)
    assert changed.crystals.lattice_parameters[0, 0] == pytest.approx(5.7)
    assert len(list(cache.iterdir())) == 2


def test_worker_processes_give_what_this_process_gives(tmp_path: Path) -> None:
    lengths = np.linspace(5.0, 6.0, 320)
    text = CifWriter(SALTS["NaCl"]).__str__()
    for row, length in enumerate(lengths):
        (tmp_path / f"salt{row}.cif").write_text(text.replace("5.64000000", f"{length:.8f}"))
    (tmp_path / "id_prop.csv").write_text("".join(f"salt{row},{row}\n" for row in range(len(lengths))))
    dataset = load_cif_folder(tmp_path, "gap", with_space_group=False)
    np.testing.assert_allclose(dataset.crystals.lattice_parameters[:, 0], lengths, atol=1e-8)
    assert dataset.target.tolist() == list(range(len(lengths)))
