"""A campaign of 100,000 trials for 1,000 workers, without training: what does a decision cost as the history grows?

    python -m benchmarks.campaign --sizes 1000 10000 100000

Scores and residuals are of the world that the recorded trials span (`benchmarks.search.world`). The history is grown by
random steps from files that were kept lately, each a whole record in journal and idea memory, a thousand at a time. At
each size 1,000 trials are in flight, of which one ends as another is decided on: the real team plans, scouts, looks up
repeats and crowding and chooses, and the record is written durably. So the figures are of one process that decides for
a thousand workers, in CPU time, and of what it keeps. Nothing is trained, coded or reviewed.

A process that makes n decisions a second keeps 1,000 workers busy where a trial takes 1000 / n seconds or more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.campaign_run import CampaignRun
from graph import judging
from graph.roles import RoleError
from team.offline.scout import PlaybookScout
from team.offline.strategist import OfflineStrategist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memory.records import Entry

WORKERS = 1_000

Spent = dict[str, list[float]]


@contextlib.contextmanager
def _timed(spent: Spent, name: str) -> Iterator[None]:
    began = time.process_time()
    yield
    spent[name].append(time.process_time() - began)


def decide(run: CampaignRun, strategist: OfflineStrategist, spent: Spent) -> None:
    """Decide on one trial as a round does, with the others in flight, and note what each part took.

    Raises:
        RoleError: The team has nothing left to try until a trial ends.
    """
    number = run.history.next_number
    run.history.in_flight[number] = None
    try:
        with _timed(spent, "plan"):
            plan = strategist.plan(number, run)
        with _timed(spent, "scout"):
            proposals = list(PlaybookScout().propose(plan, run))
        with _timed(spent, "repeats"):
            news = [idea for idea in proposals if run.repeat(idea) is None] or proposals[:1]
    except RoleError:
        run.abandon(number)
        raise
    with _timed(spent, "crowding by text"):
        measured = [(idea, run.crowding_before(idea)) for idea in news]
    with _timed(spent, "choice"):
        position = 0 if len(measured) == 1 else strategist.choose(plan, measured, run)
        idea = measured[position][0]
        run.begin(idea)
    diff = run.diff_of(idea)
    with _timed(spent, "crowding by code"):
        run.crowding_before(idea, diff)
        run.write(number, diff)
    with _timed(spent, "repeats of code"):
        run.repeat(idea, diff)


def take_in(run: CampaignRun, number: int, spent: Spent) -> None:
    """Take in a trial in flight that has ended, and note what each part took."""
    idea = run.history.in_flight[number]
    assert idea is not None, "it was chosen"
    record = run.train(idea)
    with _timed(spent, "noise between seeds"):
        judging.seed_noise(run.history)
    with _timed(spent, "behaviour view"):
        run.behaviour_after(record.crowding, number, record.code_sha)
    _remember(run, record, spent)
    for decision in judging.decide_again(run.history, record.idea, run.compare):
        _remember(run, decision, spent)


def _remember(run: CampaignRun, entry: Entry, spent: Spent) -> None:
    for name, part in run.parts_of_remembering(entry).items():
        with _timed(spent, name):
            part()


def measure(run: CampaignRun, n_decisions: int) -> dict[str, object]:
    """Return what decisions cost on the run as it stands, with `WORKERS` trials in flight."""
    strategist = OfflineStrategist()
    spent: Spent = defaultdict(list)
    first: Spent = defaultdict(list)
    run.fill_flight(WORKERS)
    with contextlib.suppress(RoleError):  # the first reads the history once, as after each resume
        decide(run, strategist, first)
    take_in(run, min(run.history.in_flight), first)
    made = waited = 0
    while made < n_decisions and waited < n_decisions:
        counted = spent
        try:
            decide(run, strategist, spent)
            made += 1
        except RoleError:
            waited += 1
            counted = first
        take_in(run, min(run.history.in_flight), counted)
        run.fill_flight(WORKERS - 1)
    parts = {name: 1000 * sum(values) / max(1, made) for name, values in spent.items()}
    total = sum(parts.values())
    return {
        "decisions": made,
        "nothing_to_try_before_a_trial_ends": waited,
        "cpu_ms_per_decision": round(total, 1),
        "cpu_ms": {name: round(value, 2) for name, value in parts.items()},
        "decisions_per_second": round(1000 / total, 1),
        "a_trial_must_take_s_for_1000_workers": round(WORKERS * total / 1000, 1),
        "first_decision_cpu_s": {name: round(values[0], 1) for name, values in first.items()},
    }


def campaign(place: Path, sizes: list[int], n_decisions: int) -> dict[int, dict[str, object]]:
    """Grow a run to each size in turn, open it anew and measure, and return what was found by size."""
    run = CampaignRun(place)
    found: dict[int, dict[str, object]] = {}
    for size in sizes:
        began = time.process_time()
        run.grow(size, WORKERS)
        grown, world = time.process_time() - began, run.world
        run.close()
        run = CampaignRun(place, world)
        found[size] = measure(run, n_decisions) | {
            "on_disk_mb": {name: round(n_bytes / 1e6, 1) for name, n_bytes in run.sizes().items()},
            "resident_mb": round(_resident_bytes() / 1e6),
            "cpu_s_to_open": run.opened_cpu_s,
            "cpu_s_to_grow": round(grown, 1),
        }
        print(json.dumps({size: found[size]}), flush=True)
        run.history.in_flight.clear()
        run.close()
        run = CampaignRun(place, world)
    run.close()
    return found


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Measure at each size and print what was found, a line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--decisions", type=int, default=50, help="sampled at each size")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        campaign(Path(temporary), sorted(arguments.sizes), arguments.decisions)


if __name__ == "__main__":
    main()
