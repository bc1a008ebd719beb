from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memory.embedding import SYNONYMS, LocalEmbedder, canonical_tokens

UNRELATED = (
    "one-hot of the space group",
    "12 nearest neighbours instead of a radius graph",
    "Huber loss",
    "wider hidden layers",
    "bond angles through the line graph",
    "dropout 0.1 in the readout",
    "warm up the learning rate for 3 % of the budget",
    "element-pair embedding on each edge",
    "gradient clipping at norm 1",
    "attention pooling",
)


def similarity(one: str, other: str) -> float:
    first, second = LocalEmbedder()([one, other])
    return float(first @ second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("EMA of weights", "Polyak averaging"),
        ("exponential moving average of the weights", "Polyak-Ruppert averaged weights"),
        ("stochastic weight averaging", "SWA over the last 20 %"),
        ("wider radial Gaussians", "RBF width / 2"),
        ("smooth L1", "Huber loss"),
        ("SwiGLU in the readout", "a gated linear unit for pooling"),
        ("k-nearest neighbours", "kNN graph"),
        ("feature-wise modulation by the lattice", "FiLM of the lattice"),
        ("WIDTH = 96", "more hidden channels"),
        ("halve the learning rate", "lr / 2"),
        ("normalization of messages", "normalised message"),
    ],
)
def test_the_same_idea_in_other_words_is_nearer_than_any_other(one: str, other: str) -> None:
    alike = similarity(one, other)
    others = [text for text in UNRELATED if not set(canonical_tokens(text)) & set(canonical_tokens(other))]
    assert len(others) >= 8
    assert alike > 0.4
    assert alike > max(similarity(one, text) for text in others) + 0.2


def test_the_two_ways_to_give_the_space_group_are_one_idea() -> None:
    assert similarity("one-hot of the space group", "space-group embedding") == pytest.approx(1, abs=1e-6)
    assert canonical_tokens("SPG") == ["~space-group"]


def test_the_longest_phrase_names_the_concept() -> None:
    assert canonical_tokens("attention pooling of the RBF width") == ["~attention-pool", "~rbf-width"]
    assert canonical_tokens("layer norm, 5 layers") == ["~layer-norm", "5", "~depth"]


def test_every_phrase_leads_to_one_concept_alone() -> None:
    owners: dict[tuple[str, ...], set[str]] = {}
    for concept, phrases in SYNONYMS.items():
        for phrase in (concept, *phrases.split(",")):
            owners.setdefault(tuple(canonical_tokens(phrase)), set()).add(concept)
    assert len(SYNONYMS) >= 40
    assert {tokens: held for tokens, held in owners.items() if tokens != (f"~{next(iter(held))}",)} == {}


def test_numbers_tell_apart_but_less_than_words() -> None:
    assert 0.8 < similarity("WIDTH = 96", "WIDTH = 112") < 0.99 < similarity("WIDTH = 96", "width 96")


def test_vectors_have_length_one_even_of_nothing() -> None:
    for vector in LocalEmbedder()(["ema", "", "?!", "ema " * 1000]):
        assert vector.dtype == np.float32
        assert vector.shape == (512,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_order_within_a_batch_does_not_matter() -> None:
    embedder = LocalEmbedder()
    one, two = embedder(["gated convolution", "Lion optimiser"])
    assert np.array_equal(embedder(["Lion optimiser"])[0], two)
    assert np.array_equal(embedder(["gated convolution"])[0], one)


def test_another_table_of_synonyms_is_another_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    before = LocalEmbedder().identity
    assert before != LocalEmbedder(256).identity
    monkeypatch.setitem(SYNONYMS, "ema", "ema")
    assert LocalEmbedder().identity != before


def test_every_process_gives_the_same_vectors() -> None:
    code = (
        "from memory.embedding import LocalEmbedder; import hashlib, sys; "
        "v = LocalEmbedder()(['EMA of weights, WIDTH = 96', 'Größe der Zelle']); "
        "print(hashlib.sha256(b''.join(x.tobytes() for x in v)).hexdigest(), 'chromadb' in sys.modules)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(said) == 1
    assert said.pop().endswith(" False\n")
