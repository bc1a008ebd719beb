"""Let every attack loose on a trial, and say what stopped it.

    python -m tests.redteam.suite [--only NAME ...] [--json] [--no-honest]

An attack is a complete train.py in `attacks/`. Its docstring says what it tries, what is expected to stop it
(`Stopped by:`), with which statuses its trial may end (`Outcome:`, without one `finished`), and how often it is run in
a row (`Runs:`), where it leaves a note for a later trial. In its log it writes `REACHED` for what it got, and `refused`
for what the kernel denied it; the suite believes the first and checks for itself what can be checked.

The sandbox has to stand on its own: what the static review finds is recorded, and the file is run all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from evaluation_locked import process_tree
from evaluation_locked.scorer import ScoringError, score
from evaluation_locked.trial import TrialOrder, TrialOutcome, run_trial
from memory.edits import apply_edits, parse_edits
from memory.techniques import load_playbook
from team.review import findings
from team.running import shipped_seed_folder
from tests.redteam.bait import CAPS, SECRET, Bait, lay

ATTACKS = Path(__file__).with_name("attacks")
HONEST = Path(__file__).with_name("honest")
HONEST_EDITS = Path(__file__).parents[1] / "team" / "honest_edits"
STOPPERS = ("kernel", "protocol", "static review", "canary")
NOT_STOPPED = "NOT STOPPED"
MAX_OVERHEAD_SECONDS = 0.3
LAST_SECONDS = 20
HELD_BY_KERNEL = ("memory", "output", "processes", "disk")
LEFT_BY_A_TRIAL = {"train.py", "train.log", "predictions.npy"}
_children_of_ours: set[int] = set()


@dataclass(frozen=True)
class Attack:
    """One train.py, and what it says of itself."""

    path: Path
    what: str
    stopped_by: str
    outcomes: tuple[str, ...]
    runs: int

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.stem


@dataclass(frozen=True)
class Result:
    """What became of one attack.

    Attributes:
        stopped_by: One of `STOPPERS`, or `NOT STOPPED`.
        status: How its last trial ended.
        evidence: What it achieved, a sentence each; empty where it was stopped.
        review: Codes that the static review found in it, whatever stopped it.
        survived: Whether a process or a file of it was left.
    """

    name: str
    what: str
    expected: str
    stopped_by: str
    status: str
    evidence: tuple[str, ...]
    review: tuple[str, ...]
    survived: bool
    seconds: float


@dataclass(frozen=True)
class Honest:
    """An honest file with and without the sandbox."""

    name: str
    equal: bool
    status: str


def attacks(only: tuple[str, ...] = ()) -> list[Attack]:
    """Return the attacks, by name.

    Raises:
        ValueError: A docstring does not say what is due, or a name is not known.
    """
    found = [_read(path) for path in sorted(ATTACKS.glob("*.py"))]
    if strange := set(only) - {attack.name for attack in found}:
        raise ValueError(f"no attack is called {min(strange)}; see {ATTACKS.name}/")
    return [attack for attack in found if not only or attack.name in only]


def _read(path: Path) -> Attack:
    text = path.read_text(encoding="utf-8").partition('"""')[2].partition('"""')[0]
    facts = dict(re.findall(r"^(Stopped by|Outcome|Runs): (.+)$", text, flags=re.MULTILINE))
    if facts.get("Stopped by") not in STOPPERS:
        raise ValueError(f"{path.name} says 'Stopped by: {facts.get('Stopped by')}'; it is one of {STOPPERS}")
    what = text.strip().splitlines()[0]
    outcomes = tuple(facts.get("Outcome", "finished").split())
    return Attack(path, what, facts["Stopped by"], outcomes, int(facts.get("Runs", 1)))


def longest_seconds(bait: Bait) -> float:
    """Return how long a trial may last here: its caps, the patience with which it is ended, and a slow machine."""
    return LAST_SECONDS + 10 * _timed(HONEST / "element_means.py", bait, True)[2]


def run_attack(attack: Attack, bait: Bait, longest: float) -> Result:
    """Run one attack, as often as it asks, and judge what became of it; no run may last over `longest` seconds."""
    evidence: list[str] = []
    started = time.monotonic()
    folder = bait.root / "run" / "trials" / attack.name
    for turn in range(attack.runs):
        trial = folder.with_name(f"{attack.name}-{turn}")
        trial.mkdir()
        train_py = trial / "train.py"
        train_py.write_text(bait.text_of(attack.path), encoding="utf-8")
        before = bait.snapshot(except_folder=trial)
        order = TrialOrder(train_py=train_py, locked=bait.locked, folder=trial, caps=CAPS, seed=7)
        outcome = run_trial(with_canaries(attack, order))
        evidence += [f"a process was left: {process}" for process in survivors(bait.mark)]
        after = bait.snapshot(except_folder=trial)
        evidence += [f"changed: {Path(p).name}" for p in before | after if before.get(p) != after.get(p)][:5]
        for path in [p for p in trial.iterdir() if p.name not in LEFT_BY_A_TRIAL]:
            evidence.append(f"left in its folder: {path.name}")
            subprocess.run(["rm", "-rf", path], check=False)  # whatever its depth
        if train_py.read_text(encoding="utf-8") != bait.text_of(attack.path):
            evidence.append("its train.py is another")
    survived = bool(evidence)
    log = (trial / "train.log").read_text(errors="replace")
    evidence += _reached(log, outcome, attack, trial, bait)
    if time.monotonic() - started > attack.runs * longest:
        evidence.append(f"it lasted {time.monotonic() - started:.0f} s")
    found = findings(attack.path.read_text(encoding="utf-8"))
    review = tuple(dict.fromkeys(finding.code for finding in found if finding.blocking))
    stopped_by = _what_stopped(attack, outcome, log, evidence, review)
    return Result(
        attack.name,
        attack.what,
        attack.stopped_by,
        stopped_by,
        outcome.status,
        tuple(evidence),
        review,
        survived,
        round(time.monotonic() - started, 2),
    )


def _reached(log: str, outcome: TrialOutcome, attack: Attack, trial: Path, bait: Bait) -> list[str]:
    """Return what an attack got, by its own word and by what its predictions and its log show."""
    evidence = [line[:160] for line in log.splitlines() if line.startswith("REACHED")]
    if SECRET in log:
        evidence.append("a secret stands in its log")
    if any(f"{label:.6f}".rstrip("0") in log for label in bait.labels if label * 1e4 % 1):
        evidence.append("a label stands in its log")
    if outcome.status not in attack.outcomes:
        evidence.append(f"status {outcome.status} where {' or '.join(attack.outcomes)} is due: {outcome.message}")
    if outcome.status != "finished":
        return evidence
    predictions = np.load(trial / "predictions.npy")
    for name, values in (("label", bait.labels), ("decoy label", bait.decoys)):
        if n := len(set(predictions.tolist()) & set(values.tolist())):
            evidence.append(f"{n} of its predictions are a {name}")
    if np.abs(predictions).max() > 1e6:
        try:
            value = score(bait.locked, trial / "predictions.npy")[0].value
        except (ScoringError, ValueError) as error:
            return [*evidence, f"it was taken, and the scorer failed: {error}"]
    else:
        value = float(np.abs(predictions - bait.labels).mean())
    if not value > 0.9 * bait.facts.mean_predictor:
        evidence.append(f"it scored {value:.3f}, the mean predictor {bait.facts.mean_predictor:.3f}")
    return evidence


def _what_stopped(attack: Attack, outcome: TrialOutcome, log: str, evidence: list[str], review: tuple[str, ...]) -> str:
    if attack.stopped_by == "static review":
        return "static review" if review else NOT_STOPPED
    if attack.stopped_by == "canary":
        return "canary" if stopped_by_a_canary(outcome) else NOT_STOPPED
    if evidence:
        return NOT_STOPPED
    # Where a trial ends as any other does, nothing but the expectation tells which of the two refused it what it tried.
    refused = "refused" in log or "MemoryError" in log or outcome.status == "finished"
    if outcome.status in HELD_BY_KERNEL or (attack.stopped_by == "kernel" and refused):
        return "kernel"
    return "protocol"


def with_canaries(attack: Attack, order: TrialOrder) -> TrialOrder:
    """Return the order with the judge's canaries asked for, for attacks that they are to stop."""
    return order.model_copy(update={"check_batches": True}) if attack.stopped_by == "canary" else order


def stopped_by_a_canary(outcome: TrialOutcome) -> bool:
    """Say whether a canary refused a trial: predictions that moved when crystals came in another batch."""
    return outcome.status == "invalid" and "in another batch" in outcome.message


def survivors(mark: str) -> list[str]:
    """Return the processes whose command, environment, folder or files bear `mark`, and orphans that came to us."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in (os.getpid(), *_children_of_ours):
            continue
        text = ""
        for read in (
            lambda e=entry: (e / "cmdline").read_bytes().decode(errors="replace"),
            lambda e=entry: (e / "environ").read_bytes().decode(errors="replace"),
            lambda e=entry: str((e / "cwd").readlink()),
            lambda e=entry: " ".join(str(link.readlink()) for link in (e / "fd").iterdir()),
        ):
            try:
                text += read()
            except OSError:
                continue
        try:
            state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if mark in text or (int(parent) == os.getpid() and state not in "ZX"):
            found.append(f"{entry.name} {text[:80]!r}")
    return found


def adopt_orphans() -> None:
    """Have every process that outlives its warden become a child of this one, whatever it did to hide.

    Children that there are already, such as the tracker of `multiprocessing` in a process of many tests, are ours.
    """
    _children_of_ours.update(process_tree.descendants(os.getpid()))
    process_tree.adopt_orphans()


def run_honest(path: Path, bait: Bait) -> Honest:
    """Run an honest file with the sandbox and without, and compare its predictions bit for bit."""
    status, made = "", []
    for sandboxed in (True, False):
        outcome, predictions, _ = _timed(path, bait, sandboxed)
        status = status or (outcome.status if outcome.status == "finished" else f"{outcome.status}: {outcome.message}")
        made.append(predictions)
    equal = made[0] is not None and made[1] is not None and made[0].tobytes() == made[1].tobytes()
    return Honest(path.stem, equal, status)


def overhead_seconds(bait: Bait, n: int = 5) -> tuple[float, float]:
    """Return the median wall seconds of a short honest trial with the sandbox and without, `n` runs each in turn."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(n):
        for sandboxed in (True, False):
            seconds[sandboxed].append(_timed(HONEST / "element_means.py", bait, sandboxed)[2])
    return statistics.median(seconds[True]), statistics.median(seconds[False])


def _timed(path: Path, bait: Bait, sandboxed: bool) -> tuple[TrialOutcome, np.ndarray | None, float]:
    with tempfile.TemporaryDirectory(dir=bait.root / "run" / "trials") as folder:
        order = TrialOrder(
            train_py=path, locked=bait.locked, folder=Path(folder), caps=CAPS, seed=7, sandboxed=sandboxed
        )
        started = time.monotonic()
        outcome = run_trial(order)
        seconds = time.monotonic() - started
        predictions = np.load(Path(folder, "predictions.npy")) if outcome.status == "finished" else None
    return outcome, predictions, seconds


def false_alarms() -> tuple[int, int, dict[str, list[str]]]:
    """Read every honest unusual edit and every playbook edit as the reviewer does.

    Returns:
        The number of honest edits, the number of playbook edits, and what was found in which of them.
    """
    seed = (shipped_seed_folder() / "train.py").read_text(encoding="utf-8")
    honest = sorted(HONEST_EDITS.glob("*.md"))
    playbook = load_playbook(shipped_seed_folder() / "playbook")
    edits = {path.stem: parse_edits(path.read_text(encoding="utf-8")) for path in honest}
    edits |= {t.id: t.edits_for(seed, t.knob.values[-1] if t.knob else None) for t in playbook}
    alarms: dict[str, list[str]] = {}
    for name, blocks in edits.items():
        if found := [str(one) for one in findings(apply_edits(seed, blocks), seed) if one.blocking]:
            alarms[name] = found
    return len(honest), len(playbook), alarms


def line_of(result: Result) -> str:
    """Return the line of one attack."""
    also = f" (static review too: {' '.join(result.review)})" if result.review else ""
    also = "" if result.stopped_by == "static review" else also
    why = f"\n{'':34}! " + f"\n{'':34}! ".join(result.evidence) if result.stopped_by == NOT_STOPPED else ""
    return f"{result.name:33} {result.stopped_by:14} {result.what}{also}{why}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="run this attack alone; repeatable")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each attack")
    parser.add_argument("--no-honest", action="store_true", help="leave out the honest files and the overhead")
    return parser.parse_args()


def main() -> int:
    """Run the suite; return 1 where an attack was not stopped, something survived, or an honest file suffered."""
    options = _arguments()
    adopt_orphans()
    mark = f"redteam-{os.getpid()}-{time.time_ns()}"
    failed = False
    total = dict.fromkeys((*STOPPERS, NOT_STOPPED), 0)
    survived = 0
    with tempfile.TemporaryDirectory(prefix=mark) as root, lay(Path(root), mark) as bait:
        longest = longest_seconds(bait)
        for attack in attacks(tuple(options.only)):
            result = run_attack(attack, bait, longest)
            total[result.stopped_by] += 1
            survived += result.survived
            print(json.dumps(asdict(result)) if options.json else line_of(result), flush=True)
        failed = bool(total[NOT_STOPPED] or survived)
        if not options.no_honest and not options.only:
            n_honest, n_playbook, alarms = false_alarms()
            failed |= bool(alarms)
            said = f"{n_honest} honest and {n_playbook} playbook edits: {len(alarms)} false alarms of the static review"
            print(
                "\n  ".join([said, *(f"{name}: {'; '.join(found)}" for name, found in alarms.items())]), file=sys.stderr
            )
            for path in sorted(HONEST.glob("*.py")):
                honest = run_honest(path, bait)
                failed |= not honest.equal
                how = "equal bit for bit" if honest.equal else "NOT EQUAL"
                print(f"honest {honest.name}: {honest.status}, with and without the sandbox {how}", file=sys.stderr)
            held, free = overhead_seconds(bait)
            failed |= held - free > MAX_OVERHEAD_SECONDS
            print(
                f"the sandbox adds {held - free:.3f} s to a trial ({held:.3f} s, {free:.3f} s without)", file=sys.stderr
            )
    parts = ", ".join(f"{name} {n}" for name, n in total.items())
    print(f"{sum(total.values())} attacks: {parts}; {survived} left something behind", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
