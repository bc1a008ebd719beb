"""Four real compounds, and one that is disordered, as the tests of every source need them."""

from pathlib import Path
from typing import Any

from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter


def rock_salt(cation: str, anion: str, a: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def quartz() -> Structure:
    lattice = Lattice.hexagonal(4.913, 5.405)
    return Structure.from_spacegroup("P3_221", lattice, ["Si", "O"], [[0.4697, 0, 2 / 3], [0.4133, 0.2672, 0.7855]])


def half_iron() -> Structure:
    return Structure(Lattice.cubic(3.5), ["Cu", {"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0], [0.5, 0.5, 0.5]])


SALTS = {
    "NaCl": rock_salt("Na", "Cl", 5.64),
    "MgO": rock_salt("Mg", "O", 4.21),
    "LiF": rock_salt("Li", "F", 4.03),
    "quartz": quartz(),
}
GAPS_EV = {"NaCl": 5.0, "MgO": 4.4, "LiF": 8.7, "quartz": 5.7}


def write_cifs(folder: Path, structures: dict[str, Structure], csv_text: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, structure in structures.items():
        CifWriter(structure).write_file(folder / f"{name}.cif")
    (folder / "id_prop.csv").write_text(csv_text)
    return folder


def salts_csv() -> str:
    return "".join(f"{name},{gap}\n" for name, gap in GAPS_EV.items())


def split_form(columns: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    return {"index": list(range(len(rows))), "columns": columns, "data": rows}


def salts_rows() -> list[list[Any]]:
    return [[structure.as_dict(), GAPS_EV[name]] for name, structure in SALTS.items()]
