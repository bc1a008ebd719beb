"""The command line's surface: start-up, help, doctor, data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core import Lattice, Structure

if TYPE_CHECKING:
    from collections.abc import Callable

    Team = Callable[..., subprocess.CompletedProcess[str]]


def test_start_up_imports_nothing_heavy() -> None:
    heavy = ("torch", "chromadb", "langgraph", "pymatgen", "numpy")
    code = f"import sys, team.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command(team: Team) -> None:
    text = team("--help").stdout
    for command in ("run", "resume", "status", "graph", "evaluate", "doctor", "data"):
        assert f" {command} " in text


def test_doctor_finds_our_own_packages_and_the_sandbox(team: Team) -> None:
    found = {check["name"]: check for check in json.loads(team("doctor", "--json").stdout)}
    for name in ("team", "graph", "memory", "crystal_seed", "evaluation_locked"):
        assert found[f"package {name}"]["state"] == "ok"
        assert found[f"package {name}"]["found"].endswith(f"/{name}")
    assert found["sandbox: landlock"]["found"].startswith("landlock ")
    assert found["sandbox: scores"]["found"].startswith("sealed")


def test_doctor_names_a_package_that_hides_ours(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "__init__.py").write_text("")
    root = Path(__file__).parents[2]
    code = f"""
import sys
sys.meta_path = [finder for finder in sys.meta_path if "ditable" not in repr(finder)]
sys.path[:0] = [{str(tmp_path)!r}]
sys.path.append({str(root)!r})
from pathlib import Path
from team.doctor import _packages
print([check.state for check in _packages() if check.name == "package memory"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "['fail']"


def test_data_shows_and_imports_a_folder_of_cifs(team: Team, tmp_path: Path) -> None:
    folder = tmp_path / "cifs"
    folder.mkdir()
    for i in range(4):
        structure = Structure(Lattice.cubic(4 + i / 10), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        (folder / f"c{i}.cif").write_text(structure.to(fmt="cif"))
    (folder / "id_prop.csv").write_text("".join(f"c{i},{i}.5\n" for i in range(4)))
    team("data", "import", f"cif:{folder}", "t.npz")
    shown = json.loads(team("data", "show", "table:t.npz", "--json").stdout)
    assert shown["n"] == 4
    assert shown["target_max"] == 3.5
    with np.load(tmp_path / "t.npz") as file:
        np.testing.assert_allclose(file["lattice_parameters"][:, 0], [4.0, 4.1, 4.2, 4.3])
    disordered = Structure(Lattice.cubic(4), [{"Na": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (folder / "c2.cif").write_text(disordered.to(fmt="cif"))
    done = team("data", "import", f"cif:{folder}", "u.npz", check=False)
    assert done.returncode == 1
    assert "c2" in done.stderr and "0.5" in done.stderr
