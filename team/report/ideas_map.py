"""The crowding map: ideas laid out by what they say, with the known techniques that nobody tried as hollow marks.

The vectors are those of the idea memory (`memory.embedding`), made again from the texts, because Chroma's folder
belongs to the process that runs. Two directions of a linear projection hold a tenth of what these vectors say, so the
layout is t-SNE's (van der Maaten, Hinton 2008) of landmarks: the playbook's techniques and the ideas unlike any of
them. Every other idea lies at the landmarks that it is most similar to. The layout of a playbook stays as it is while
a run goes on.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from memory.embedding import LocalEmbedder
from memory.records import AXES
from team.report.landmarks import place
from team.report.palette import AXIS_COLOURS, OUTCOME_SYMBOLS
from team.report.trials import plot_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory.history import History
    from memory.techniques import Technique

Figure = dict[str, Any]

OWN_LANDMARK_BELOW = 0.5  # similarity to every landmark below which an idea is one itself
MAX_LANDMARKS = 400
MIN_LANDMARKS = 12
NEAREST = 3
SHARPNESS = 8.0  # power of the similarity in an idea's place: its nearest landmark counts most
NAMED_FAMILY = 3  # techniques, from which a family is named on the map, where most lie together:
COMPACT = 0.5  # of the spread of the map, from the middle


@dataclass(frozen=True)
class IdeasMap:
    """Where ideas and techniques lie.

    Attributes:
        trials: Trial numbers of the ideas, replicates and the seed left out.
        places: [n_trials, 2].
        technique_places: [n_techniques, 2], in the playbook's order.
        faithfulness: Share of neighbourhoods kept (trustworthiness of Venna and Kaski 2001, 5 neighbours; 1 keeps all,
            near 0.5 is chance).
    """

    trials: tuple[int, ...]
    places: np.ndarray
    technique_places: np.ndarray
    faithfulness: float


def lay_out(history: History, playbook: Sequence[Technique]) -> IdeasMap | None:
    """Return the map of a run, None where there are too few techniques and ideas to lay out."""
    ideas = [
        (number, t.idea.text) for number, t in history.trials.items() if t.idea.mode not in ("baseline", "replicate")
    ]
    known = [technique_text(technique) for technique in playbook]
    marks = list(dict.fromkeys(known))
    for _, text in ideas:
        if len(marks) >= MAX_LANDMARKS:
            break
        if not marks or max(_vectors(tuple(marks)) @ _vector(text)) < OWN_LANDMARK_BELOW:
            marks.append(text)
    if len(marks) < MIN_LANDMARKS or not ideas:
        return None
    places, faithfulness = _landmark_places(tuple(marks))
    vectors = _vectors(tuple(marks))
    at = dict(zip(marks, places, strict=True))
    return IdeasMap(
        trials=tuple(number for number, _ in ideas),
        places=np.array([_place(_vector(text), vectors, places) for _, text in ideas]),
        technique_places=np.array([at[text] for text in known]).reshape(-1, 2),
        faithfulness=faithfulness,
    )


def map_figure(layout: IdeasMap, history: History, playbook: Sequence[Technique]) -> Figure:
    """Return the map as a figure: hollow marks are techniques that no trial held, filled ones are trials by axis."""
    tried = {name for trial in history.trials.values() for name in trial.idea.techniques}
    spread = float(np.ptp(layout.places, axis=0).max()) or 1.0
    nudged = _apart(layout.places, 0.012 * spread)
    traces: list[Figure] = []
    hollow = [i for i, technique in enumerate(playbook) if technique.id not in tried]
    if hollow:
        traces.append(
            {
                "type": "scatter",
                "name": "known, untried",
                "mode": "markers",
                "x": _rounded(layout.technique_places[hollow, 0]),
                "y": _rounded(layout.technique_places[hollow, 1]),
                "marker": {
                    "symbol": "circle-open",
                    "size": 13,
                    "color": [AXIS_COLOURS[playbook[i].axis] for i in hollow],
                    "line": {"width": 1.5},
                },
                "text": [f"untried: {playbook[i].title} ({playbook[i].axis})" for i in hollow],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    for axis, name in AXES.items():
        at = [i for i, number in enumerate(layout.trials) if history.trials[number].idea.axis == axis]
        if not at:
            continue
        at.sort(key=lambda i: history.outcome(layout.trials[i]) == "kept")  # the legend shows the first one's mark
        outcomes = [history.outcome(layout.trials[i]) for i in at]
        traces.append(
            {
                "type": "scatter",
                "name": f"{axis} {name}",
                "mode": "markers",
                "x": _rounded(nudged[at, 0]),
                "y": _rounded(nudged[at, 1]),
                "customdata": [layout.trials[i] for i in at],
                "marker": {
                    "size": [14 if outcome == "kept" else 9 for outcome in outcomes],
                    "color": AXIS_COLOURS[axis],
                    "symbol": [OUTCOME_SYMBOLS[outcome] for outcome in outcomes],
                    "opacity": 0.85,
                },
                "text": [_said(history, layout.trials[i]) for i in at],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    plain = {"showticklabels": False, "zeroline": False, "showgrid": False, "ticks": "", "showline": False}
    return {
        "data": traces,
        "layout": {
            "height": 460,
            "margin": {"b": 10, "l": 14},
            "xaxis": {**plain, "range": _span(layout, 0)},
            "yaxis": {**plain, "range": _span(layout, 1)},
            "hovermode": "closest",
            "dragmode": "pan",
            "annotations": _family_names(layout, playbook),
        },
    }


def _family_names(layout: IdeasMap, playbook: Sequence[Technique]) -> list[Figure]:
    """Return the names of large families of techniques, each in the middle of its own."""
    families: dict[str, list[int]] = {}
    for i, technique in enumerate(playbook):
        families.setdefault(technique.family, []).append(i)
    middles = {family: np.median(layout.technique_places[at], axis=0) for family, at in families.items()}
    compact = {
        family
        for family, at in families.items()
        if len(at) >= NAMED_FAMILY
        and np.median(np.linalg.norm(layout.technique_places[at] - middles[family], axis=1)) < COMPACT
    }
    return [
        {
            "x": round(float(x), 3),
            "y": round(float(y), 3),
            "text": plot_text(family.replace("-", " "), 24),
            "showarrow": False,
            "font": {"size": 11},
            "opacity": 0.8,
            "yshift": 16,
        }
        for family, (x, y) in middles.items()
        if family in compact
    ]


def _span(layout: IdeasMap, axis: int) -> list[float]:
    every = np.concatenate([layout.technique_places[:, axis], layout.places[:, axis]])
    pad = 0.08 * (float(np.ptp(every)) or 1.0)
    return [round(float(every.min()) - pad, 3), round(float(every.max()) + pad, 3)]


def technique_text(technique: Technique) -> str:
    """Return what the memory would embed of an idea that is this technique."""
    return f"{technique.title}. {technique.id}. {technique.description} {technique.expect}"


@functools.lru_cache(maxsize=4)
def _landmark_places(texts: tuple[str, ...]) -> tuple[np.ndarray, float]:
    """Return [n, 2] places of the landmarks, scaled to a unit spread, and how faithful they are."""
    vectors = _vectors(texts)
    return place(np.sqrt(np.maximum(0.0, 2.0 - 2.0 * vectors @ vectors.T)))


def _place(vector: np.ndarray, landmarks: np.ndarray, places: np.ndarray) -> np.ndarray:
    similarity = np.maximum(landmarks @ vector, 1e-6)
    nearest = np.argsort(-similarity, kind="stable")[:NEAREST]
    weights = similarity[nearest] ** SHARPNESS
    return np.asarray(weights @ places[nearest] / weights.sum())


def _apart(places: np.ndarray, step: float) -> np.ndarray:
    """Return the places with those that coincide set around in a sunflower, so that a crowd is seen as one."""
    moved, seen = places.copy(), dict[tuple[float, float], int]()
    for i, at in enumerate(places):
        key = (round(float(at[0]), 3), round(float(at[1]), 3))
        k = seen.get(key, 0)
        seen[key] = k + 1
        angle = 2.399963 * k  # the golden angle
        moved[i] = at + step * np.sqrt(k) * np.array([np.cos(angle), np.sin(angle)])
    return moved


def _said(history: History, number: int) -> str:
    return f"trial {number}, {history.outcome(number)}: {plot_text(history.trials[number].idea.title, 60)}"


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


@functools.lru_cache(maxsize=4)
def _vectors(texts: tuple[str, ...]) -> np.ndarray:
    return np.stack([_vector(text) for text in texts])


@functools.lru_cache(maxsize=4096)
def _vector(text: str) -> np.ndarray:
    vector = np.asarray(LocalEmbedder()([text])[0], dtype=np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
