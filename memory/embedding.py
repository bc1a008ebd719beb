"""The local embedder: texts about crystal machine learning as vectors, with no model, no download and no chance.

It knows the field's synonyms and nothing else of meaning. A vector depends on the text and this file alone, not on the
process or on other texts. The other embedders are in `memory.embedders`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIMENSIONS = 512

# Concept: the phrases that name it, in any inflection. The longest phrase wins, so "width" does not take "rbf width".
SYNONYMS: dict[str, str] = {
    "ema": (
        "ema, exponential moving average, exponential moving average of weights, moving average of weights, "
        "polyak averaging, polyak average, polyak ruppert averaging, weight averaging, averaged weights"
    ),
    "swa": "swa, stochastic weight averaging, stochastic weight average",
    "space-group": (
        "space group, spacegroup, spg, sg, space group embedding, space group one hot, one hot of the space group, "
        "one hot space group, embedding of the space group, space group number, symmetry group, crystal symmetry"
    ),
    "wyckoff": "wyckoff, wyckoff position, site symmetry, site symmetry embedding",
    "knn": (
        "knn, k nn, k nearest neighbours, k nearest, nearest neighbours, number of neighbours, neighbour count, "
        "knn k, k cap, neighbour cap, knn cap, nearest neighbour cap, number of nearest neighbours, "
        "neighbours per atom"
    ),
    "cutoff": "cutoff, cutoff radius, radius graph, radial cutoff, neighbour radius",
    "envelope": "envelope, cutoff envelope, smooth cutoff, cosine cutoff, polynomial envelope, cosine envelope",
    "voronoi": "voronoi, voronoi neighbours, voronoi tessellation, voronoi faces",
    "self-edges": "lattice self edges, self edges, self loops, self connection",
    "asymmetric-unit": "asymmetric unit, asymmetric cell, symmetry unique atoms",
    "rbf": (
        "rbf, radial basis, radial basis function, gaussian smearing, gaussian basis, gaussian rbf, "
        "gaussian expansion, distance expansion, gaussian distance filter, radial gaussians, gaussian radial basis"
    ),
    "rbf-width": (
        "rbf width, gaussian width, radial width, rbf gamma, basis width, smearing width, wider gaussians, "
        "wider radial gaussians, width of the gaussians, width of the radial gaussians, radial gaussians width, "
        "wider rbf, broader gaussians, gaussian gamma"
    ),
    "rbf-count": (
        "rbf count, rbf centres, rbf centers, number of gaussians, gaussian centres, rbf bins, n rbf, num rbf, "
        "number of radial gaussians, number of radial functions, radial basis size"
    ),
    "bessel": "bessel, bessel rbf, bessel basis, spherical bessel, bessel functions",
    "expnorm": "expnorm, expnorm rbf, exponential normal basis, exponential normal, exponential normal radial basis",
    "inverse-distance": "inverse distance, reciprocal distance, one over d, coulomb distance",
    "learning-rate": "learning rate, lr, step size, base lr, peak lr, max lr",
    "lr-schedule": (
        "lr schedule, learning rate schedule, scheduler, cosine annealing, cosine schedule, cosine decay, "
        "one cycle, onecycle, linear decay, linear to zero, lr decay, learning rate decay, annealing, "
        "lr scheduler, annealing schedule"
    ),
    "warmup": "warmup, warm up, lr warmup, learning rate warmup",
    "line-graph": (
        "line graph, bond angles, bond angle, alignn, angle aware, angular messages, three body, triplets, "
        "angle features, edge to edge graph, angle update, angle updates, angle edge update, angle edge updates, "
        "angle aware edge update, angle layer, angle layers, angle message, angular update"
    ),
    "angle-basis": (
        "angle basis, angle rbf, angular basis, angle gaussians, angle expansion, angular basis functions, "
        "cosine basis, gaussian basis of the cosine"
    ),
    "angle-count": (
        "n ang, n angle, number of angle functions, number of angle basis functions, angle bins, angular resolution, "
        "angle basis size, num angle"
    ),
    "moments": "directional moments, spherical harmonics, spherical harmonic moments, equivariant moments",
    "unit-vectors": "unit vectors, edge directions, direction vectors, edge vectors",
    "film": "film, feature wise linear modulation, feature wise modulation, featurewise modulation, conditioning",
    "global-state": (
        "global state, state vector, global features, lattice state, graph level features, u vector, globals, "
        "global vector, state attributes"
    ),
    "virtual-node": "virtual node, master node, global node, supernode, super node",
    "huber": "huber, huber loss, smooth l1, smooth l1 loss, smoothl1, smoothl1loss, huberloss",
    "l1": "l1, l1 loss, mae loss, absolute error loss, mean absolute error loss, l1loss",
    "l2-loss": "mse, mse loss, l2 loss, squared error loss, mean squared error loss, mseloss",
    "log-cosh": "log cosh, logcosh",
    "heteroscedastic": "heteroscedastic, heteroscedastic l1, predicted scale, predict the scale, robust l1",
    "glu": "swiglu, geglu, glu, gated linear unit, gated linear units, gated mlp, swish gated linear unit",
    "silu": "silu, swish, sigmoid linear unit",
    "gelu": "gelu, gaussian error linear unit",
    "activation": "activation, activation function, nonlinearity, non linearity",
    "conv": "convolution, cg conv, cgconv, cg convolution, crystal graph convolution, crystal graph conv",
    "every-block": (
        "every block, every layer, per block, per layer, per conv, per convolution, layerwise, interleaved, "
        "multi pass, between blocks, between layers, at all depths"
    ),
    "aggregation": "aggregation, aggregate, reduction, aggregate messages, aggregation of messages, scatter",
    "gated-conv": "gated convolution, gated conv, edge gate, edge gated convolution, sigmoid gate, gated messages",
    "attention": "attention, transformer, transformer conv, transformerconv, graph attention, gat, gatconv, multi head",
    "pooling": "pooling, readout, pool, graph pooling, aggregate atoms, readout pooling, global pooling",
    "multi-pool": "multi pool, mean and max pooling, mean max pooling, pna, several poolings, mean max std pooling",
    "attention-pool": "attention pool, attention pooling, gated attention pooling, attentional aggregation",
    "set2set": "set2set, set to set, set 2 set",
    "jumping-knowledge": "jumping knowledge, jk, jumping connections, concatenate block outputs",
    "deep-supervision": "deep supervision, auxiliary heads, head after each block",
    "dropout": "dropout, drop out, dropout rate, dropout probability, p drop",
    "drop-edge": "dropedge, drop edge, drop edges, edge dropout, remove random edges, edges dropped at random",
    "stochastic-depth": (
        "stochastic depth, drop path, droppath, drop blocks, layer drop, stoch depth, blocks dropped at random"
    ),
    "width": "width, hidden size, hidden width, channels, hidden channels, hidden dimension, hidden dim, hidden, dim",
    "depth": (
        "depth, number of layers, n layers, num layers, layers, number of blocks, n blocks, num blocks, blocks, "
        "message passing steps, interaction blocks, convolution layers, convolution blocks, "
        "number of convolution blocks"
    ),
    "residual": "residual, skip connection, residual connection, shortcut connection",
    "dense-connect": "dense connect, dense connectivity, densely connected, dense connections, densenet, densegnn",
    "layer-scale": "layerscale, layer scale, branch scale, rezero, skip init",
    "batch-norm": "batchnorm, batch norm, batch normalisation, bn, batchnorm1d",
    "layer-norm": "layernorm, layer norm, layer normalisation, ln, rmsnorm, rms norm",
    "group-norm": "groupnorm, group norm, group normalisation",
    "instance-norm": "instancenorm, instance norm, instance normalisation",
    "graph-norm": "graphnorm, graph norm, graph normalisation",
    "edge-update": "edge update, update edges, edge state, edge updates, edge messages, edge mlp",
    "element-pair": (
        "element pair, element pair edges, species pair, species pair embedding, pair embedding, atom pair features, "
        "element pair edge features"
    ),
    "element-features": (
        "element features, magpie, magpie features, elemental properties, atom features, atomic features, "
        "element properties, atom init, atomic descriptors"
    ),
    "element-embedding": "element embedding, species embedding, atom embedding, atomic number embedding",
    "electronegativity": "electronegativity, electronegativity difference, pauling electronegativity",
    "oxidation": "oxidation state, oxidation states, oxidation numbers, valence states",
    "composition": "composition, stoichiometry, composition features, composition state, formula features",
    "weight-decay": "weight decay, wd, l2 regularisation, l2 penalty, decoupled weight decay",
    "adamw": "adamw, adam w, adam with decoupled weight decay",
    "lion": "lion, evolved sign momentum",
    "muon": "muon, orthogonalised momentum",
    "schedule-free": "schedule free, schedulefree",
    "clip": (
        "gradient clipping, clip grad, grad clip, clip gradients, gradient norm clipping, clip norm, "
        "gradient clip norm, grad clip norm, max grad norm, max gradient norm"
    ),
    "batch-size": "batch size, batch, minibatch size, crystals per step, batchsize",
    "batch-ramp": "batch ramp, batch size ramp, growing batch, increase the batch size",
    "ensemble": "ensemble, deep ensemble, snapshot ensemble, several members, model averaging",
    "distillation": "distillation, self distillation, teacher, knowledge distillation",
    "mixed-precision": "mixed precision, amp, bf16, fp16, bfloat16, float16, half precision, autocast",
    "compile": "torch compile, compile, compiled, cuda graphs, kernel fusion",
    "packing": "edge packed batches, dynamic batching, packed batches, dynamic batch sampler, bucketing",
    "augmentation": "augmentation, jitter, noisy nodes, position noise, coordinate noise, perturb positions, denoising",
    "mixup": "mixup, manifold mixup, latent mixup",
    "target-transform": "target transform, transform the target, log1p, asinh, sqrt target, standardise target",
    "clamp-zero": "clamp at zero, clamp zero, non negative prediction, clip negative predictions, relu on the output",
    "hurdle": "hurdle, hurdle head, two part model, gap classifier, zero inflated",
    "histogram-head": "histogram head, hl gauss, histogram loss, binned regression, distributional head",
    "metal-auxiliary": "metal auxiliary, metal classifier, metal head, metallicity, auxiliary task",
    "initialisation": "initialisation, init, weight init, weight initialisation, zero init",
    "ewald": "ewald, reciprocal space, fourier space messages, structure factors, diffraction features",
}

_STOP = frozenset(
    "a an the of in on at to for from by with and or as it its this that these those be is are was were into than "
    "then so we our more may can could should will each which".split()
)
# What people write in titles and names of variables, in full; a synonym may be written with either.
ABBREVIATIONS: dict[str, str] = {
    "dist": "distance", "elem": "element", "nbr": "neighbour", "neigh": "neighbour", "feat": "feature",
    "feats": "features", "emb": "embedding", "embed": "embedding", "agg": "aggregation", "aggr": "aggregation",
    "attn": "attention", "std": "deviation", "diff": "difference", "stoch": "stochastic", "grad": "gradient",
    "sched": "scheduler", "ang": "angle", "angular": "angle", "arch": "architecture", "avg": "average",
    "coef": "coefficient", "reg": "regularisation", "conv": "convolution", "params": "parameters", "num": "number",
    "optim": "optimiser",
}  # fmt: skip
_TOKEN = re.compile(r"[a-z][a-z0-9]*|\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_SUFFIXES = (  # the first that fits is replaced, if three letters remain; British and American spelling become one
    ("isations", "is"), ("isation", "is"), ("ising", "is"), ("ised", "is"), ("ises", "is"), ("ise", "is"),
    ("ations", "at"), ("ation", "at"), ("ating", "at"), ("ated", "at"), ("ates", "at"), ("ate", "at"),
    ("ies", "y"), ("sses", "ss"), ("ings", ""), ("ing", ""), ("ers", "er"), ("ed", ""), ("es", ""), ("e", ""),
)  # fmt: skip
CONCEPT_WEIGHT, WORD_WEIGHT, _NUMBER_WEIGHT, _BIGRAM_WEIGHT, _NGRAMS_WEIGHT = 2.0, 1.0, 0.4, 0.5, 0.6

_Feature = tuple[tuple[int, float], ...]


class LocalEmbedder:
    """Signed feature hashing of canonical words, their bigrams and the character n-grams inside them.

    A text becomes lower-case words without stop words, lightly stemmed; phrases of `SYNONYMS` become their concept.
    A concept weighs 2, a word 1, a number 0.4, a pair of neighbours 0.5, and the 3- and 4-grams of a word together
    0.6, so that unknown inflections still meet; a feature that occurs n times weighs sqrt(n) as much. Each feature
    adds its weight with a hashed sign to a hashed dimension (Weinberger et al. 2009, 0902.2206), and the sum is
    scaled to length 1.

    Args:
        dimensions: Length of the vectors.
    """

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        self.dimensions = dimensions

    @property
    def identity(self) -> str:
        """What determines the vectors beside this code: their length and the table of synonyms."""
        known = sorted((SYNONYMS | ABBREVIATIONS).items())
        table = "\n".join(f"{name}: {meaning}" for name, meaning in known)
        synonyms = hashlib.blake2b(table.encode(), digest_size=4).hexdigest()
        return f"local v1 ({self.dimensions} dimensions, synonyms {synonyms})"

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return one vector a text, [dimensions] float32 of length 1."""
        return [self._embed(text) for text in texts]

    def _embed(self, text: str) -> np.ndarray:
        vector = [0.0] * self.dimensions
        tokens = canonical_tokens(text)
        for token, count in Counter(tokens).items():
            scale = count**0.5
            for at, weight in _token_feature(token, self.dimensions):
                vector[at] += scale * weight
        for pair, count in Counter(pairwise(tokens)).items():
            at, weight = _hashed(f"{pair[0]} {pair[1]}", self.dimensions)
            vector[at] += count**0.5 * _BIGRAM_WEIGHT * weight
        array = np.array(vector)  # summed in double precision and in one order, so that every machine agrees
        length = float(np.sqrt((array * array).sum()))
        if length == 0:  # no word at all: a direction of its own, since a cosine needs one
            array[_hashed("", self.dimensions)[0]] = length = 1.0
        return (array / length).astype(np.float32)


def canonical_tokens(text: str) -> list[str]:
    """Return the words of a text, stemmed, without stop words, phrases of `SYNONYMS` replaced by `~concept`."""
    stems = _stems(text)
    phrases = _phrases()
    tokens, at = [], 0
    while at < len(stems):
        for phrase, concept in phrases.get(stems[at], ()):
            if tuple(stems[at : at + len(phrase)]) == phrase:
                tokens.append(concept)
                at += len(phrase)
                break
        else:
            tokens.append(stems[at])
            at += 1
    return tokens


@lru_cache(maxsize=65_536)
def is_phrase(word: str) -> bool:
    """Return whether a word, as it is written, stands in `SYNONYMS`, so that nothing should be split off it."""
    return len(tokens := canonical_tokens(word)) == 1 and tokens[0][0] == "~"


@lru_cache(maxsize=1)
def _phrases() -> dict[str, list[tuple[tuple[str, ...], str]]]:
    """Return first word -> (phrase, concept), the longest phrase first."""
    by_first: dict[str, dict[tuple[str, ...], str]] = {}
    for concept, listed in SYNONYMS.items():
        for phrase in (concept, *listed.split(",")):
            stems = tuple(_stems(phrase))
            by_first.setdefault(stems[0], {}).setdefault(stems, f"~{concept}")
    return {first: sorted(found.items(), key=lambda item: -len(item[0])) for first, found in by_first.items()}


def _stems(text: str) -> list[str]:
    tokens = (token for token in _TOKEN.findall(text.lower()) if token not in _STOP)
    return [_stem(ABBREVIATIONS.get(token, token)) for token in tokens]


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    """Return a word without its inflection; crude, and the same for every spelling that matters here."""
    if len(word) < 4 or not word.isalpha():
        return word
    word = re.sub(r"iz(?=e|i|ation)", "is", word)
    word = re.sub(r"(?<=[a-z]{2})our(?=s?$|ing|ed)", "or", word)
    word = re.sub(r"tre(?=s?$)", "ter", word)
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and not word.endswith(("ies", "ses")):
        word = word[:-1]
    for suffix, put in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)] + put
            if not put and len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]  # embedding -> embedd -> embed
            break
    return word


@lru_cache(maxsize=65_536)
def _token_feature(token: str, dimensions: int) -> _Feature:
    """Return the (dimension, signed weight) pairs of one token."""
    if token[0] == "~":
        return (_scaled(token, dimensions, CONCEPT_WEIGHT),)
    if token[0].isdigit():
        return (_scaled(token, dimensions, _NUMBER_WEIGHT),)
    ngrams = list(_ngrams(f"<{token}>"))
    each = _NGRAMS_WEIGHT / max(1, len(ngrams)) ** 0.5
    return (_scaled(token, dimensions, WORD_WEIGHT), *(_scaled(f"#{gram}", dimensions, each) for gram in ngrams))


def _ngrams(word: str) -> Iterator[str]:
    for length in (3, 4):
        for start in range(len(word) - length + 1):
            yield word[start : start + length]


def _scaled(feature: str, dimensions: int, weight: float) -> tuple[int, float]:
    at, sign = _hashed(feature, dimensions)
    return at, sign * weight


@lru_cache(maxsize=262_144)
def _hashed(feature: str, dimensions: int) -> tuple[int, float]:
    """Return the dimension and the sign of a feature; Python's own `hash` differs between processes."""
    number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
    return (number >> 1) % dimensions, 1.0 if number & 1 else -1.0
