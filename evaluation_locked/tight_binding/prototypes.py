"""Hypothetical crystals: AFLOW's prototypes with other elements in them, at the volume that their bonds ask for.

It owns which elements go where. All knowledge of chemistry in it is pymatgen's: the prototypes (AFLOW library), the
substitution probabilities of ions, common oxidation states, electronegativities and the volume predictor. It refuses
nothing and labels nothing; what the solver cannot treat is never drawn.

Sources:
    Prototypes: M. J. Mehl et al., Comput. Mater. Sci. 136, S1 (2017), as `pymatgen.analysis.prototypes`.
    Substitution: G. Hautier et al., Inorg. Chem. 50, 656 (2011), as `SubstitutionProbability`.
    Volume: I.-H. Chu et al., Comput. Mater. Sci. 146, 184 (2018), as `DLSVolumePredictor`.
"""

from __future__ import annotations

import itertools
import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

import numpy as np
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.core.periodic_table import Element, Species
from pymatgen.core.structure import Structure
from pymatgen.core.structure_prediction.substitution_probability import SubstitutionProbability
from pymatgen.core.structure_prediction.volume_predictor import DLSVolumePredictor

from evaluation_locked.tight_binding.solver import ELEMENTS

MAX_ATOMS = 16
MAX_KINDS = 4
# Substitution follows the probabilities of ions; a score for every element of the same group keeps in the draw what the
# ions do not cover (arsenides, tellurides, intermetallics).
SAME_GROUP_SCORE = 0.03
SMALLEST_SCORE = 0.005
CANDIDATES_PER_SITE = 14
CLOSED_SHELL_WEIGHT = 30.0  # metals abound anyway: at 1 four crystals of five have no gap

IONIC_CONTRAST = 0.4  # of Pauling's electronegativities; InSb has 0.27, GaAs 0.37, CdTe 0.41, ZnSe 0.90

Composition = tuple[str, ...]  # an element for each kind of site of a prototype


@dataclass(frozen=True)
class Prototype:
    """A structure type.

    Attributes:
        name: AFLOW's label with the compound it was named after, such as `AB_cF8_225_a_b NaCl`.
        structure: The named compound.
        kinds: Its elements, rarest first, then from electropositive to electronegative.
        counts: How many atoms of each kind are in a cell, smallest numbers (1, 2 and not 2, 4).
    """

    name: str
    structure: Structure
    kinds: Composition
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Draw:
    """A prototype with the elements to put on its kinds of sites."""

    prototype: Prototype
    elements: Composition


def small_prototypes(max_atoms: int = MAX_ATOMS) -> list[Prototype]:
    """Return AFLOW's prototypes of up to `max_atoms` atoms and four elements, sorted by name, each name once."""
    found = {}
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure = entry["snl"].structure
        kinds = sorted(
            structure.composition.elements, key=lambda e: (structure.composition[e], _electronegativity(e.symbol))
        )
        if len(structure) > max_atoms or len(kinds) > MAX_KINDS:
            continue
        counts = [int(structure.composition[e]) for e in kinds]
        divisor = np.gcd.reduce(counts)
        name = f"{entry['tags']['aflow']} {structure.composition.reduced_formula}"
        if name not in found:  # several strukturbericht entries repeat a label; the first is enough
            found[name] = Prototype(
                name, structure, tuple(e.symbol for e in kinds), tuple(int(n // divisor) for n in counts)
            )
    return [found[name] for name in sorted(found)]


@cache
def candidates(symbol: str) -> tuple[tuple[str, float], ...]:
    """Return up to 14 elements that may replace `symbol`, each with its score, best first.

    The score is the probability of the likeliest substitution between ions of equal charge; elements of the same group
    have a small score of their own. The element itself scores like its best replacement.
    """
    scores: dict[str, float] = {}
    for other in ELEMENTS:
        score = max(
            (_ion_score(symbol, other, charge) for charge in Element(symbol).common_oxidation_states), default=0
        )
        if Element(other).group == Element(symbol).group:
            score = max(score, SAME_GROUP_SCORE)
        if score >= SMALLEST_SCORE and other != symbol:
            scores[other] = score
    if symbol in ELEMENTS:
        scores[symbol] = max(scores.values())
    return tuple(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:CANDIDATES_PER_SITE])


@cache
def closed_states(symbol: str) -> tuple[int, ...]:
    """Return the oxidation states of an element that leave no open d shell: Ti +4 and Cu +1, not Ti +3 or Cu +2."""
    element = Element(symbol)
    if 3 <= element.group <= 12:
        return tuple(q for q in element.oxidation_states if q > 0 and element.group - q in (0, 10))
    return tuple(q for q in element.common_oxidation_states if q)


def has_closed_shells(elements: Composition, counts: tuple[int, ...]) -> bool:
    """Return whether closed-shell oxidation states add up to zero, the negative ones on far more electronegative atoms.

    Args:
        elements: The kinds of atoms.
        counts: How many there are of each.
    """
    for states in itertools.product(*[closed_states(e) for e in elements]):
        cations = [_electronegativity(e) for e, q in zip(elements, states, strict=True) if q > 0]
        anions = [_electronegativity(e) for e, q in zip(elements, states, strict=True) if q < 0]
        neutral = sum(q * n for q, n in zip(states, counts, strict=True)) == 0
        if neutral and anions and min(anions) - max(cations) >= IONIC_CONTRAST:
            return True
    return False


def draw(prototypes: list[Prototype], own: int, shared: int, alone: int, seed: int) -> list[Draw]:
    """Return what to build: for each prototype its own substitutions and compositions that others have too.

    Args:
        prototypes: The structure types.
        own: Substitutions of the elements of each prototype, drawn by their probability.
        shared: Compositions with the same counts from other prototypes, so that there are polymorphs.
        alone: Instead of both, the elements put into each prototype of a single element.
        seed: Of the draw; equal arguments give equal draws.
    """
    rng = np.random.default_rng(seed)
    by_counts: dict[tuple[int, ...], list[Prototype]] = defaultdict(list)
    for prototype in prototypes:
        by_counts[prototype.counts].append(prototype)
    draws = []
    for counts in sorted(by_counts):
        group = by_counts[counts]
        if len(counts) == 1:
            draws += [Draw(p, (e,)) for p in group for e in rng.choice(ELEMENTS, size=alone, replace=False).tolist()]
            continue
        # A prototype without brothers has no polymorphs to offer; it draws more of its own.
        n_own = own if len(group) > 1 else own + shared
        drawn = {p.name: _substitutions(p, n_own, rng) for p in group}
        pool = sorted({elements for chosen in drawn.values() for elements in chosen})
        if len(group) > 1:
            # Few compositions for many prototypes, so that each of them turns up in several.
            popular = _pick(pool, [_weight(e, counts) for e in pool], max(2 * shared, shared * len(group) // 6), rng)
            for p in group:
                new = [elements for elements in popular if elements not in drawn[p.name]]
                drawn[p.name] += _pick(new, [_weight(e, counts) for e in new], shared, rng)
        draws += [Draw(p, elements) for p in group for elements in drawn[p.name]]
    return draws


def build_structure(request: Draw) -> Structure | None:
    """Return the prototype with its new elements, scaled until its tightest pair has the predicted distance.

    The predictor's limits on scaling are off: a prototype named after a molecular crystal needs more than 1.5.
    None where the predictor finds no bond.
    """
    structure = request.prototype.structure.copy()
    structure.remove_oxidation_states()
    structure.replace_species(dict(zip(request.prototype.kinds, request.elements, strict=True)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says so where it falls back to atomic radii
            volume = DLSVolumePredictor(min_scaling=None, max_scaling=None).predict(structure)
    except ValueError:
        return None
    structure.scale_lattice(volume)
    return structure


@cache
def _ions() -> tuple[SubstitutionProbability, frozenset[Species]]:
    model = SubstitutionProbability()
    return model, frozenset(model.species)


def _ion_score(old: str, new: str, charge: int) -> float:
    model, known = _ions()
    ions = Species(new, charge), Species(old, charge)
    return float(model.cond_prob(*ions)) if all(ion in known for ion in ions) else 0.0


@cache
def _electronegativity(symbol: str) -> float:
    x = float(Element(symbol).X)
    return x if np.isfinite(x) else 0.0


def _weight(elements: Composition, counts: tuple[int, ...]) -> float:
    return CLOSED_SHELL_WEIGHT if has_closed_shells(elements, counts) else 1.0


def _substitutions(prototype: Prototype, n: int, rng: np.random.Generator) -> list[Composition]:
    """Return up to n different substitutions of a prototype, sites of equal counts in order of electronegativity."""
    chosen, weights = [], []
    for pairs in itertools.product(*[candidates(kind) for kind in prototype.kinds]):
        elements = tuple(element for element, _ in pairs)
        if len(set(elements)) < len(elements) or not _in_order(elements, prototype.counts):
            continue
        chosen.append(elements)
        weights.append(float(np.prod([score for _, score in pairs])) ** 0.5 * _weight(elements, prototype.counts))
    return _pick(chosen, weights, n, rng)


def _in_order(elements: Composition, counts: tuple[int, ...]) -> bool:
    """Return whether among kinds of equal count the electropositive comes first, as in `Prototype.kinds`."""
    keys = [(n, _electronegativity(e)) for e, n in zip(elements, counts, strict=True)]
    return keys == sorted(keys)


def _pick(items: list[Composition], weights: list[float], n: int, rng: np.random.Generator) -> list[Composition]:
    """Return n different items (all where there are fewer), likelier with more weight."""
    if len(items) <= n:
        return list(items)
    probabilities = np.array(weights) / np.sum(weights)
    return [items[i] for i in rng.choice(len(items), size=n, replace=False, p=probabilities)]
