"""The tight-binding solver: the band gap of a crystal from its lattice, its atoms and nothing else.

It owns the physics of the `tight-binding` data source: on-site energies, couplings, the Bloch Hamiltonian, the k-mesh
and the filling. It refuses what the model has no orbitals for (noble gases, hydrogen, open f shells). It is not
self-consistent, has no spin, no spin-orbit coupling and no overlap matrix: physics, but not DFT.

Sources:
    On-site energies: NIST atomic reference data (LDA), as `pymatgen.core.Element.atomic_orbitals`, in hartree.
    Couplings: W. A. Harrison, V = eta hbar^2 / (m d^2), and with d states eta hbar^2 r_d^(3/2) / (m d^(7/2)) and
        eta hbar^2 r_d^3 / (m d^5). The eta of s and p are his later ones (Elementary Electronic Structure, World
        Scientific 1999) as Shi and Papaconstantopoulos list them, Phys. Rev. B 70, 205101 (2004), with those of d.
        The r_d are those of his Solid State Table (Electronic Structure and the Properties of Solids, Freeman 1980).
    Angular factors: J. C. Slater and G. F. Koster, Phys. Rev. 94, 1498 (1954), two-centre approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core.periodic_table import Element

if TYPE_CHECKING:
    from evaluation_locked.crystals import Crystals

EV_PER_HARTREE = 27.211386
HBAR2_OVER_M_EV_A2 = 7.62  # Harrison's value; CODATA gives 7.6200

ETA_SSS, ETA_SPS, ETA_PPS, ETA_PPP = -1.32, 1.42, 2.22, -0.63
ETA_SDS, ETA_PDS, ETA_PDP = -3.16, -2.95, 1.36
ETA_DDS, ETA_DDP, ETA_DDD = -16.2, 8.75, -2.39

# Harrison's d-state radii in angstrom, to two digits. Zn, Cd, Hg, La, Gd and Lu continue their rows and are ours. This
# dictionary, not the book, defines the labels: only titanium's value was checked against a second copy.
# fmt: off
D_STATE_RADIUS_A = {
    "Sc": 1.24, "Ti": 1.08, "V": 0.98, "Cr": 0.90, "Mn": 0.86, "Fe": 0.80, "Co": 0.76, "Ni": 0.71, "Cu": 0.67,
    "Zn": 0.63, "Y": 1.58, "Zr": 1.41, "Nb": 1.28, "Mo": 1.20, "Ru": 1.05, "Rh": 0.99, "Pd": 0.94, "Ag": 0.89,
    "Cd": 0.85, "La": 1.70, "Gd": 1.64, "Lu": 1.58, "Hf": 1.44, "Ta": 1.34, "W": 1.27, "Re": 1.20, "Os": 1.13,
    "Ir": 1.08, "Pt": 1.04, "Au": 1.01, "Hg": 0.98,
}
MAIN_GROUP = (
    "Li", "Be", "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Ga", "Ge", "As", "Se",
    "Br", "Rb", "Sr", "In", "Sn", "Sb", "Te", "I", "Cs", "Ba", "Tl", "Pb", "Bi",
)
# fmt: on
ELEMENTS = (*MAIN_GROUP, *D_STATE_RADIUS_A)

# NIST lists occupied orbitals only. B, Al, Ga, In and Tl have e_p / e_s between 0.31 and 0.40 and falling from group 14
# to 13; an empty p shell is put where that row ends.
EMPTY_P_OVER_S = 0.30

COUPLED_FULLY_BELOW = 1.2  # of the sum of the two atomic radii
COUPLED_NOT_ABOVE = 1.7  # between diamond's first (1.10) and second neighbours (1.80)

SCREENED_FULLY_BELOW = 1.05  # see `screening`
SCREENED_NOT_ABOVE = 1.4
TINY_A2 = 1e-8

K_SPACING_PER_A = 0.35  # largest distance of mesh points along a reciprocal vector, 2 pi included
MESH_DIVISIONS = (2, 4, 6, 12)
SMALLEST_GAP_EV = 0.05  # what the mesh can tell from a band crossing between two of its points

# The five d orbitals as symmetric traceless tensors Q with tr(Q Q) = 1: xy, yz, zx, x^2 - y^2, 3 z^2 - r^2.
D_TENSORS = np.zeros((5, 3, 3))
for _d, (_i, _j) in enumerate(((0, 1), (1, 2), (2, 0))):
    D_TENSORS[_d, _i, _j] = D_TENSORS[_d, _j, _i] = np.sqrt(0.5)
D_TENSORS[3] = np.diag([1.0, -1.0, 0.0]) / np.sqrt(2.0)
D_TENSORS[4] = np.diag([-1.0, -1.0, 2.0]) / np.sqrt(6.0)


class UnknownElementError(ValueError):
    """An element that the model has no orbitals for; the message names those that it has."""


@dataclass(frozen=True)
class Atom:
    """What the model knows of an element.

    Attributes:
        energies_ev: [9] on-site energies of s, three p and five d; NaN in the last five without a d shell.
        electrons: Valence electrons that it brings.
        radius_a: Slater's atomic radius in angstrom, which decides how far couplings reach.
        d_radius_a: Harrison's d-state radius in angstrom; 0 without a d shell.
    """

    energies_ev: tuple[float, ...]
    electrons: int
    radius_a: float
    d_radius_a: float

    @property
    def n_orbitals(self) -> int:
        """4 (s and p) or 9 (s, p and d)."""
        return 9 if self.d_radius_a else 4


@cache
def atom(atomic_number: int) -> Atom:
    """Return on-site energies, valence electrons and radii of an element.

    The s and p energies are those of the outermost shells. An empty p shell lies at 0.30 of the s energy, the empty 5s
    of palladium halfway between those of rhodium and silver. Core are f electrons, and d electrons from group 13 on.

    Raises:
        UnknownElementError: The model has no orbitals for the element.
    """
    element = Element.from_Z(atomic_number)
    symbol = element.symbol
    if symbol not in ELEMENTS or element.atomic_radius is None:
        raise UnknownElementError(f"the tight-binding model has no orbitals for {symbol}; it has {', '.join(ELEMENTS)}")
    if symbol == "Pd":  # its free atom is 4d10 5s0
        s_ev = 0.5 * (_shell_ev(Element("Rh"), 5, "s") + _shell_ev(Element("Ag"), 5, "s"))
    else:
        s_ev = _shell_ev(element, element.row, "s")
    p_ev = _shell_ev(element, element.row, "p") if element.group >= 13 else EMPTY_P_OVER_S * s_ev
    d_ev = _shell_ev(element, element.row - 1, "d") if symbol in D_STATE_RADIUS_A else float("nan")
    return Atom(
        energies_ev=(s_ev, *[p_ev] * 3, *[d_ev] * 5),
        electrons=element.group - 10 if element.group >= 13 else element.group,
        radius_a=float(element.atomic_radius),
        d_radius_a=D_STATE_RADIUS_A.get(symbol, 0.0),
    )


def _shell_ev(element: Element, shell: int, letter: str) -> float:
    return float(element.atomic_orbitals[f"{shell}{letter}"]) * EV_PER_HARTREE


def two_centre_blocks(directions: np.ndarray, lengths_a: np.ndarray, d_radii_a: np.ndarray) -> np.ndarray:
    """Return the couplings of all orbitals of one atom to all of another, before the cutoff.

    The Slater-Koster table is written as tensors: with u the bond and Q_a the tensor of a d orbital, its sigma part is
    sqrt(3/2) u Q_a u and its pi part the vector sqrt(2) (Q_a u - (u Q_a u) u), so that rotations are obvious.

    Args:
        directions: [m, 3] unit vectors from the first atom to the second.
        lengths_a: [m] bond lengths in angstrom.
        d_radii_a: [m, 2] d-state radii of first and second atom in angstrom.

    Returns:
        [m, 9, 9] in eV; rows are the orbitals of the first atom (s, px, py, pz, then d as in `D_TENSORS`).
    """
    u = directions
    sp_scale = HBAR2_OVER_M_EV_A2 / lengths_a**2
    to_d = HBAR2_OVER_M_EV_A2 * d_radii_a**1.5 / lengths_a[:, None] ** 3.5  # [m, 2], d on the first, on the second atom
    dd_scale = HBAR2_OVER_M_EV_A2 * (d_radii_a[:, 0] * d_radii_a[:, 1]) ** 1.5 / lengths_a**5

    identity = np.eye(3)
    uu = u[:, :, None] * u[:, None, :]  # [m, 3, 3]
    d_vector = np.einsum("aij,mj->mai", D_TENSORS, u)  # [m, 5, 3]
    d_sigma = np.einsum("mai,mi->ma", d_vector, u)  # [m, 5]
    d_pi = np.sqrt(2.0) * (d_vector - d_sigma[:, :, None] * u[:, None, :])  # [m, 5, 3]
    d_sigma = np.sqrt(1.5) * d_sigma
    sigma_sigma = d_sigma[:, :, None] * d_sigma[:, None, :]  # [m, 5, 5]
    pi_pi = np.einsum("mai,mbi->mab", d_pi, d_pi)
    p_to_d = ETA_PDS * u[:, :, None] * d_sigma[:, None, :] + ETA_PDP * d_pi.transpose(0, 2, 1)  # [m, 3, 5]

    blocks = np.zeros((len(u), 9, 9))
    blocks[:, 0, 0] = ETA_SSS * sp_scale
    blocks[:, 0, 1:4] = ETA_SPS * sp_scale[:, None] * u
    blocks[:, 1:4, 0] = -blocks[:, 0, 1:4]  # p is odd: seen from the second atom the bond points the other way
    blocks[:, 1:4, 1:4] = sp_scale[:, None, None] * (ETA_PPS * uu + ETA_PPP * (identity - uu))
    blocks[:, 0, 4:] = ETA_SDS * to_d[:, 1, None] * d_sigma
    blocks[:, 4:, 0] = ETA_SDS * to_d[:, 0, None] * d_sigma
    blocks[:, 1:4, 4:] = to_d[:, 1, None, None] * p_to_d
    blocks[:, 4:, 1:4] = -to_d[:, 0, None, None] * p_to_d.transpose(0, 2, 1)
    blocks[:, 4:, 4:] = dd_scale[:, None, None] * (
        ETA_DDS * sigma_sigma + ETA_DDP * pi_pi + ETA_DDD * (np.eye(5) - sigma_sigma - pi_pi)
    )
    return blocks


def reach(lengths_a: np.ndarray, radius_sums_a: np.ndarray) -> np.ndarray:
    """Return [m] factors from 1 (bonded) to 0 (far): half a cosine between 1.2 and 1.7 of the sum of atomic radii."""
    x = (lengths_a / radius_sums_a - COUPLED_FULLY_BELOW) / (COUPLED_NOT_ABOVE - COUPLED_FULLY_BELOW)
    return 0.5 * (1.0 + np.cos(np.pi * np.clip(x, 0.0, 1.0)))


def screening(bond_vectors_a: np.ndarray, near_vectors_a: np.ndarray) -> np.ndarray:
    """Return [m] factors from 1 to 0 for the bonds of one atom that has other atoms in between.

    An atom k screens the bond i-j by where it lies on the ellipses about i and j: with
    x = (d_ik^2 + d_kj^2) / d_ij^2, 1 on the sphere whose diameter is the bond, the factor is 0 below 1.05 and 1 above
    1.4, half a cosine between. So the couplings of second neighbours vanish in rock salt (1.0), zincblende (0.75) and
    fcc (1.0), and those of bcc (1.5) stay: Harrison's nearest-neighbour model, made continuous. Screened couplings are
    those of Tang, Wang, Chan, Ho, Phys. Rev. B 53, 979 (1996); this simple form is ours.

    Args:
        bond_vectors_a: [m, 3] from the atom to those it is coupled to, in angstrom.
        near_vectors_a: [q, 3] from the atom to all within 1.2 of its longest bond, in angstrom.
    """
    bond2 = (bond_vectors_a**2).sum(axis=1)[:, None]
    apart2 = ((bond_vectors_a[:, None] - near_vectors_a[None, :]) ** 2).sum(axis=-1)  # [m, q]
    ratio = ((near_vectors_a**2).sum(axis=1)[None, :] + apart2) / bond2
    x = np.clip((ratio - SCREENED_FULLY_BELOW) / (SCREENED_NOT_ABOVE - SCREENED_FULLY_BELOW), 0.0, 1.0)
    factors = np.where(apart2 < TINY_A2, 1.0, 0.5 * (1.0 - np.cos(np.pi * x)))  # an atom does not screen its own bond
    return factors.prod(axis=1)


@dataclass(frozen=True)
class Model:
    """A crystal's tight-binding Hamiltonian in real space.

    Attributes:
        images: [r, 3] int64 lattice translations.
        hoppings_ev: [r, n_orbitals, n_orbitals]; rows in the home cell, columns in the cell at `images[r]`, on-site
            energies on the diagonal of the translation 0.
        electrons: Valence electrons in a cell.
    """

    images: np.ndarray
    hoppings_ev: np.ndarray
    electrons: int

    def bloch(self, k_points: np.ndarray) -> np.ndarray:
        """Return [k, n, n] complex Hamiltonians, sum over R of H(R) exp(2 pi i k R), at [k, 3] fractional k."""
        phases = np.exp(2j * np.pi * (k_points @ self.images.T))
        n = self.hoppings_ev.shape[1]
        flat = self.hoppings_ev.reshape(len(self.images), -1)
        return (phases.real @ flat + 1j * (phases.imag @ flat)).reshape(-1, n, n)

    def bands_ev(self, k_points: np.ndarray) -> np.ndarray:
        """Return [k, n] energies in eV, rising, at [k, 3] fractional k."""
        return np.linalg.eigvalsh(self.bloch(k_points))


def build_model(lattice_a: np.ndarray, frac_coords: np.ndarray, atomic_numbers: np.ndarray) -> Model:
    """Return the Hamiltonian of a crystal.

    Args:
        lattice_a: [3, 3] rows a, b, c in angstrom, of any orientation.
        frac_coords: [n_atoms, 3].
        atomic_numbers: [n_atoms].

    Raises:
        UnknownElementError: The model has no orbitals for an element.
    """
    atoms = [atom(int(z)) for z in atomic_numbers]
    radii = np.array([a.radius_a for a in atoms])
    d_radii = np.array([a.d_radius_a for a in atoms])
    source, target, image, vectors, screened = _bonds(lattice_a, frac_coords, radii)

    lengths = np.linalg.norm(vectors, axis=1)
    pair_d_radii = np.stack([d_radii[source], d_radii[target]], axis=1)
    blocks = two_centre_blocks(vectors / lengths[:, None], lengths, pair_d_radii)
    blocks *= (reach(lengths, radii[source] + radii[target]) * screened)[:, None, None]

    images, row = np.unique(np.concatenate([np.zeros((1, 3), dtype=np.int64), image]), axis=0, return_inverse=True)
    row = row.ravel()
    padded = np.zeros((len(images), len(atoms), 9, len(atoms), 9))
    padded[row[1:], source, :, target, :] = blocks
    for i, a in enumerate(atoms):
        padded[row[0], i, range(9), i, range(9)] = a.energies_ev
    kept = np.concatenate([9 * i + np.arange(a.n_orbitals) for i, a in enumerate(atoms)])
    square = padded.reshape(len(images), 9 * len(atoms), 9 * len(atoms))
    return Model(images, np.ascontiguousarray(square[:, kept][:, :, kept]), sum(a.electrons for a in atoms))


def _bonds(
    lattice_a: np.ndarray, frac_coords: np.ndarray, radii_a: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return source [m], target [m], image [m, 3], vector [m, 3] and screening [m] of coupled pairs, both ways round.

    What screens a bond may itself be out of reach of the bond's ends, so near pairs are found beyond the coupled ones.
    """
    farthest = np.sqrt(SCREENED_NOT_ABOVE) * COUPLED_NOT_ABOVE * 2.0 * radii_a.max()
    plane_spacing = 1.0 / np.linalg.norm(np.linalg.inv(lattice_a), axis=0)
    n_images = np.ceil(farthest / plane_spacing + np.ptp(frac_coords, axis=0)).astype(int)
    ranges = [np.arange(-n, n + 1) for n in n_images]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = (frac_coords[None, None, :] - frac_coords[None, :, None] + images[:, None, None]) @ lattice_a
    lengths2 = (vectors**2).sum(axis=-1)  # [images, atoms, atoms]
    near = (lengths2 < farthest**2) & (lengths2 > TINY_A2)
    coupled = near & (lengths2 < (COUPLED_NOT_ABOVE * (radii_a[:, None] + radii_a[None, :])) ** 2)
    image_row, source, target = np.nonzero(coupled)
    bond_vectors = vectors[coupled]
    factors = np.ones(len(source))
    for i in range(len(radii_a)):
        mine = np.flatnonzero(source == i)
        factors[mine] = screening(bond_vectors[mine], vectors[:, i][near[:, i]])
    kept = factors > 0.0
    return source[kept], target[kept], images[image_row[kept]], bond_vectors[kept], factors[kept]


def mesh_divisions(lattice_a: np.ndarray) -> tuple[int, int, int]:
    """Return the divisions of a k-mesh for a lattice [3, 3] in angstrom.

    They are even, so that the zone's centre and its boundary are on the mesh, and where more than four, multiples of
    six: graphite's bands touch at a third of a reciprocal vector, and a mesh that leaves it out calls it a
    semiconductor of 1 eV.
    """
    lengths = 2.0 * np.pi * np.linalg.norm(np.linalg.inv(lattice_a), axis=0)
    fewest = lengths / K_SPACING_PER_A
    a, b, c = (next(n for n in MESH_DIVISIONS if n >= least - 1e-6) for least in np.minimum(fewest, MESH_DIVISIONS[-1]))
    return a, b, c


def k_mesh(divisions: tuple[int, int, int]) -> np.ndarray:
    """Return [k, 3] fractional points of a mesh through the zone's centre, one of each pair k and -k.

    The Hamiltonian is real in real space, so the energies at k and -k are equal (time reversal).
    """
    shape = np.array(divisions)
    points = np.stack(np.meshgrid(*[np.arange(n) for n in divisions], indexing="ij"), axis=-1).reshape(-1, 3)
    flat = points @ np.array([shape[1] * shape[2], shape[2], 1])
    mirrored = (-points % shape) @ np.array([shape[1] * shape[2], shape[2], 1])
    return points[flat <= mirrored] / shape


def gap_from_bands(bands_ev: np.ndarray, electrons: int) -> float:
    """Return the gap in eV between filled and empty bands; 0 where they overlap, touch or are half filled.

    Args:
        bands_ev: [k, n] energies in eV, rising along n.
        electrons: Valence electrons in a cell, two to a band.
    """
    filled = electrons // 2
    if electrons % 2 or filled == 0 or filled >= bands_ev.shape[1]:
        return 0.0
    gap = float(bands_ev[:, filled].min() - bands_ev[:, filled - 1].max())
    return gap if gap >= SMALLEST_GAP_EV else 0.0


def band_gap_ev(
    lattice_a: np.ndarray,
    frac_coords: np.ndarray,
    atomic_numbers: np.ndarray,
    divisions: tuple[int, int, int] | None = None,
) -> float:
    """Return the band gap of a crystal in eV, exactly 0 for a metal.

    Args:
        lattice_a: [3, 3] rows a, b, c in angstrom, of any orientation.
        frac_coords: [n_atoms, 3].
        atomic_numbers: [n_atoms].
        divisions: Of the k-mesh; `mesh_divisions` of the lattice where absent.

    Raises:
        UnknownElementError: The model has no orbitals for an element.
    """
    model = build_model(np.asarray(lattice_a, dtype=np.float64), np.asarray(frac_coords), np.asarray(atomic_numbers))
    if model.electrons % 2:
        return 0.0
    return gap_from_bands(model.bands_ev(k_mesh(divisions or mesh_divisions(lattice_a))), model.electrons)


def table_gaps_ev(crystals: Crystals) -> np.ndarray:
    """Return [n] band gaps in eV of a crystal table; see `band_gap_ev`."""
    lattices, coords, offsets = crystals.lattice_vectors(), crystals.frac_coords, crystals.offsets
    gaps = np.zeros(len(crystals))
    for row in range(len(crystals)):
        atoms = slice(offsets[row], offsets[row + 1])
        gaps[row] = band_gap_ev(lattices[row], coords[atoms], crystals.atomic_numbers[atoms])
    return gaps
