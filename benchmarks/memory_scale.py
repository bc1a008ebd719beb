"""What the idea memory costs when it is large: replay of a journal, crowding of a new idea, memory of the process.

    python -m benchmarks.memory_scale --ideas 100000

It writes a journal of ideas made of the playbook's techniques, values and edits (two or three techniques an idea, other
names and numbers in each), replays it into Chroma in one process, opens it in another, and there measures text and code
crowding of new ideas and the behaviour view of new errors. It checks the code view against the plain definition on
some, and counts how often Chroma's own index gives the mean similarity that the exact view gives.

Where other processes compete for the cores, read the figures of CPU time: they count what this process used, all its
threads together.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from evaluation_locked.scorer import Score
from evaluation_locked.task import load_task
from memory.code_index import diff_features
from memory.edits import EditError, apply_edits, unified_diff
from memory.history import History
from memory.idea_memory import IdeaMemory
from memory.journal import Journal
from memory.knowledge import Knowledge
from memory.records import Idea, TrialRecord
from memory.techniques import load_playbook

SEED = Path(__file__).resolve().parent.parent / "crystal_seed"
NEW_IDEAS = 100
CHECKED = 1
N_CRYSTALS = 777
FINISHED = 2_000  # of the ideas, those whose errors are held: a run of more trials than that was never paid for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ideas", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="memory-scale-"))
    try:
        figures: dict[str, Any] = {"ideas": arguments.ideas}
        for phase in (write, replay, crowd):  # each in a process of its own, so that its peak of memory is its own
            figures |= _in_process(phase, folder, arguments.ideas)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"{name:34} {value:,.3f}" if isinstance(value, float) else f"{name:34} {value:,}")


def write(folder: Path, n_ideas: int) -> dict[str, Any]:
    journal, maker = Journal(folder / "journal.jsonl"), Maker(0)
    with journal.lock():
        for number in range(n_ideas):
            journal.append(maker.record(number))
    return {"journal_mib": (folder / "journal.jsonl").stat().st_size / 2**20}


def replay(folder: Path, n_ideas: int) -> dict[str, Any]:
    begun = time.perf_counter()
    entries = Journal(folder / "journal.jsonl").read()
    read, cpu = time.perf_counter(), time.process_time()
    held = IdeaMemory.rebuild(folder / "chroma", {"": entries})
    seconds, cpu_seconds = time.perf_counter() - read, time.process_time() - cpu
    assert held == n_ideas
    size = sum(path.stat().st_size for path in (folder / "chroma").rglob("*") if path.is_file())
    return {
        "journal_read_seconds": read - begun,
        "replay_seconds": seconds,
        "replay_ideas_per_second": n_ideas / seconds,
        "replay_ideas_per_cpu_second": n_ideas / cpu_seconds,
        "chroma_on_disk_mib": size / 2**20,
    }


def crowd(folder: Path, n_ideas: int) -> dict[str, Any]:
    begun = time.perf_counter()
    before = _rss_mib()
    entries = Journal(folder / "journal.jsonl").read()
    history = History(entries)
    with_history = _rss_mib()
    opened = time.perf_counter()
    memory = IdeaMemory.open_or_rebuild(folder / "chroma", entries)
    del entries
    after = time.perf_counter()
    rng = np.random.default_rng(0)
    families = rng.standard_normal((40, N_CRYSTALS)).astype(np.float32)

    def residuals_of(number: int) -> np.ndarray:
        noise = np.random.default_rng(number).standard_normal(N_CRYSTALS).astype(np.float32)
        return families[number % 40] + noise

    class Known(Knowledge):
        """Knowledge whose residuals need no trial folders."""

        def residuals(self, number: int) -> np.ndarray | None:
            return residuals_of(number)

    known = Known(
        task=load_task(SEED),
        brief="",
        techniques={},
        history=history,
        ideas=memory,
        journal=Journal(folder / "unused.jsonl"),
        trial_folder=lambda number: folder,
        seed_train_py="",
        n_train=1,
        seed=0,
    )
    maker = Maker(1)
    new = [maker.record(n_ideas + at) for at in range(NEW_IDEAS)]
    index_begun = time.perf_counter()
    known.crowding_before(new[0].idea, new[0].diff)  # builds the code index
    index_seconds = time.perf_counter() - index_begun
    milliseconds, cpu_ms, hnsw_ms, agree = [], [], [], 0
    for record in new:
        begun_one, begun_cpu = time.perf_counter(), time.process_time()
        found = known.crowding_before(record.idea, record.diff)
        milliseconds.append(1e3 * (time.perf_counter() - begun_one))
        cpu_ms.append(1e3 * (time.process_time() - begun_cpu))
        begun_one = time.perf_counter()
        hits = memory.search(record.idea.text, 5)
        hnsw_ms.append(1e3 * (time.perf_counter() - begun_one))
        mean = sum(min(max(hit.similarity, 0.0), 1.0) for hit in hits) / len(hits)
        agree += found.text is not None and abs(mean - found.text) < 1e-3
    for record in new[:CHECKED]:
        value = known.crowding_before(record.idea, record.diff).code
        assert value == round(_plain_code_crowding(record.diff, history), 4), "the index differs from the definition"
    behaviour = []
    begun_one = time.perf_counter()
    known.behaviour_after(new[0].crowding, n_ideas, "new")
    behaviour_index_seconds = time.perf_counter() - begun_one
    for record in new:
        begun_one = time.perf_counter()
        known.behaviour_after(record.crowding, record.number, record.code_sha)
        behaviour.append(1e3 * (time.perf_counter() - begun_one))
    with_indices = _rss_mib()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    memory.close()
    return {
        "open_seconds": after - opened,
        "code_index_seconds": index_seconds,
        "text_and_code_ms_median": float(np.median(milliseconds)),
        "text_and_code_ms_95": float(np.quantile(milliseconds, 0.95)),
        "text_and_code_cpu_ms_median": float(np.median(cpu_ms)),
        "text_and_code_cpu_ms_95": float(np.quantile(cpu_ms, 0.95)),
        "chroma_index_ms_median": float(np.median(hnsw_ms)),
        "chroma_index_same_mean_share": agree / len(new),
        "behaviour_trials_held": len(known._errors),
        "behaviour_index_seconds": behaviour_index_seconds,
        "behaviour_ms_median": float(np.median(behaviour)),
        "peak_rss_mib": peak,
        "held_by_packages_mib": before,
        "held_by_journal_and_history_mib": with_history - before,
        "held_by_memory_and_indices_mib": with_indices - with_history,
        "all_seconds": time.perf_counter() - begun,
    }


class Maker:
    """Makes ideas as a long search would: known techniques, joined, with other names and numbers each time."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        source = (SEED / "train.py").read_text(encoding="utf-8")
        self._known = []
        for technique in load_playbook(SEED / "playbook"):
            try:
                diff = unified_diff(source, apply_edits(source, technique.edits_for(source)))
            except EditError:
                continue
            self._known.append((technique, diff))

    def record(self, number: int) -> TrialRecord:
        """Return the next idea under that number."""
        rng = self._rng
        chosen = rng.sample(self._known, rng.choice((2, 2, 3)))
        value = rng.choice((16, 32, 48, 64, 96, 128, 0.1, 0.01, 3e-4)) * rng.randint(1, 60)
        word = f"v{rng.randint(0, 20_000)}"
        lines = [line for _, diff in chosen for line in diff.splitlines()[2:]]
        body = "\n".join(re.sub(r"(?<=^\+)(\s*)(\w+)( = .*)", rf"\1\2_{word}\3", line) for line in lines)
        first = chosen[0][0]
        idea = Idea(
            number=number,
            mode="explore" if number else "baseline",
            axis=first.axis if number else "-",
            title=f"{first.title} with {chosen[1][0].title.lower()}, {value:g}",
            hypothesis=f"{first.description[:160]} {chosen[1][0].expect}",
            techniques=tuple(technique.id for technique, _ in chosen),
            knobs={"WIDTH": value},
            source=first.source,
            parent=rng.randrange(number) if number else None,
            proposed_by="benchmark",
        )
        finished = number < FINISHED
        score = Score(metric="mae", value=0.3, low=0.29, high=0.31, n=N_CRYSTALS, metrics={}, seal="seal")
        return TrialRecord(
            number=number,
            idea=idea,
            outcome="discarded",
            reason="0.3000 discarded: gain -0.0010 [-0.0110, +0.0090], -0.2 standard errors; 1.64 would keep",
            status="finished",
            code_sha=f"{rng.getrandbits(256):064x}",
            diff=f"--- a/train.py\n+++ b/train.py\n{body}\n+WIDTH = {value:g}\n",
            score=score if finished else None,
            gain=-0.001,
            gain_low=-0.011,
            gain_high=0.009,
            train_seconds=20.0,
        )


def _plain_code_crowding(diff: str, history: History) -> float:
    features, best = diff_features(diff), 0.0
    for trial in history.trials.values():
        other = diff_features(trial.diff)
        shared = sum((features & other).values())
        best = max(best, shared / (features.total() + other.total() - shared))
    return best


def _in_process(phase: Any, folder: Path, n_ideas: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        result: dict[str, Any] = pool.apply(phase, (folder, n_ideas))
    return result


def _rss_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


if __name__ == "__main__":
    main()
