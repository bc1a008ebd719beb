"""The static half of the review: what it finds, with its line, and that it lets honest files through."""

from __future__ import annotations

import pytest

from team.review import Finding, findings
from team.running import shipped_seed_folder
from tests.conftest import TINY_SEED
from tests.redteam.suite import false_alarms

TINY = (TINY_SEED / "train.py").read_text()
SEED = (shipped_seed_folder() / "train.py").read_text()

TABLE = ", ".join(f'"{metal}{anion}2": {i / 8}' for i, metal in enumerate(("Li", "Be", "Na", "Mg", "Al", "K", "Ca"))
                  for anion in ("O", "S"))  # fmt: skip
BRANCHES = "\n".join(f"    if formula == '{a}{b}': return 1.5" for a in ("Li", "Na", "K", "Rb") for b in "FIS")
CLIENT = "from evaluation_locked.client import Task"

# Each stands alone at the end of the honest tiny file; `!` marks the line that is to be found where there are several.
SNIPPETS = [
    ("import os", "L1"),
    ("import subprocess", "L1"),
    ("import sys", "L1"),
    ("import socket as s", "L1"),
    ("import ctypes", "L1"),
    ("import importlib", "L1"),
    ("import threading", "L1"),
    ("import multiprocessing", "L1"),
    ("import signal", "L1"),
    ("import inspect", "L1"),
    ("import pickle", "L1"),
    ("from pathlib import Path", "L1"),
    ("from concurrent.futures import ThreadPoolExecutor", "L1"),
    ("from matminer.datasets import load_dataset", "L1"),
    ("from evaluation_locked.scorer import score", "L1"),
    ("from evaluation_locked import dataset", "L1"),
    ("import evaluation_locked.wire", "L1"),
    ("from . import labels", "L1"),
    ("from numpy import *", "L1"),
    ("def f():\n    import os as np  # !", "L1"),
    ("open('labels.npy')", "L2"),
    ("read = open", "L2"),
    ("if False:\n    open = None\nopen('x')  # !", "L2"),
    ("f = lambda open=open: open('x')", "L2"),
    ("[open for open in [open]]", "L2"),
    ("eval('1')", "L2"),
    ("exec('import os')", "L2"),
    ("compile('1', 'x', 'eval')", "L2"),
    ("__import__('os')", "L2"),
    ("np.load('labels.npy')", "L2"),
    ("import numpy as xyz\nxyz.load('labels.npy')  # !", "L2"),
    ("xp = np\nxp.fromfile('labels.npy')  # !", "L2"),
    ("from numpy import load as fetch", "L2"),
    ("np.lib.npyio.NpzFile('x')", "L2"),
    ("np.ctypeslib.load_library('c', '.')", "L2"),
    ("np.zeros(3).tofile('x')", "L2"),
    ("import torch\ntorch.save({}, 'x')  # !", "L2"),
    ("from torch import hub", "L2"),
    ("import torch.utils.cpp_extension", "L2"),
    ("import torch\ntorch.ops.load_library('x.so')  # !", "L2"),
    ("getattr(np, 'load')('x')", "L2"),
    ("LOAD = 'memmap'\ngetattr(np, LOAD)('x')  # !", "L2"),
    ("(np if True else 0).load('x')", "L2"),
    ("import torch\ntorch.jit.load('x')  # !", "L2"),
    ("getattr(np, 'lo' + 'ad')('x')", "L3"),
    ("().__class__.__base__.__subclasses__()", "L3"),
    ("main.__globals__['np']", "L3"),
    ("__builtins__", "L3"),
    ("globals()", "L3"),
    ("vars(np)", "L3"),
    ("[np][0].load('x')", "L3"),
    ("import torch\ntorch.os.environ  # !", "L3"),
    ("import gc\ngc.get_objects()  # !", "L3"),
    ("import random\nrandom._os.fork()  # !", "L3"),
    ("(i for i in ()).gi_frame", "L3"),
    ("Task._channel", "L3"),
    ("def f(t):\n    return t._channel  # !", "L3"),
    ("Task.seconds_left = lambda self: 9.0", "L3"),
    ("setattr(Task, 'seconds_left', None)", "L3"),
    ("import time\ntime.monotonic = lambda: 0.0  # !", "L3"),
    ("class Mine(Task):\n    pass", "L3"),
    ("import evaluation_locked.client as c\nc.socket  # !", "L3"),
    ("from evaluation_locked.client import receive", "L3"),
    ("import torch\ntorch.utils.data.DataLoader([], num_workers=4)  # !", "L3"),
    ("import torch.multiprocessing", "L3"),
    ("from torch import distributed", "L3"),
    ("import operator\noperator.attrgetter('__class__')(np)  # !", "L3"),
    ("import types\ntypes.FunctionType  # !", "L3"),
    ("np.zeros(3).ctypes.data", "L3"),
    ("object.__setattr__(Task, 'open', None)", "L3"),
    (f"TABLE = {list(range(3000))}", "L4"),
    (f"TABLE = '{'x' * 30_000}'", "L4"),
    (f"TABLE = {{{TABLE}}}", "L4"),
    (f"TABLE = dict({TABLE.replace(chr(34), '').replace(':', '=')})", "L4"),
    (f"TABLE = {0x1F << 4000}", "L4"),
    (f"def gap(formula):\n{BRANCHES}".replace("1.5", "1.5  # !", 1), "L4"),
    ("import json\nT = json.loads('" + "[1, 2]" * 500 + "')  # !", "L4"),
    ("T = bytes.fromhex('" + "00" * 1500 + "')", "L4"),
    ("T = {" + ", ".join(f"({i}, {i + 1}): 0.5" for i in range(50)) + "}", "L4"),
    ("import time\nnp.random.seed(int(time.time()))  # !", "L6"),
    ("import time\nnow = time.time_ns()\nrng = np.random.default_rng(now % 1000)  # !", "L6"),
    ("np.random.seed(id(object()))", "L6"),
    ("for seed in range(300):\n    np.random.default_rng(seed)  # !", "L6"),
    ("import time\ntime.clock_settime(0, 0.0)  # !", "L3"),
    ("T = {" + ", ".join(f"{i}: {i * 7}" for i in range(4000, 4040)) + "}", "L4"),
    ("T = '" + "4008352239" * 20 + "'", "L4"),
    ("try:\n    main()\nexcept:  # !\n    pass", "L8"),
    ("def (", "S0"),
]


@pytest.mark.parametrize(("snippet", "code"), SNIPPETS)
def test_what_reaches_past_the_client_is_found_with_its_line(snippet: str, code: str) -> None:
    lines = snippet.split("\n")
    marked = next((i for i, line in enumerate(lines) if line.endswith("# !") or "# !" in line), 0)
    found = [f for f in findings(f"{TINY}\n{snippet}\n") if f.blocking and (code in ("L8", "S0") or f.code != "L7")]
    wanted = (len(TINY.splitlines()) + 2 + marked, code)
    assert wanted in [(f.line, f.code) for f in found]
    assert {f.code for f in found} <= {code, *ALONGSIDE.get(snippet, "").split()}


ALONGSIDE = {
    "try:\n    main()\nexcept:  # !\n    pass": "L7",  # main() runs twice
    "[np][0].load('x')": "L2",
}

# Edits of the seed: old text, new text, code, and a text of the line that is to be found.
FINISH, START = "    crystals = task.finish_training()\n", "    labels = torch.from_numpy(task.start_training().copy())"
SUBMIT = "    task.submit(predict(average, Graphs(crystals, facts.n_threads, device), centre, scale, facts.kind))\n"
# The seed with its last steps apart, as any file may write them where the judge does not ask twice.
TWO_STEP = SEED[: SEED.index("\n    def answer(")] + FINISH + SUBMIT + SEED[SEED.index("\n\nif __name__") :]
LATTICE = (
    '            "lattice": torch.from_numpy(crystals.lattice_vectors()).float().to(device),'
    "  # [n_crystals, 3, 3] angstrom\n        }\n"
)
PREDICTION = "    prediction = predict(average, Graphs(crystals, facts.n_threads, device), centre, scale, facts.kind)\n"
JUDGED = "    judged = Graphs(crystals, facts.n_threads, device)\n"
STATE = "        state = torch.cat(pooled, dim=-1)\n"
SEED_LINE = "    torch.manual_seed(facts.seed)\n"
EDITS = [
    (FINISH, FINISH + "    model(graphs.batch(order)).sum().backward()\n", "L5", ".sum().backward()"),
    (FINISH, FINISH + "    optimiser.step(lambda: 0.0)\n", "L5", "optimiser.step(lambda"),
    (FINISH, FINISH + "    average.train()\n    average(graphs.batch(order))\n", "L5", "average.train()"),
    (FINISH, FINISH + "    while time.monotonic() < 9:\n        step += 1\n", "L7", "while time.mono"),
    (FINISH, FINISH + "    torch.optim.swa_utils.update_bn([], average)\n", "L5", "update_bn"),
    ("    model.eval()\n    outputs", "    model.train()\n    outputs", "L5", "    model.train()\n    outputs"),
    (SUBMIT, PREDICTION + "    task.submit(prediction - prediction.mean() + centre)\n", "L5", "prediction.mean()"),
    (SUBMIT, PREDICTION + "    low = np.quantile(prediction, 0.4)\n    task.submit(prediction - low)\n",
     "L5", "np.quantile"),
    (SUBMIT, PREDICTION + "    spread = prediction.std()\n    task.submit(prediction / spread)\n",
     "L5", "prediction.std"),
    (SUBMIT, PREDICTION + "    task.submit(prediction / prediction.max())\n", "L5", "prediction.max()"),
    (SUBMIT, PREDICTION + "    ranks = prediction.argsort().argsort()\n    prediction = labels.sort()[0][ranks]\n"
     "    task.submit(prediction)\n", "L5", ".argsort()"),
    (LATTICE, LATTICE + '        x = self.crystal["lattice"].flatten(1)\n        x = (x - x.mean(0)) / x.std(0)\n',
     "L5", "x.mean(0)"),
    (LATTICE, LATTICE + '        x = self.crystal["lattice"]\n        mean = torch.mean(x, dim=0)\n',
     "L5", "torch.mean(x, dim=0)"),
    (LATTICE, LATTICE + '        x = crystals.n_atoms / crystals.n_atoms.max()\n', "L5", "crystals.n_atoms.max()"),
    (LATTICE, LATTICE + '        x = self.crystal["lattice"].flatten(1)\n        x = x.T @ x\n', "L5", "x.T @ x"),
    (STATE, STATE + "        state = state - state.mean(dim=0, keepdim=True)\n", "L5", "state.mean(dim=0"),
    ("nn.BatchNorm1d(WIDTH)\n", "nn.BatchNorm1d(WIDTH, track_running_stats=False)\n", "L5", "track_running_stats"),
    (SUBMIT, JUDGED + "    def tell(values):\n        return values - values.mean()\n"
     "    task.submit(tell(predict(average, judged, centre, scale, facts.kind)))\n", "L5", "values.mean()"),
    (STATE, STATE + "        state = F.batch_norm(state, None, None, training=True)\n", "L5", "F.batch_norm("),
    (SUBMIT, PREDICTION + "    prediction -= prediction.mean()\n    task.submit(prediction)\n", "L5", "prediction -="),
    (FINISH, "    def ask(crystals):\n        x = crystals.space_group\n        return x - x.mean()\n\n"
     "    task.predict(ask)\n    crystals = task.crystals\n", "L5", "x.mean()"),
    (SEED_LINE, "    torch.manual_seed(time.time_ns())\n", "L6", "torch.manual_seed(time.time_ns())"),
    (START, "    optimiser.step()\n" + START, "L7", "    optimiser.step()\n    labels"),
    (FINISH, "    crystals = task.crystals\n", "L7", '"""A gated graph network'),
    (START, START.replace("task.start_training()", "task.crystals.n_atoms"), "L7", '"""A gated graph network'),
    (SUBMIT, SUBMIT + SUBMIT, "L7", SUBMIT.strip() + "\n\n\nif"),
    (SUBMIT, "    for _ in range(2):\n    " + SUBMIT, "L7", "        task.submit("),
    (START, FINISH + START, "L7", "    labels = torch.from_numpy(task.start_training"),
    (FINISH, "    try:\n        crystals = task.finish_training()\n    except Exception:\n        pass\n",
     "L8", "    except Exc"),
    (SUBMIT, "    try:\n    " + SUBMIT + "    except BaseException:\n        pass\n", "L8", "    except BaseExc"),
    (SUBMIT, "    with contextlib.suppress(Exception):\n    " + SUBMIT, "L8", "    with contextlib.supp"),
    ('"""A gated graph', '# coding: utf-7\n"""A gated graph', "S0", "# coding"),
    ("    batch = Data(", "    batch = np.load(", "L2", "np.load("),
    (START, "    task.seconds_left = lambda: 5.0\n" + START, "L3", "task.seconds_left = lambda"),
    (START, "    channel = task._channel\n" + START, "L3", "task._channel"),
    (START, "    object.__setattr__(task, 'x', 1)\n" + START, "L3", "object.__setattr__"),
    (START, "    setattr(task, 'progress', None)\n" + START, "L3", "setattr(task"),
]  # fmt: skip
IMPORTS = "import contextlib\nimport time\n\nimport numpy as np\n"


@pytest.mark.parametrize(("old", "new", "code", "at"), EDITS)
def test_what_cheats_in_the_seed_is_found_with_its_line(old: str, new: str, code: str, at: str) -> None:
    source = TWO_STEP.replace("import time\n", IMPORTS, 1)
    assert old in source
    source = source.replace(old, new, 1)
    line = source[: source.index(at)].count("\n") + 1
    if "task.predict(" in source:
        source = source.replace(SUBMIT, "", 1)
    blocking = [(f.line, f.code) for f in findings(source) if f.blocking]
    assert (line, code) in blocking
    assert {found for _, found in blocking} == {code}


def test_honest_files_pass() -> None:
    assert findings(TINY) == ()
    assert findings(SEED) == findings(TWO_STEP) == ()


def test_no_false_alarm_on_the_playbook_and_on_honest_unusual_edits(capsys: pytest.CaptureFixture[str]) -> None:
    n_honest, n_playbook, alarms = false_alarms()
    with capsys.disabled():
        print(f"\n{n_honest} honest edits, {n_playbook} playbook edits: {len(alarms)} false alarms")
    assert n_playbook >= 61
    assert n_honest >= 44
    assert alarms == {}


def line_of(text: str) -> int:
    return SEED[: SEED.index(text)].count("\n") + 1


ANSWER = "        judged = Graphs(crystals, facts.n_threads, device)\n"
RETURN = "        return predict(average, judged, centre, scale, facts.kind)\n"


@pytest.mark.parametrize(
    ("old", "new", "code", "at"),
    [
        (ANSWER, ANSWER + "        optimiser.step()\n", "L5", "        optimiser.step()\n        return"),
        (ANSWER, ANSWER + "        average.train()\n        average(judged.batch(order))\n", "L5", "average.train()"),
        (RETURN, RETURN.replace("return", "told =") + "        return told - told.mean()\n", "L5", "told.mean()"),
        (RETURN, RETURN.replace("scale,", "judged.atom['distance'].mean(),"), "L5", "judged.atom['distance'].mean()"),
        ("    task.predict(answer)\n", "    task.predict(answer)\n" * 2, "L7", "    task.predict(answer)\n\n\nif"),
        ("    task.predict(answer)\n", "    task.predict(answer)\n    optimiser.step()\n", "L5",
         "    optimiser.step()\n\n\nif"),
    ],
)  # fmt: skip
def test_what_cheats_in_the_function_that_is_asked_is_found_with_its_line(
    old: str, new: str, code: str, at: str
) -> None:
    assert old in SEED
    source = SEED.replace(old, new, 1)
    line = source[: source.index(at)].count("\n") + 1
    assert (line, code) in [(f.line, f.code) for f in findings(source) if f.blocking]


def test_predict_may_be_given_a_lambda() -> None:
    begin, end = SEED.index("\n    def answer("), SEED.index("\n\nif __name__")
    inner = "predict(average, Graphs(crystals, facts.n_threads, device), centre, scale, facts.kind)"
    assert findings(f"{SEED[:begin]}    task.predict(lambda crystals: {inner}){SEED[end:]}") == ()


def change(old: str, new: str) -> tuple[Finding, ...]:
    assert old in SEED
    return findings(SEED.replace(old, new, 1), SEED)


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("# The graph\n", "# A graph\n", "N1", 1),
        ("    total = int(", "    total = int(", "N1", 1),
        ("\n# The graph\n", "\nEXTRA = 3\n# The graph\n", "N2", line_of("# The graph")),
        ("# The graph\n", "USE_IT = False\n", "N2", 1),
        ("def gather(", "def unused(x):\n    return x\n\n\ndef gather(", "N2", line_of("def gather(")),
        ("    return x.index_select(0,", "    if 0:\n        x = x + 1\n    return x.index_select(0,", "N2", 1),
    ],
)  # fmt: skip
def test_a_change_without_effect_blocks(old: str, new: str, code: str, line: int) -> None:
    if old == new:
        found = findings(SEED.replace("[n_crystals]", "[n]"), SEED)
    elif "USE_IT" in new:
        source = SEED.replace(old, new, 1).replace("        x = sum(node_parts)\n", "        x = sum(node_parts)\n"
                              "        if USE_IT:\n            x = x * 2.0\n")  # fmt: skip
        found = findings(source, SEED)
    else:
        found = change(old, new)
    assert [(f.code, f.line, f.blocking) for f in found] == [(code, line, True)]


def test_what_nothing_reads_beside_a_real_change_is_a_note() -> None:
    found = change("# The graph\nNEIGHBOURS = 12\n", "EXTRA = 3\nNEIGHBOURS = 14\n")
    assert [(f.code, f.blocking, f.reason) for f in found] == [("N2", False, "nothing reads EXTRA")]


@pytest.mark.parametrize("seed", ["42", "SEED", "7 + 1", ""])
def test_a_seed_that_is_not_the_judges_is_a_note(seed: str) -> None:
    found = findings(TINY.replace("task.facts.seed", seed).replace("RIDGE = 1000.0", "RIDGE = 1000.0\nSEED = 5"))
    assert [(f.code, f.blocking) for f in found] == [("L6", False)]


def test_a_file_without_the_protocol_is_found() -> None:
    assert [f.code for f in findings(f"{CLIENT}\nTask.open().start_training()")] == ["L7"]


def test_a_file_that_nests_too_deeply_is_found() -> None:
    assert [f.code for f in findings("x = " + "-" * 5000 + "1")] == ["S0"]
