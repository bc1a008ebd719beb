"""Every layer keeps what it promises, alone and with the others, and the probes see it where none does."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from evaluation_locked import sandbox
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


OPEN_DEVICES = """
import os
for name in ("nvidia0", "nvidia-uvm", "nvidia-caps/nvidia-cap1"):
    handle = os.open({folder!r} + "/" + name, os.O_RDWR)
    print(name, os.write(handle, b"x"))
try:
    os.open({folder!r} + "/sda", os.O_RDONLY)
except OSError as error:
    print("sda", type(error).__name__)
print(len(os.listdir("/proc/driver")) >= 0, os.path.isdir("/sys/devices"), os.listdir("/sys/class") != [])
"""


def test_a_gpus_device_nodes_stay_open_below_all_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins with the names of a driver's nodes: no machine of ours has a GPU to try."""
    folder, scratch = tmp_path / "dev", tmp_path / "scratch"
    (folder / "nvidia-caps").mkdir(parents=True)
    scratch.mkdir()
    try:
        for name in ("nvidia0", "nvidia-uvm", "nvidia-caps/nvidia-cap1", "sda"):
            os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # each behaves as /dev/null
        os.close(os.open(folder / "nvidia0", os.O_RDWR))
    except PermissionError:
        pytest.skip("making a device node needs root, and a file system that allows it")
    monkeypatch.setattr(sandbox, "DEVICE_FOLDER", folder)
    assert sandbox.has_gpu_devices()
    train_py = tmp_path / "train.py"
    train_py.write_text(OPEN_DEVICES.format(folder=str(folder)))
    layers, log = conformance._launch(sandbox.launch_order(train_py, scratch), scratch, capped=True)
    assert seals(layers)
    assert log.splitlines() == [
        "nvidia0 1",
        "nvidia-uvm 1",
        "nvidia-caps/nvidia-cap1 1",
        "sda PermissionError",
        "True True True",
    ]
