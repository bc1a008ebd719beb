"""Every layer keeps what it promises, alone and with the others, and the probes see it where none does."""

from __future__ import annotations

import pytest

from evaluation_locked.layers import MINIMUM, PROMISES, lost, promises_of, seals
from tests.redteam import conformance


@pytest.fixture(scope="module")
def found() -> dict[str, conformance.Conformance]:
    return {one.choice: one for one in conformance.run()}


def test_no_layer_breaks_a_promise(found: dict[str, conformance.Conformance]) -> None:
    assert {name: one.failed() for name, one in found.items() if one.failed()} == {}


def test_the_probes_get_through_where_no_layer_holds_them(found: dict[str, conformance.Conformance]) -> None:
    control = found["none"]
    assert control.promised == ()
    # What a machine closes to everybody may differ; these are open to any process of any Linux.
    for promise in ("files", "attributes", "tcp", "network", "unix sockets", "abstract sockets", "memory", "signals"):
        assert control.opened[promise], f"the probe of {promise!r} finds nothing where nothing is closed"


def test_all_layers_together_keep_every_promise(found: dict[str, conformance.Conformance]) -> None:
    together = found["all"]
    assert set(together.promised) == set(PROMISES)
    assert seals(together.layers)
    assert lost(together.layers) == ()


def test_a_machine_without_namespaces_still_seals_and_says_what_it_lacks(
    found: dict[str, conformance.Conformance],
) -> None:
    layers = found["all but namespaces"].layers
    assert seals(layers)
    assert lost(layers) == (PROMISES["orphans"],)


@pytest.mark.parametrize("choice", ["none", "limits", "landlock", "namespaces", "system calls"])
def test_no_layer_alone_seals_a_score(found: dict[str, conformance.Conformance], choice: str) -> None:
    assert not seals(found[choice].layers)


def test_an_old_landlock_promises_less() -> None:
    assert promises_of(["landlock 1"]) == {"files", "memory", "process list"}
    assert "tcp" in promises_of(["landlock 4"]) and "signals" not in promises_of(["landlock 4"])
    assert {"signals", "abstract sockets"} <= promises_of(["landlock 6"])
    assert promises_of(["landlock", "a layer of a later version"]) == frozenset()
    assert not seals(["landlock 7"]) and seals(["landlock 1", "system calls"])
    assert set(PROMISES) >= MINIMUM
