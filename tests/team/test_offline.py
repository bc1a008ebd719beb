"""The offline team's choices: what comes first, what a near miss and a plateau change, what is never proposed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from langgraph.runtime import Runtime

from evaluation_locked.task import load_task
from graph.context import Budget, Context
from graph.nodes import choose
from graph.roles import RoleError
from graph.state import Plan
from memory.edits import apply_edits, knobs, normalised, unified_diff
from memory.history import History, changes_of
from memory.idea_memory import IdeaMemory
from memory.journal import Journal
from memory.knowledge import Knowledge
from memory.records import Crowding, Idea, TrialRecord
from memory.starts import load_techniques
from memory.techniques import load_playbook
from team.offline import offline_team
from team.offline.coder import PlaybookCoder
from team.offline.moves import join, moves, start_moves
from team.offline.reviewer import StaticReviewer
from team.offline.scout import PlaybookScout
from team.offline.strategist import OfflineStrategist
from team.running import shipped_seed_folder
from tests.memory.builders import trial

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = shipped_seed_folder()
SOURCE = (SEED / "train.py").read_text()


@pytest.fixture
def knowledge(tmp_path: Path) -> Callable[..., Knowledge]:
    """Return a function that builds what is known after the given records, with the seed's file for each trial."""

    def build(*records: TrialRecord, sources: dict[int, str] | None = None) -> Knowledge:
        for record in records:
            folder = tmp_path / "trials" / str(record.number)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "train.py").write_text((sources or {}).get(record.number, SOURCE))
        return Knowledge(
            task=load_task(SEED),
            brief="",
            techniques={t.id: t for t in load_playbook(SEED / "playbook")},
            history=History(records),
            ideas=IdeaMemory.open_or_rebuild(tmp_path / "chroma", records),
            journal=Journal(tmp_path / "journal.jsonl"),
            trial_folder=lambda number: tmp_path / "trials" / str(number),
            seed_train_py=SOURCE,
            n_train=4000,
            seed=0,
        )

    return build


def record(number: int, value: float | None, outcome: Any, gain: float | None = None, **fields: Any) -> TrialRecord:
    """Return a trial on the seed, trained where it has a value, measured where it has a gain."""
    fields = {"axis": "A3", "parent": 0, "status": "not run" if value is None else "finished"} | fields
    if fields.get("mode") == "replicate":
        fields["code_sha"] = f"code-{fields['parent']}"
    if gain is not None:
        fields |= {"champion": 0, "gain": gain, "gain_low": gain - 0.02, "gain_high": gain + 0.02, "z": gain / 0.01}
    return trial(number, value, outcome, **fields)


BASELINE = record(0, 0.5, "kept", mode="baseline", axis="-", title="seed", parent=None)
AGAIN = record(1, 0.51, "replicate", mode="replicate", axis="-", title="again: seed")


def test_the_baseline_comes_first_then_the_noise(knowledge: Callable[..., Knowledge]) -> None:
    strategist = OfflineStrategist()
    assert strategist.plan(0, knowledge()).mode == "baseline"
    second = strategist.plan(1, knowledge(BASELINE))
    assert (second.mode, second.parent) == ("replicate", 0)


def test_a_baseline_that_failed_ends_the_search(knowledge: Callable[..., Knowledge]) -> None:
    failed = record(0, None, "crashed", mode="baseline", axis="-", title="seed", parent=None)
    with pytest.raises(RoleError, match="the seed itself did not pass, so there is nothing to improve: as built"):
        OfflineStrategist().plan(1, knowledge(failed))


def test_a_near_miss_is_trained_again_at_most_twice(knowledge: Callable[..., Knowledge]) -> None:
    near = record(2, 0.48, "near-miss", 0.012)
    known = [BASELINE, AGAIN, near]
    assert OfflineStrategist().plan(3, knowledge(*known)).parent == 2
    for number in (3, 4):
        known.append(record(number, 0.48, "replicate", mode="replicate", axis="-", parent=2, title="again"))
    assert OfflineStrategist().plan(5, knowledge(*known)).mode != "replicate"


def test_the_same_memory_gives_the_same_plan_and_choice(knowledge: Callable[..., Knowledge]) -> None:
    first, second = (OfflineStrategist().plan(2, knowledge(BASELINE, AGAIN)) for _ in range(2))
    assert first == second
    known = knowledge(BASELINE, AGAIN)
    proposals = [(idea, known.crowding_before(idea)) for idea in PlaybookScout().propose(first, known)]
    assert all(idea.mode == first.mode and idea.axis == first.axis for idea, _ in proposals)


def test_one_trial_may_make_several_changes_that_fit_together(knowledge: Callable[..., Knowledge]) -> None:
    joined = 0
    for number in range(2, 12):
        known = knowledge(BASELINE, AGAIN)
        plan = OfflineStrategist(max_changes=3).plan(number, known)
        (idea, *others) = PlaybookScout().propose(plan, known)
        if not plan.changes:
            continue
        joined += 1
        assert not others and set(changes_of(idea)) == set(plan.changes)
        assert idea.title.count(" + ") == len(idea.techniques) - 1 <= 2
        clashing = {c for name in idea.techniques for c in known.techniques[name].conflicts}
        assert not clashing & set(idea.techniques)
        StaticReviewer().review(idea, SOURCE, PlaybookCoder().edit(idea, known, ""), known)
    assert joined >= 5
    alone = OfflineStrategist(max_changes=1)
    assert not any(alone.plan(number, knowledge(BASELINE, AGAIN)).changes for number in range(2, 12))


def test_what_was_learned_beside_other_changes_is_known_alone(knowledge: Callable[..., Knowledge]) -> None:
    """Two trials share a technique and both lost; it is drawn less often than a like one that nobody tried."""
    shared = [
        record(2, 0.60, "discarded", -0.1, techniques=("film", "clamp-zero"), title="a"),
        record(3, 0.60, "discarded", -0.1, techniques=("film", "band-filling"), title="b"),
    ]
    known = knowledge(BASELINE, AGAIN, *shared)
    plans = [OfflineStrategist(other_parents=0).plan(number, known) for number in range(4, 34)]
    proposed = [name for plan in plans for idea in PlaybookScout().propose(plan, known) for name in plan.changes]
    assert proposed.count("film") < proposed.count("swiglu")


def test_removals_that_cost_nothing_are_joined(knowledge: Callable[..., Knowledge]) -> None:
    names = ("clamp-zero", "film", "band-filling")
    source = SOURCE
    for name in names:
        source = apply_edits(source, knowledge().techniques[name].edits)
    kept = record(2, 0.5, "kept", 0.0, techniques=names, title="all three")
    known = knowledge(BASELINE, AGAIN, kept, sources={2: source})
    pieces = [idea for idea in moves(2, 3, known) if idea.mode == "ablate"]
    assert {idea.removed for idea in pieces} == {(name,) for name in names}
    both = join(pieces[:2], known)
    assert both.mode == "simplify" and both.removed == tuple(p.removed[0] for p in pieces[:2])
    plan = Plan(number=3, mode="simplify", parent=2, axis=both.axis, changes=both.removed)
    assert [idea.removed for idea in PlaybookScout().propose(plan, known)] == [both.removed]


def test_crowding_turns_choices_away(knowledge: Callable[..., Knowledge]) -> None:
    known = knowledge(BASELINE, AGAIN)
    chosen = {0.0: 0, 1.0: 0}
    for number in range(2, 62):
        plan = Plan(number=number, mode="explore", parent=0, axis="A5")
        first, *others = PlaybookScout().propose(plan, known)
        for crowded in chosen:
            proposals = [(first, Crowding(text=crowded)), *((idea, Crowding(text=0.0)) for idea in others)]
            chosen[crowded] += OfflineStrategist().choose(plan, proposals, known) == 0
    assert chosen[1.0] < chosen[0.0] * 0.7


def test_a_plateau_closes_what_filled_it(knowledge: Callable[..., Knowledge]) -> None:
    playbook = [t for t in load_playbook(SEED / "playbook") if t.axis == "A3" and t.knob is None]
    lost = [
        record(2 + i, 0.55, "discarded", -0.05, techniques=(t.id,), title=t.title)
        for i, t in enumerate(playbook[: OfflineStrategist().plateau_rounds])
    ]
    lost.insert(3, record(20, 0.5, "replicate", mode="replicate", axis="-", title="again: seed"))
    plan = OfflineStrategist().plan(30, knowledge(BASELINE, AGAIN, *lost))
    assert plan.forced
    assert (plan.mode, plan.axis) != ("explore", "A3")
    assert "no more explore on A3" in plan.why


def test_what_was_tried_or_did_not_run_is_not_proposed(knowledge: Callable[..., Knowledge]) -> None:
    tried = record(2, 0.6, "discarded", -0.1, techniques=("space-group",), title="Space group")
    crashed = record(3, None, "crashed", techniques=("multi-pool",), title="Pools", parent=2)
    offered = {idea.techniques for idea in moves(0, 4, knowledge(BASELINE, AGAIN, tried, crashed))}
    assert ("space-group",) not in offered and ("multi-pool",) not in offered
    assert ("clamp-zero",) in offered


def test_a_knob_is_not_turned_further_the_way_that_lost(knowledge: Callable[..., Knowledge]) -> None:
    width = knobs(SOURCE)["WIDTH"]
    values = [v for v in knowledge().techniques["width"].knob.values if v > width]  # type: ignore[union-attr]
    assert len(values) >= 2, "the playbook offers two larger widths"
    lost = record(
        2, 0.6, "discarded", -0.1, mode="refine", axis="A4", techniques=("width",), knobs={"WIDTH": min(values)}
    )
    offered = {idea.knobs.get("WIDTH") for idea in moves(0, 3, knowledge(BASELINE, AGAIN, lost)) if idea.knobs}
    assert not offered & set(values)
    assert any(v is not None and v < width for v in offered)


def test_coding_combining_and_taking_out(knowledge: Callable[..., Knowledge]) -> None:
    known = knowledge(BASELINE)
    both = Idea(number=1, mode="combine", axis="A3", title="both", techniques=("space-group", "clamp-zero"), parent=0)
    joined = PlaybookCoder().edit(both, known, "")
    expected = apply_edits(SOURCE, known.techniques["space-group"].edits)
    assert joined == apply_edits(expected, known.techniques["clamp-zero"].edits)
    kept = record(1, 0.4, "kept", 0.1, techniques=both.techniques, title="both")
    known = knowledge(BASELINE, kept, sources={1: joined})
    without = Idea(number=2, mode="ablate", axis="A3", title="less", removed=("space-group",), parent=1)
    left = PlaybookCoder().edit(without, known, "")
    assert normalised(left) == normalised(apply_edits(SOURCE, known.techniques["clamp-zero"].edits))
    with pytest.raises(RoleError, match="no other edit"):
        PlaybookCoder().edit(both, known, "it crashed")


def test_the_reviewer_refuses_no_ops_and_repeats_and_lets_replicates_pass(knowledge: Callable[..., Knowledge]) -> None:
    known = knowledge(BASELINE)
    reviewer = StaticReviewer()
    idea = Idea(number=1, mode="explore", axis="A3", title="x", parent=0)
    assert reviewer.review(idea, SOURCE, "# a comment\n" + SOURCE, known).kind == "reject"
    assert reviewer.review(idea, SOURCE, SOURCE + "\nimport os\n", known).kind == "revise"
    again = idea.model_copy(update={"mode": "replicate"})
    assert reviewer.review(again, SOURCE, SOURCE, known).kind == "approve"


def test_the_scout_has_nothing_for_an_empty_corner(knowledge: Callable[..., Knowledge]) -> None:
    plan = Plan(number=2, mode="ablate", parent=0, axis="A1")
    with pytest.raises(RoleError, match="nothing left to ablate on axis A1 of trial 0"):
        PlaybookScout().propose(plan, knowledge(BASELINE))


LOST_LAYERNORM = {"techniques": ("layernorm",), "title": "Layer normalisation of the summed messages", "axis": "A4"}


def test_a_change_that_lost_is_refused_before_it_is_coded_on_whatever_base(knowledge: Callable[..., Knowledge]) -> None:
    kept = record(3, 0.4, "kept", 0.1, techniques=("clamp-zero",), title="clamp at zero")
    known = knowledge(BASELINE, AGAIN, record(2, 0.6, "discarded", -0.1, **LOST_LAYERNORM), kept)
    nothing = cast("Any", None)
    context = Context(nothing, nothing, known, offline_team(), Budget(9), person=nothing, publisher=nothing)
    plan = Plan(number=4, mode="explore", parent=3, axis="A4")
    repeat = Idea(number=4, mode="explore", axis="A4", title="LayerNorm of the summed messages", parent=3)
    news = repeat.model_copy(update={"title": "GroupNorm of the summed messages"})

    def chosen(*proposals: Idea) -> dict[str, Any]:
        with context.flight.floor():
            return choose({"plan": plan, "proposals": proposals, "failure": None}, Runtime(context=context))

    assert chosen(repeat, news)["idea"] == news
    refused = chosen(repeat, repeat)
    assert refused["failure"][0] == "rejected" and "a repeat of trial 2: " in refused["failure"][1]
    assert refused["verdict"].repeat_of == 2
    replicate = repeat.model_copy(update={"mode": "replicate"})
    assert chosen(replicate)["idea"] == replicate


def test_the_reviewer_sees_a_repeat_in_the_diff(knowledge: Callable[..., Knowledge]) -> None:
    width = knobs(SOURCE)["WIDTH"]
    wide, wider = (SOURCE.replace(f"\nWIDTH = {width}", f"\nWIDTH = {factor * width}") for factor in (2, 4))
    lost = record(2, 0.6, "discarded", -0.1, title="more room", axis="A4", diff=unified_diff(SOURCE, wide))
    known = knowledge(BASELINE, AGAIN, lost, sources={2: wide})
    idea = Idea(number=3, mode="explore", axis="A4", title="a larger mind", parent=0)
    verdict = StaticReviewer().review(idea, SOURCE, wide, known)
    assert (verdict.kind, verdict.repeat_of) == ("reject", 2)
    assert StaticReviewer().review(idea, SOURCE, wider, known).kind == "approve"


def test_the_strategist_looks_at_no_repeat(knowledge: Callable[..., Knowledge]) -> None:
    side = record(2, 0.6, "discarded", -0.1, title="a side branch", axis="A1")
    offered = [idea for idea in moves(0, 3, knowledge(BASELINE, AGAIN, side)) if idea.mode in ("explore", "refine")]
    fields = ("axis", "mode", "techniques", "knobs", "title")
    lost = [
        record(n, 0.6, "discarded", -0.1, parent=2, **{name: getattr(idea, name) for name in fields})
        for n, idea in enumerate(offered[:-1], start=3)
    ]
    known = knowledge(BASELINE, AGAIN, side, *lost)
    left = [idea for idea in moves(0, 999, known) if known.repeat(idea) is None]
    assert len(left) == 1 < len(moves(0, 999, known)), "what lost on a side branch is a move, and a repeat"
    plan = OfflineStrategist(max_changes=1, other_parents=0).plan(known.history.next_number, known)
    assert (plan.mode, plan.axis) == (left[0].mode, left[0].axis)
    assert left[0].title in [idea.title for idea in PlaybookScout().propose(plan, known)]


def with_starts(held: Knowledge) -> Knowledge:
    held.techniques = {t.id: t for t in load_techniques(SEED)}
    return held


def lost(n: int) -> list[TrialRecord]:
    """n trials of techniques that did not help, each another."""
    playbook = [t for t in load_playbook(SEED / "playbook") if t.knob is None]
    return [
        record(2 + i, 0.6, "discarded", -0.1, title=t.title, axis=t.axis, techniques=(t.id,))
        for i, t in enumerate(playbook[:n])
    ]


def test_a_plateau_leaves_the_seeds_neighbourhood_once_in_its_length(knowledge: Callable[..., Knowledge]) -> None:
    strategist, again = (
        OfflineStrategist(),
        record(1, 0.5, "replicate", mode="replicate", axis="-", title="again: seed"),
    )
    held = with_starts(knowledge(BASELINE, again, *lost(strategist.plateau_rounds)))
    plan = strategist.plan(held.history.next_number, held)
    assert plan.forced and plan.parent == 0 and "anew from another start" in plan.why
    (idea,) = PlaybookScout().propose(plan, held)
    (start,) = [held.techniques[name] for name in idea.techniques if held.techniques[name].start]
    assert PlaybookCoder().edit(idea, held, "") == start.start == (SEED / "starts" / f"{start.id}.py").read_text()
    assert StaticReviewer().review(idea, SOURCE, start.start, held).kind == "approve"

    began = record(20, 0.7, "discarded", -0.2, title=idea.title, axis="A4", techniques=idea.techniques, mode="explore")
    held = with_starts(knowledge(BASELINE, again, *lost(strategist.plateau_rounds), began))
    assert "anew" not in strategist.plan(21, held).why
    assert start.id not in {name for other in start_moves(21, held) for name in other.techniques}


def test_a_new_start_takes_along_what_the_champion_holds_and_it_has_room_for(
    knowledge: Callable[..., Knowledge],
) -> None:
    """Film fits the seed and not coGN; the space group and the loss fit both. A knob stays the start's own."""
    names = ("film", "space-group", "huber", "batch-size")
    best = record(2, 0.3, "kept", 0.2, title="all", techniques=names, knobs={"BATCH_SIZE": 64})
    held = with_starts(knowledge(BASELINE, AGAIN, best))
    ideas = {idea.techniques[0]: idea for idea in start_moves(3, held)}
    assert set(ideas) == {"alignn", "cgcnn", "cogn", "matformer", "megnet"}
    assert ideas["cogn"].techniques == ("cogn", "space-group", "huber") and ideas["cogn"].parent == 0
    assert ideas["matformer"].techniques == ("matformer", "film", "space-group", "huber")
    source = PlaybookCoder().edit(ideas["cogn"], held, "")
    assert "embed_film" not in source and "embed_symmetry" in source.replace("embed_space_group", "embed_symmetry")
    assert knobs(source)["BATCH_SIZE"] == knobs(held.techniques["cogn"].start)["BATCH_SIZE"]


def test_a_trial_that_began_anew_is_built_on_like_any_other(knowledge: Callable[..., Knowledge]) -> None:
    began = record(2, 0.3, "kept", 0.2, title="Anew from coGN", axis="A4", techniques=("cogn",))
    start = (SEED / "starts" / "cogn.py").read_text()
    held = with_starts(knowledge(BASELINE, AGAIN, began, sources={2: start}))
    offered = moves(2, 3, held)
    for idea in offered:
        assert idea.removed != ("cogn",) and not any(held.techniques[name].start for name in idea.techniques)
        PlaybookCoder().edit(idea, held, "")  # raises where an edit does not fit
    assert len({idea.techniques for idea in offered}) >= 30


def test_eight_workers_try_eight_ideas_and_replicate_once(knowledge: Callable[..., Knowledge]) -> None:
    """Nothing is recorded meanwhile: what is in flight alone keeps them apart."""
    held, strategist, scout = knowledge(BASELINE), OfflineStrategist(), PlaybookScout()
    chosen: list[Idea] = []
    for number in range(1, 9):
        held.history.in_flight[number] = None
        plan = strategist.plan(number, held)
        news = [idea for idea in scout.propose(plan, held) if held.repeat(idea) is None]
        idea = news[strategist.choose(plan, [(idea, Crowding()) for idea in news], held)]
        held.begin(idea)
        chosen.append(idea)
    assert [idea.mode for idea in chosen].count("replicate") == 1, "the noise between seeds, once"
    assert len({(idea.techniques, repr(idea.knobs), idea.removed) for idea in chosen}) == 8


def test_a_near_miss_is_waited_for_while_its_replicate_is_in_flight(knowledge: Callable[..., Knowledge]) -> None:
    near = [record(n, 0.48, "near-miss", 0.012, techniques=("film",)) for n in (2, 3)]
    held, strategist = knowledge(BASELINE, AGAIN, *near), OfflineStrategist()
    (again,) = PlaybookScout().propose(strategist.plan(4, held), held)
    assert again.parent == 2
    held.begin(again)
    second = strategist.plan(5, held)
    assert (second.mode, second.parent) == ("replicate", 3), "another near miss has its own"
    held.begin(again.model_copy(update={"number": 5, "parent": 3, "also_from": (3,)}))
    assert strategist.plan(6, held).mode != "replicate", "other slots go on searching"
    held.abandon(4)
    assert strategist.plan(6, held).parent == 2, "it came to no record"


def test_a_lucky_champion_is_trained_again_by_one_of_many(knowledge: Callable[..., Knowledge]) -> None:
    kept = record(2, 0.4, "kept", 0.1, techniques=("clamp-zero",), title="clamp")
    losers = [
        record(n, 0.6, "discarded", -0.2, parent=2, techniques=(name,), title=name)
        for n, name in enumerate(("film", "swiglu", "huber"), start=3)
    ]
    held, strategist = knowledge(BASELINE, AGAIN, kept, *losers), OfflineStrategist()
    plan = strategist.plan(6, held)
    assert (plan.mode, plan.parent) == ("replicate", 2)
    held.begin(PlaybookScout().propose(plan, held)[0])
    assert strategist.plan(7, held).mode != "replicate"


def test_a_start_in_flight_is_not_begun_twice(knowledge: Callable[..., Knowledge]) -> None:
    held = with_starts(knowledge(BASELINE, AGAIN, *lost(OfflineStrategist().plateau_rounds)))
    first, *_ = start_moves(30, held)
    held.begin(first)
    assert first.techniques[0] not in {idea.techniques[0] for idea in start_moves(31, held)}
    assert first.techniques[0] in {idea.techniques[0] for idea in start_moves(30, held)}, "it is its own"
    assert "anew" not in OfflineStrategist().plan(31, held).why


def test_where_every_single_move_is_in_flight_others_are_joined(knowledge: Callable[..., Knowledge]) -> None:
    held, strategist = knowledge(BASELINE, AGAIN), OfflineStrategist(other_parents=0)
    for number, idea in enumerate(moves(0, 2, held), start=2):
        held.begin(idea.model_copy(update={"number": number}))
    seen = set()
    for _ in range(6):
        number = held.history.next_number
        (idea,) = PlaybookScout().propose(strategist.plan(number, held), held)
        assert len(idea.techniques) > 1 and held.repeat(idea) is None
        seen.add(frozenset(idea.techniques) | {repr(idea.knobs)})
        held.begin(idea)
    assert len(seen) == 6
