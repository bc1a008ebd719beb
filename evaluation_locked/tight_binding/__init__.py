"""The embedded data source: crystals from AFLOW's prototypes with the band gap of a small tight-binding model.

It owns the shipped table, so that the team can run without a download. It is physics, not DFT: see
`docs/tight-binding.md`. Reading it takes numpy alone; `build` makes the table anew and needs pymatgen.
"""

from __future__ import annotations

from pathlib import Path

from evaluation_locked.dataset import Dataset, load_table

NAME = "tight-binding"
TARGET = "gap_ev"
PROVENANCE = "gaps of a small tight-binding model (Harrison), physics but not DFT"
TABLE = Path(__file__).parent / "crystals.npz"


def load() -> Dataset:
    """Return the shipped crystals and their gaps in eV, in random order, so that any run of rows is a fair sample.

    Raises:
        DataError: The table is missing from the installation.
    """
    table = load_table(TABLE, TARGET)
    return Dataset(NAME, table.crystals, table.target, PROVENANCE)
