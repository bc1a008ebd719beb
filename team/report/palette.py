"""Colours and marks of outcomes and axes, each seen at three to one on a light and on a dark page.

Outcomes differ by shape too, so that no one has to tell colours apart.
"""

from __future__ import annotations

from itertools import pairwise

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
BARS = "#858b96"
# Magnitudes: from little to much, readable on both pages where the figure is printed in the cell.
HEAT: list[tuple[float, str]] = [(0.0, "#dfeaf4"), (0.5, "#7fa9d1"), (1.0, "#27507c")]


def heat_colour(share: float) -> str:
    """Return the colour of a magnitude from 0 to 1, as Plotly interpolates it."""
    share = min(1.0, max(0.0, share))
    low, high = next((a, b) for a, b in pairwise(HEAT) if share <= b[0])
    t = (share - low[0]) / (high[0] - low[0])
    return "#" + "".join(f"{round(a + t * (b - a)):02x}" for a, b in zip(_rgb(low[1]), _rgb(high[1]), strict=True))


def readable_on(colour: str) -> str:
    """Return black or white, whichever has more contrast on a colour; one of them always has 4.5 to one."""
    return max(("#000000", "#ffffff"), key=lambda text: contrast(text, colour))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.1), 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [value / 255 for value in _rgb(colour)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
