"""Where crystals come from: one text such as `matbench:matbench_mp_gap` names a source.

It owns the naming of sources and the summary that is shown of a data set. Importing it imports numpy alone; what a
source needs (pymatgen, matbench) is imported when that source is read.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluation_locked.dataset import CRYSTAL_ARRAYS, DataError, Dataset, load_table

KINDS = {
    "tight-binding": "the crystals that ship with the project",
    "matbench:TASK": "a structure task of MatBench, such as matbench:matbench_mp_gap",
    "cif:FOLDER": "a folder of CIF files with id_prop.csv, or cif:FOLDER/NAME.csv for another csv beside them",
    "json:FILE": "pymatgen Structures as JSON, as matminer writes them",
    "table:FILE": "a table file (.npz) of `team data import`",
}
_SIGNS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(rf"(?P<column>.*?\S)\s*(?P<sign>{'|'.join(_SIGNS)})\s*(?P<bound>[-+0-9.eE]+)")
ATOM_PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class Summary:
    """A data set in numbers.

    Attributes:
        n: Number of crystals.
        atoms_percentiles: (percentile, atoms in the cell) for each of `ATOM_PERCENTILES`.
        atoms_max: Atoms in the largest cell.
        n_elements: Number of different elements.
        n_formulas: Number of different reduced formulas.
        shared_formula_share: Share of crystals whose reduced formula another crystal has too, 0 to 1.
        target_min: Smallest value of the property, in its unit; likewise the next three.
        target_median: Median.
        target_mean: Mean.
        target_max: Largest value.
        zero_share: Share of values that are exactly 0 (metals, for a band gap), 0 to 1.
        mean_predictor_mae: Mean absolute error of always saying the mean.
        median_predictor_mae: Mean absolute error of always saying the median, the least that any constant can have.
    """

    n: int
    atoms_percentiles: tuple[tuple[int, float], ...]
    atoms_max: int
    n_elements: int
    n_formulas: int
    shared_formula_share: float
    target_min: float
    target_median: float
    target_mean: float
    target_max: float
    zero_share: float
    mean_predictor_mae: float
    median_predictor_mae: float


def load_source(spec: str, target_name: str, cache: Path | None = None, *, skip_bad: bool = False) -> Dataset:
    """Read the data set that a text names, and check it.

    Args:
        spec: One of `KINDS`; a path may be relative and may begin with `~`.
        target_name: The property to predict: a column or array of the source, and its name in cached tables; or a
            comparison such as `gap_pbe == 0`, which is the class 1 where it holds and 0 where not.
        cache: Folder for downloads and for tables of sources that are slow to read; None keeps nothing.
        skip_bad: Leave out rows that cannot be used, for `cif` and `json`; the provenance tells how many.

    Raises:
        DataError: No such kind of source, or the source cannot be used; the message says how to mend it.
        CrystalError: A crystal of a table file cannot be featurised.
    """
    if target_name in (*CRYSTAL_ARRAYS, "file", ""):
        raise DataError(f"a property cannot be called {target_name!r} in a table file; set `target` to another name")
    derived = _COMPARISON.fullmatch(target_name)
    if derived is None:
        dataset = _reader_of(spec, target_name, cache, skip_bad)()
        dataset.check()
        return dataset
    column, sign, bound = derived["column"], derived["sign"], float(derived["bound"])
    dataset = load_source(spec, column, cache, skip_bad=skip_bad)
    classes = _SIGNS[sign](dataset.target, bound).astype(np.float64)
    return replace(dataset, target=classes, provenance=f"1 where {column} {sign} {bound:g}, of {dataset.provenance}")


def describe(dataset: Dataset) -> Summary:
    """Return a data set in numbers.

    Raises:
        DataError: It is empty.
    """
    if not len(dataset):
        raise DataError(f"{dataset.name} holds no crystals; there is nothing to describe")
    crystals, target = dataset.crystals, dataset.target
    _, formula, count = np.unique(crystals.formula_keys(), return_inverse=True, return_counts=True)
    percentiles = np.percentile(crystals.n_atoms, ATOM_PERCENTILES)
    mean, median = float(target.mean()), float(np.median(target))
    return Summary(
        n=len(dataset),
        atoms_percentiles=tuple((p, float(atoms)) for p, atoms in zip(ATOM_PERCENTILES, percentiles, strict=True)),
        atoms_max=int(crystals.n_atoms.max()),
        n_elements=len(np.unique(crystals.atomic_numbers)),
        n_formulas=len(count),
        shared_formula_share=float((count[formula] > 1).mean()),
        target_min=float(target.min()),
        target_median=median,
        target_mean=mean,
        target_max=float(target.max()),
        zero_share=float((target == 0).mean()),
        mean_predictor_mae=float(np.abs(target - mean).mean()),
        median_predictor_mae=float(np.abs(target - median).mean()),
    )


def _reader_of(spec: str, target_name: str, cache: Path | None, skip_bad: bool) -> Callable[[], Dataset]:
    """Return what reads the source, or refuse the text."""
    kind, _, rest = spec.strip().partition(":")
    if kind not in {known.partition(":")[0] for known in KINDS}:
        raise DataError(f"no kind of source is called {spec!r}{_close_to(spec) or '.'} {_known()}")
    if (kind == "tight-binding") == bool(rest):
        raise DataError(
            f"the source {spec!r} {'takes nothing after its name' if rest else 'is incomplete'}. {_known()}"
        )
    if skip_bad and kind not in ("cif", "json"):
        raise DataError(f"rows can be left out of cif and json sources only, and this one is {spec!r}: drop skip_bad")
    path = Path(rest).expanduser()

    def read() -> Dataset:
        if kind == "matbench":
            from evaluation_locked.sources.matbench_task import load_matbench_task

            return load_matbench_task(rest, target_name, cache=cache)
        if kind == "cif":
            from evaluation_locked.sources.cif_folder import load_cif_folder

            return load_cif_folder(path, target_name, cache=cache, skip_bad=skip_bad)
        if kind == "json":
            from evaluation_locked.sources.structure_json import load_structure_json

            return load_structure_json(path, target_name, cache=cache, skip_bad=skip_bad)
        if kind == "table":
            return load_table(path, target_name)
        from evaluation_locked import tight_binding

        if target_name != tight_binding.TARGET:
            raise DataError(f"tight-binding has no property {target_name!r}; it has {tight_binding.TARGET}")
        return tight_binding.load()

    return read


def _known() -> str:
    return "Known: " + "; ".join(f"{kind} ({what})" for kind, what in KINDS.items())


def _close_to(spec: str) -> str:
    """Return a question for the source that was probably meant, or nothing."""
    path = Path(spec).expanduser()
    if spec.startswith("matbench_"):
        return f"; did you mean matbench:{spec}?"
    if path.is_dir():
        return f"; did you mean cif:{spec}?"
    if path.suffix in (".npz", ".json", ".gz", ".bz2"):
        return f"; did you mean {'table' if path.suffix == '.npz' else 'json'}:{spec}?"
    kind, _, rest = spec.partition(":")
    close = difflib.get_close_matches(kind.lower(), [known.partition(":")[0] for known in KINDS], n=1, cutoff=0.5)
    if not close:
        return ""
    return f"; did you mean {close[0]}{':' + rest if rest and close[0] != 'tight-binding' else ''}?"
