"""Where the champion is wrong: by size of the target, by kind of crystal, by element, and crystal by crystal.

It reads the labels of search-validation, so that what it returns is for the person who owns the data alone: see the
docstring of `team.report`. Official test rows are in no file that it opens.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation_locked.crystals import SYMBOLS, Crystals
from team.report.palette import BARS, BEST, HEAT, SEED, heat_colour, readable_on

if TYPE_CHECKING:
    from graph.run_folder import RunFolder
    from memory.history import History

Figure = dict[str, Any]

SHOWN_POINTS = 2_000
WORST = 12
MIN_CRYSTALS = 3  # with an element, below which its mean error says nothing
ZERO_SHARE = 0.05  # of the labels, from which zero is a class of its own: a metal's gap
SAID_ZERO_BELOW = 0.1  # of the target's unit: a prediction below it says metal
N_RANGES = 6


@dataclass(frozen=True)
class Errors:
    """Labels and predictions of the rows that judge.

    Attributes:
        crystals: The validation crystals.
        labels: [n], in the target's unit.
        champion: [n], the mean prediction over the champion's trainings.
        seed: [n], the same of the seed; None while the seed is the champion.
        n_trainings: Of the champion.
    """

    crystals: Crystals
    labels: np.ndarray
    champion: np.ndarray
    seed: np.ndarray | None
    n_trainings: int

    @property
    def is_gap(self) -> bool:
        """Whether the target has a lower end of exactly zero where many crystals lie, as a band gap has."""
        share = float((self.labels == 0).mean())
        return float(self.labels.min()) == 0 and ZERO_SHARE <= share <= 1 - ZERO_SHARE


def load_errors(folder: RunFolder, history: History) -> Errors | None:
    """Read what the error panels need; None where there is no champion yet."""
    champion, keeps = history.champion, history.keeps
    if champion is None:
        return None
    ours = history.replicates_of(champion.number)
    with np.load(folder.locked / "validation.npz", allow_pickle=False) as file:
        crystals = Crystals.from_arrays(file)
    labels = np.load(folder.locked / "validation_labels.npy", allow_pickle=False)
    is_seed = keeps[0] == champion.number
    return Errors(
        crystals=crystals,
        labels=labels,
        champion=_mean_prediction(folder, ours),
        seed=None if is_seed else _mean_prediction(folder, history.replicates_of(keeps[0])),
        n_trainings=len(ours),
    )


def parity_figure(errors: Errors, unit: str) -> Figure:
    """Return prediction against label, for an even sample where there are very many."""
    rows = np.unique(np.linspace(0, len(errors.labels) - 1, min(len(errors.labels), SHOWN_POINTS)).astype(int))
    worst = worst_rows(errors)
    low = float(min(errors.labels.min(), errors.champion.min()))
    high = float(max(errors.labels.max(), errors.champion.max()))
    axis = f" ({unit})" if unit else ""
    point = "%{text}<br>label %{x:.3f}, predicted %{y:.3f}<extra></extra>"
    return {
        "data": [
            {
                "type": "scatter",
                "name": "as labelled",
                "mode": "lines",
                "x": [low, high],
                "y": [low, high],
                "line": {"color": SEED, "width": 1, "dash": "dash"},
                "hoverinfo": "skip",
            },
            {
                "type": "scatter",
                "name": "crystal",
                "mode": "markers",
                "x": _rounded(errors.labels[rows]),
                "y": _rounded(errors.champion[rows]),
                "text": [errors.crystals.formula(row) for row in rows],
                "marker": {"size": 5, "color": "#3d86cc", "opacity": 0.45},
                "hovertemplate": point,
            },
            {
                "type": "scatter",
                "name": f"the worst {len(worst)}",
                "mode": "markers",
                "x": _rounded(errors.labels[worst]),
                "y": _rounded(errors.champion[worst]),
                "text": [errors.crystals.formula(row) for row in worst],
                "marker": {"size": 10, "color": "#db4b4b", "symbol": "x-thin-open", "line": {"width": 2}},
                "hovertemplate": point,
            },
        ],
        "layout": {
            "height": 420,
            "xaxis": {"title": {"text": f"label{axis}"}, "zeroline": False},
            "yaxis": {"title": {"text": f"prediction of the champion{axis}"}, "zeroline": False},
            "hovermode": "closest",
        },
    }


def range_figure(errors: Errors, unit: str) -> Figure:
    """Return the mean absolute error of champion and seed by range of the label, each with its 95 % interval."""
    names, masks = label_ranges(errors)
    axis = f" ({unit})" if unit else ""
    traces: list[Figure] = []
    sides = [("seed", errors.seed, SEED, "/"), ("champion", errors.champion, BEST, "")]
    for name, predictions, colour, pattern in sides:
        if predictions is None:
            continue
        absolute = np.abs(predictions - errors.labels)
        means = [float(absolute[mask].mean()) for mask in masks]
        spread = [float(1.96 * absolute[m].std(ddof=1) / np.sqrt(m.sum())) if m.sum() > 1 else 0.0 for m in masks]
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": names,
                "y": _rounded(np.array(means)),
                "error_y": {
                    "type": "data",
                    "array": _rounded(np.array(spread)),
                    "thickness": 1.2,
                    "width": 3,
                    "color": BARS,
                },
                "marker": {"color": colour, "pattern": {"shape": pattern, "size": 6}},
                "hovertemplate": f"{name}: %{{y:.3f}}<extra></extra>",
            }
        )
    return {
        "data": traces,
        "layout": {
            "height": 420,
            "barmode": "group",
            "yaxis": {"title": {"text": f"mean absolute error{axis}"}},
            "xaxis": {
                "title": {"text": f"range of the label{axis}, and its number of crystals"},
                "type": "category",
                "tickangle": 0,
                "automargin": True,
            },
        },
    }


def label_ranges(errors: Errors) -> tuple[list[str], list[np.ndarray]]:
    """Return names and masks [n] of ranges of the label: zero apart where it is a class, then equal numbers each."""
    labels = errors.labels
    names: list[str] = []
    masks: list[np.ndarray] = []
    rest = np.ones(len(labels), dtype=bool)
    if errors.is_gap:
        names.append(f"metal<br>{int((labels == 0).sum()):,}")
        masks.append(labels == 0)
        rest = labels > 0
    cuts = np.unique(np.quantile(labels[rest], np.linspace(0, 1, N_RANGES)).round(2))
    for low, high in pairwise(cuts):
        last = high == cuts[-1]
        above = labels >= low if low != cuts[0] else np.ones(len(labels), dtype=bool)  # the ends are rounded
        mask = rest & above & (labels < high if not last else True)
        if mask.any():
            names.append(f"{low:.2g} - {high:.2g}<br>{int(mask.sum()):,}")
            masks.append(mask)
    return names, masks


def confusion(errors: Errors, unit: str) -> dict[str, Any] | None:
    """Return metals and non-metals told right and wrong; None where zero is no class of the target."""
    if not errors.is_gap:
        return None
    metal, said = errors.labels == 0, errors.champion < SAID_ZERO_BELOW
    return {
        "threshold": f"{SAID_ZERO_BELOW:g} {unit}".strip(),
        "rows": [
            ["metal", int((metal & said).sum()), int((metal & ~said).sum())],
            ["non-metal", int((~metal & said).sum()), int((~metal & ~said).sum())],
        ],
        "share_of_error": round(
            float(np.abs(errors.champion - errors.labels)[metal != said].sum())
            / max(float(np.abs(errors.champion - errors.labels).sum()), 1e-12),
            3,
        ),
    }


def worst_rows(errors: Errors) -> np.ndarray:
    """Return the rows with the largest absolute errors, the worst first."""
    return np.argsort(-np.abs(errors.champion - errors.labels), kind="stable")[:WORST]


def worst_crystals(errors: Errors) -> list[dict[str, Any]]:
    """Return the crystals with the largest errors, with what the seed said of them."""
    return [
        {
            "formula": errors.crystals.formula(int(row)),
            "space_group": int(errors.crystals.space_group[row]),
            "n_atoms": int(errors.crystals.n_atoms[row]),
            "label": round(float(errors.labels[row]), 3),
            "champion": round(float(errors.champion[row]), 3),
            "seed": None if errors.seed is None else round(float(errors.seed[row]), 3),
        }
        for row in worst_rows(errors)
    ]


def element_figure(errors: Errors, unit: str) -> Figure:
    """Return the mean absolute error of the crystals that hold an element, on the periodic table."""
    absolute = np.abs(errors.champion - errors.labels)
    crystal = np.repeat(np.arange(len(errors.labels)), errors.crystals.n_atoms)
    pairs = np.unique(crystal * 256 + errors.crystals.atomic_numbers)
    owner, element = pairs // 256, pairs % 256
    counts = np.bincount(element, minlength=len(SYMBOLS))
    sums = np.bincount(element, weights=absolute[owner], minlength=len(SYMBOLS))
    known = [z for z in range(1, len(SYMBOLS)) if counts[z] >= MIN_CRYSTALS]
    means = {z: float(sums[z] / counts[z]) for z in known}
    top = max(float(np.quantile(list(means.values()), 0.97)) if means else 1.0, 1e-12)
    value: list[list[float | None]] = [[None] * 18 for _ in range(9)]
    for z, mean in means.items():
        row, column = table_place(z)
        value[row][column] = round(mean, 4)
    rest = [z for z in range(1, len(SYMBOLS)) if z not in means]
    text = {"type": "scatter", "mode": "text", "showlegend": False, "cliponaxis": False}
    return {
        "data": [
            {
                "type": "heatmap",
                "z": value,
                "hoverinfo": "skip",
                "hoverongaps": False,
                "colorscale": HEAT,
                "zmin": 0,
                "zmax": top,
                "xgap": 2,
                "ygap": 2,
                "colorbar": {"title": {"text": unit}, "thickness": 12, "len": 0.8},
            },
            {
                **text,
                **_at_places(known),
                "text": [f"<b>{SYMBOLS[z]}</b><br>{mean:.2f}" for z, mean in means.items()],
                "textfont": {"size": 10, "color": [readable_on(heat_colour(mean / top)) for mean in means.values()]},
                "hovertext": [f"{SYMBOLS[z]}: {m:.3f} {unit} over {counts[z]:,} crystals" for z, m in means.items()],
                "hoverinfo": "text",
            },
            {
                **text,
                **_at_places(rest),
                "text": [SYMBOLS[z] for z in rest],
                "textfont": {"size": 10},
                "hovertext": [f"{SYMBOLS[z]}: {counts[z]:,} crystals, too few to say" for z in rest],
                "hoverinfo": "text",
            },
        ],
        "layout": {
            "height": 400,
            "margin": {"t": 8, "b": 8},
            "xaxis": {"visible": False, "fixedrange": True, "range": [-0.5, 17.5]},
            "yaxis": {"visible": False, "fixedrange": True, "range": [8.5, -0.5]},
            "hovermode": "closest",
        },
    }


def _at_places(elements: list[int]) -> Figure:
    places = [table_place(z) for z in elements]
    return {"x": [column for _, column in places], "y": [row for row, _ in places]}


def table_place(atomic_number: int) -> tuple[int, int]:
    """Return row and column of an element in the table of 18 groups, lanthanides and actinides below it."""
    starts = (1, 3, 11, 19, 37, 55, 87, 119)
    row = next(i for i in range(7) if starts[i] <= atomic_number < starts[i + 1])
    step = atomic_number - starts[row]
    length = starts[row + 1] - starts[row]
    if row == 0:
        return 0, 0 if step == 0 else 17
    if length == 8:
        return row, step if step < 2 else step + 10
    if length == 18:
        return row, step
    if 2 <= step < 17:  # lanthanides and actinides from La and Ac on
        return row + 2, step
    return row, step if step < 2 else step - 14


def _mean_prediction(folder: RunFolder, numbers: list[int]) -> np.ndarray:
    predictions = [np.load(folder.trial(number) / "predictions.npy", allow_pickle=False) for number in numbers]
    return np.asarray(np.mean(predictions, axis=0))


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
