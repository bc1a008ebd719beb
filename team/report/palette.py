"""Colours and marks of outcomes and axes, each seen at three to one on a light and on a dark page.

Outcomes differ by shape too, so that no one has to tell colours apart.
"""

from __future__ import annotations

OUTCOME_COLOURS: dict[str, str] = {
    "kept": "#0b9a6d",
    "discarded": "#858b96",
    "near-miss": "#d0690a",
    "replicate": "#3d86cc",
    "crashed": "#d2568f",
    "rejected": "#8f74d8",
    "set-aside": "#db4b4b",
}
OUTCOME_SYMBOLS: dict[str, str] = {
    "kept": "star",
    "discarded": "circle",
    "near-miss": "diamond",
    "replicate": "square",
    "crashed": "x",
    "rejected": "triangle-down",
    "set-aside": "hexagram",
}
AXIS_COLOURS: dict[str, str] = {
    "A1": "#3d86cc",
    "A2": "#d0690a",
    "A3": "#0b9a6d",
    "A4": "#c75ba0",
    "A5": "#a3851a",
    "A6": "#8f74d8",
    "-": "#858b96",
}
BEST = "#0b9a6d"
SEED = "#858b96"
# Magnitudes: from little to much, readable on both pages where the figure is printed in the cell.
HEAT = [[0.0, "#dfeaf4"], [0.5, "#7fa9d1"], [1.0, "#27507c"]]
