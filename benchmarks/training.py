"""Crystals per second: our files against a textbook model of PyTorch Geometric, on the same crystals in one run.

    python -m benchmarks.training                       # make bench-train: some minutes on two quiet cores
    python -m benchmarks.training --device cuda --files crystal_seed/train.py crystal_seed/starts/*.py
    python -m benchmarks.training --knob WIDTH=128 --knob BLOCKS=5 --seconds 20

The textbook is what a tutorial writes: `CGConv` four times, width 64, edges within 5 angstrom and at most 12 of them, a
`Data` for each crystal, a `DataLoader`, Adam. Beside it stand the same function in our layout (dense [n_nodes, 12] with
the linear layer split before the gather; then folded too, where equal atoms are one node), the seed at that width and
depth, and the files as they are. That it is the same function is proved first: with copied weights our layout's outputs
differ from the textbook's by less than 1e-4. Folding is told apart: it takes distances that differ by less than 0.005
angstrom for equal, so it moves outputs a little, and by how much is printed.

Contenders take turns, and a ratio is the median of the ratios within a turn, so that a busy minute strikes all. A file
is run by its own `main`, with a task whose clock is ours: what is measured is the file and not a likeness of its loop.
Crystals per second are by the wall clock; beside them are those per second of CPU time, which other work on the machine
moves less. Graphs are built off the clock. It needs torch, torch_geometric and numpy, nothing else.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import os
import re
import statistics
import time
import types
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.loader import DataLoader

from benchmarks.textbook import LAYERS, NEIGHBOURS, WIDTH, SameFunction, Textbook, textbook_data
from evaluation_locked.client import TaskFacts
from evaluation_locked.dataset import Dataset, load_table
from memory.edits import apply_edits, knobs, set_knob

if TYPE_CHECKING:
    from collections.abc import Callable

    from evaluation_locked.crystals import Crystals

ROOT = Path(__file__).parents[1]
SEED = ROOT / "crystal_seed" / "train.py"
TOLERANCE, PROVED_ON = 1e-4, 200
CRYSTALS, MAX_ATOMS, SECONDS, TURNS = 2000, 60, 6.0, 5
_STEPS = re.compile(r"(\d+) steps of (\d+)")


@dataclass(frozen=True)
class Rate:
    """How fast one contender was in one turn."""

    crystals_per_second: float
    crystals_per_cpu_second: float
    parameters: int


def load_file(path: Path, settings: dict[str, Any]) -> types.ModuleType:
    """Return a train.py as a module, with those of the settings that it has as constants."""
    source = path.read_text(encoding="utf-8")
    for name, value in settings.items():
        if knobs(source).get(name, value) != value:
            source = apply_edits(source, [set_knob(source, name, value)])
    module = types.ModuleType(path.stem)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def unfolded(module: types.ModuleType) -> types.ModuleType:
    """Return the module with a node for each atom, so that layout and folding are told apart."""

    def every_atom(crystals: Crystals, table: Any, n_threads: int = 1) -> types.SimpleNamespace:
        n = int(crystals.n_atoms.sum())
        return types.SimpleNamespace(
            n_nodes=crystals.n_atoms,
            atom=np.arange(n),
            count=np.ones(n, dtype=np.int64),
            index=table.index,
            distance=table.distance,
            vector=table.vector,
        )

    module.fold = every_atom  # type: ignore[attr-defined]
    return module


@dataclass(frozen=True)
class Difference:
    """How far outputs with the textbook's weights are from the textbook's, at most over the crystals.

    In float64, where rounding does not blur whether it is the same function: outputs are sums over four layers of sums.

    Attributes:
        layout: In our layout, a node for each atom.
        folded: With equal atoms as one node, too.
        spread: The standard deviation of the textbook's outputs, for comparison.
    """

    layout: float
    folded: float
    spread: float


def differences(crystals: Crystals) -> Difference:
    """Return how far the textbook and its function in our layout differ, with the same weights."""
    torch.manual_seed(0)
    textbook = Textbook().eval().double()
    (whole,) = DataLoader(textbook_data(crystals), batch_size=len(crystals))
    whole.distance = whole.distance.double()
    with torch.no_grad():
        expected = textbook(whole)

        def most(module: types.ModuleType) -> float:
            graphs = module.Graphs(crystals, torch.get_num_threads(), torch.device("cpu"))
            batch = graphs.batch(torch.arange(len(crystals)))
            batch.distance, batch.share = batch.distance.double(), batch.share.double()
            output = SameFunction(textbook).double()(batch)
            return float((output - expected).abs().max())

        seed = {"NEIGHBOURS": NEIGHBOURS}
        return Difference(most(unfolded(load_file(SEED, seed))), most(load_file(SEED, seed)), float(expected.std()))


def run_steps(
    model: nn.Module, batches: Callable[[], tuple[Any, torch.Tensor]], seconds: float, device: torch.device
) -> Rate:
    """Train for so many seconds and return the rate; `batches` gives a batch and its labels."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    seen = 0
    _synchronise(device)
    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        batch, labels = batches()
        loss = functional.l1_loss(model(batch), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen += len(labels)
    _synchronise(device)
    return _rate(model, seen, time.monotonic() - began, time.process_time() - cpu)


def run_file(module: types.ModuleType, dataset: Dataset, seconds: float, threads: int) -> Rate:
    """Let a file train by its own `main` for so many seconds and return its rate."""
    task = _Clock(dataset, seconds, threads)
    module.Task = types.SimpleNamespace(open=lambda: task)  # type: ignore[attr-defined]
    built: list[nn.Module] = []
    network = module.Network

    def remember() -> nn.Module:
        built.append(network())
        return built[-1]

    module.Network = remember  # type: ignore[attr-defined]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            module.main()
    finally:
        module.Network = network  # type: ignore[attr-defined]
    match = _STEPS.search(said.getvalue())
    if match is None:
        raise ValueError(f"{module.__name__} printed {said.getvalue()!r}, and not `N steps of M`")
    return _rate(built[0], int(match[1]) * int(match[2]), task.seconds, task.cpu_seconds)


class _Clock:
    """What a file sees in place of the judge's task: crystals, labels, and a clock that keeps the times."""

    def __init__(self, dataset: Dataset, seconds: float, threads: int) -> None:
        self.facts = TaskFacts("bench", "gap_ev", "eV", "regression", "mae", 0, threads, seconds)
        self.crystals = dataset.crystals
        self._labels = dataset.target
        self._began = self._cpu_began = self.seconds = self.cpu_seconds = 0.0

    def start_training(self) -> np.ndarray:
        self._began, self._cpu_began = time.monotonic(), time.process_time()
        return self._labels

    def seconds_left(self) -> float:
        return self.facts.train_seconds - (time.monotonic() - self._began)

    def progress(self) -> float:
        return min(1.0, max(0.0, 1.0 - self.seconds_left() / self.facts.train_seconds))

    def predict(self, function: Callable[[Crystals], np.ndarray]) -> None:
        self.seconds = time.monotonic() - self._began
        self.cpu_seconds = time.process_time() - self._cpu_began


def contenders(
    dataset: Dataset, files: list[Path], settings: dict[str, Any], batch_size: int, seconds: float, threads: int
) -> dict[str, Callable[[torch.device], Rate]]:
    """Return what is measured, the textbook first; each trains a while on a device and returns its rate."""
    labels = torch.from_numpy(dataset.target).float()
    labelled = textbook_data(dataset.crystals)
    for data, label in zip(labelled, labels, strict=True):
        data.label = label[None]

    def textbook(device: torch.device) -> Rate:
        loader = DataLoader(labelled, batch_size=batch_size, shuffle=True)
        stream = (batch.to(device) for _ in iter(int, 1) for batch in loader)

        def batches() -> tuple[Any, torch.Tensor]:
            batch = next(stream)
            return batch, batch.label

        return run_steps(Textbook().to(device), batches, seconds, device)

    def same_function(module: types.ModuleType) -> Callable[[torch.device], Rate]:
        made: list[Any] = []

        def run(device: torch.device) -> Rate:
            if not made:
                made.append(module.Graphs(dataset.crystals, threads, device))
            target = labels.to(device)

            def batches() -> tuple[Any, torch.Tensor]:
                rows = torch.randperm(len(dataset))[:batch_size]
                return made[0].batch(rows), target[rows.to(device)]

            return run_steps(SameFunction(Textbook()).to(device), batches, seconds, device)

        return run

    def of_file(path: Path, changed: dict[str, Any]) -> Callable[[torch.device], Rate]:
        module = load_file(path, changed)
        return lambda device: run_file(module, dataset, seconds, threads)

    found: dict[str, Callable[[torch.device], Rate]] = {
        "textbook": textbook,
        "same function, our layout": same_function(unfolded(load_file(SEED, {"NEIGHBOURS": NEIGHBOURS}))),
        "same function, folded too": same_function(load_file(SEED, {"NEIGHBOURS": NEIGHBOURS})),
        f"seed, width {WIDTH}, {LAYERS} blocks": of_file(
            SEED, {"WIDTH": WIDTH, "BLOCKS": LAYERS, "NEIGHBOURS": NEIGHBOURS, "BATCH_SIZE": batch_size}
        ),
    }
    for path in files:
        name = path.stem if path.resolve() != SEED else "seed"
        found[f"{name}, {'as it is' if not settings else 'with ' + _shown(settings)}"] = of_file(path, settings)
    return found


def measure(
    found: dict[str, Callable[[torch.device], Rate]], device: torch.device, turns: int
) -> dict[str, list[Rate]]:
    """Return each contender's rate in each turn; a first turn, in which caches and kernels are made, does not count."""
    rates: dict[str, list[Rate]] = {name: [] for name in found}
    for turn in range(turns + 1):
        for name, run in found.items():
            rate = run(device)
            if turn:
                rates[name].append(rate)
    return rates


def table(rates: dict[str, list[Rate]]) -> list[dict[str, Any]]:
    """Return a row for each contender: medians, the spread over turns, and the median ratio to the first."""
    first = next(iter(rates.values()))
    rows = []
    for name, own in rates.items():
        wall = [rate.crystals_per_second for rate in own]
        of_cpu = [rate.crystals_per_cpu_second for rate in own]
        ratios = [a.crystals_per_second / b.crystals_per_second for a, b in zip(own, first, strict=True)]
        cpu_ratios = [a.crystals_per_cpu_second / b.crystals_per_cpu_second for a, b in zip(own, first, strict=True)]
        rows.append(
            {
                "name": name,
                "parameters": own[0].parameters,
                "crystals_per_second": round(statistics.median(wall), 1),
                "lowest": round(min(wall), 1),
                "highest": round(max(wall), 1),
                "ratio": round(statistics.median(ratios), 2),
                "lowest_ratio": round(min(ratios), 2),
                "highest_ratio": round(max(ratios), 2),
                "crystals_per_cpu_second": round(statistics.median(of_cpu), 1),
                "cpu_ratio": round(statistics.median(cpu_ratios), 2),
            }
        )
    return rows


def choose_crystals(source: Path | None, n: int) -> Dataset:
    """Return n crystals of at most 60 atoms: of a table file of the real task, or of the shipped ones."""
    if source is None:
        from evaluation_locked import tight_binding

        dataset = tight_binding.load()
    else:
        dataset = load_table(source, "gap_pbe")
    rows = np.flatnonzero(dataset.crystals.n_atoms <= MAX_ATOMS)
    return dataset.select(np.random.default_rng(0).choice(rows, min(n, len(rows)), replace=False))


def _rate(model: nn.Module, seen: int, seconds: float, cpu_seconds: float) -> Rate:
    return Rate(seen / seconds, seen / max(cpu_seconds, 1e-9), sum(weight.numel() for weight in model.parameters()))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _shown(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def main() -> None:
    """Prove the same function, measure, print."""
    folder = os.environ.get("TEAM_TEST_DATA")
    parser = argparse.ArgumentParser(description="Crystals per second against a textbook model.")
    parser.add_argument("--files", type=Path, nargs="*", help="train.py files; the seed and all starts where absent")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64, help="of the textbook and of what is compared with it")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each contender in each turn")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--crystals", type=int, default=CRYSTALS)
    parser.add_argument("--knob", action="append", default=[], metavar="NAME=VALUE", help="set it in the files")
    parser.add_argument("--table", type=Path, default=Path(folder, "matbench_mp_gap.npz") if folder else None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the files take a GPU where they find one
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    settings = {name: ast.literal_eval(value) for name, _, value in (text.partition("=") for text in given.knob)}
    files = given.files if given.files is not None else [SEED, *sorted((SEED.parent / "starts").glob("*.py"))]
    dataset = choose_crystals(given.table, given.crystals)

    found_difference = differences(dataset.crystals.select(np.arange(min(PROVED_ON, len(dataset)))))
    if found_difference.layout > TOLERANCE:
        raise SystemExit(f"our layout is another function: outputs differ by {found_difference.layout:.2g}")
    device = torch.device(given.device)
    load = os.getloadavg()[0]
    found = contenders(dataset, files, settings, given.batch_size, given.seconds, given.threads)
    rows = table(measure(found, device, given.turns))
    if given.json:
        print(
            json.dumps(
                {"difference": asdict(found_difference), "load": load, "device": given.device, "rows": rows}, indent=1
            )
        )
        return
    where = torch.cuda.get_device_name() if given.device == "cuda" else f"{given.threads} threads"
    print(
        f"{len(dataset):,} crystals, {dataset.crystals.n_atoms.mean():.1f} atoms each, {where}; {given.turns} turns of"
    )
    print(f"{given.seconds:g} s; load {load:.1f} before. With the same weights our layout differs from the textbook by")
    print(
        f"{found_difference.layout:.1g} at most, folded by {found_difference.folded:.1g}; outputs spread by "
        f"{found_difference.spread:.2g}."
    )
    print(f"{'':34s} parameters  crystals/s  [lowest, highest]    ratio  [lowest, highest]   per CPU second   ratio")
    for row in rows:
        print(
            f"{row['name']:34s} {row['parameters']:10,d} {row['crystals_per_second']:11,.0f}  "
            f"[{row['lowest']:,.0f}, {row['highest']:,.0f}]".ljust(78)
            + f" {row['ratio']:6.2f}  [{row['lowest_ratio']:.2f}, {row['highest_ratio']:.2f}]".ljust(28)
            + f"{row['crystals_per_cpu_second']:10,.0f} {row['cpu_ratio']:9.2f}"
        )


if __name__ == "__main__":
    main()
