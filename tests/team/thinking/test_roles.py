"""The four roles over HTTP: what a model may decide, what is told to it, and who takes the turn where it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from graph.roles import RoleError
from graph.state import Plan
from memory.edits import knobs
from memory.records import Crowding, Idea
from tests.memory.builders import trial
from tests.team.thinking.conftest import AGAIN, BASELINE, SOURCE, Said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from graph.roles import Team
    from memory.knowledge import Knowledge

PLAN = Plan(number=2, mode="explore", parent=0, axis="A5", why="the readout is untouched")
OWN = Idea(number=2, mode="explore", axis="A6", title="Clip harder", hypothesis="Gradients jump.", parent=0)


def proposal(**fields: Any) -> dict[str, Any]:
    words = dict.fromkeys(("title", "hypothesis", "source", "expected_effect", "cost"), "")
    return {"technique": None, "value": None, "axis": "A5", "conflicts": [], **words, **fields}


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def test_the_strategist_chooses_one_of_the_lines_it_is_shown(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    known = knowledge()
    said.answers["strategist"] = [{"option": 99, "why": "no such line"}, {"option": 2, "why": "because"}]
    plan = thinkers.strategist.plan(2, known)
    asked = said.asked[0].last
    line = next(line for line in asked.splitlines() if line.startswith("2. "))
    assert line.startswith(f"2. {plan.mode} {plan.axis}") and plan.parent == 0 and plan.why == "because"
    assert "what the figures alone would choose" in asked and "crowding 0." in asked
    assert "Champion: trial 0, seed, score 0.5050" in asked, "the mean of both trainings"
    assert len(said.asked) == 2 and "option" in said.asked[1].last, "an answer outside is told, once"
    assert thinkers.stand_ins.take() == ()


def test_a_strategist_without_an_answer_is_stood_in_for(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    plan = thinkers.strategist.plan(2, knowledge())
    assert plan.mode in ("explore", "refine") and "expected gain" in plan.why
    (sentence,) = thinkers.stand_ins.take()
    assert sentence.startswith("the offline strategist took the turn: ")
    assert thinkers.stand_ins.take() == ()


def test_baseline_and_replicates_are_asked_of_nobody(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    assert thinkers.strategist.plan(1, knowledge(BASELINE)).mode == "replicate"
    again = Idea(number=1, mode="replicate", axis="-", title="again", parent=0, also_from=(0,))
    assert thinkers.coder.edit(again, knowledge(BASELINE), "") == SOURCE
    assert thinkers.reviewer.review(again, SOURCE, SOURCE, knowledge(BASELINE)).kind == "approve"
    assert said.asked == []


def test_a_plateau_closes_what_filled_it(thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]) -> None:
    fields = {"axis": "A3", "parent": 0, "champion": 0, "gain": -0.05, "gain_low": -0.1, "gain_high": 0.0, "z": -2.0}
    lost = [trial(n, 0.55, "discarded", status="finished", title=f"lost {n}", **fields) for n in range(2, 8)]
    said.answers["strategist"] = [{"option": 1, "why": "elsewhere"}]
    known = knowledge(BASELINE, AGAIN, *lost)
    plan = thinkers.strategist.plan(8, known)
    if plan.mode != "replicate":
        asked = said.asked[0].last
        assert "PLATEAU" in asked and plan.forced
        assert "explore A3" not in asked[asked.index("The options:") :]


def test_the_model_weighs_crowding_of_proposals(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    proposals = [(OWN, Crowding(text=0.9)), (OWN.model_copy(update={"title": "Other"}), Crowding(text=0.1))]
    said.answers["strategist"] = [{"option": 1, "why": "still"}]
    assert thinkers.strategist.choose(PLAN, proposals, knowledge()) == 0
    assert "1. Clip harder (own): Gradients jump. Crowding 0.90" in said.asked[0].last
    assert thinkers.strategist.choose(PLAN, proposals, knowledge()) == 1, "nobody can weigh own ideas but by crowding"
    assert len(thinkers.stand_ins.take()) == 1


def test_the_scout_names_known_techniques_by_id_and_marks_its_own(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    known = knowledge()
    said.answers["scout"] = [
        {
            "proposals": [
                proposal(technique="element-bias", title="my title", source="arXiv:0000.00000"),
                proposal(title="Ordered pools", hypothesis="Rank atoms first.", source="arXiv:9999.12345"),
                proposal(title="Two heads", hypothesis="One for each half.", source="own", cost="5 % a step"),
                proposal(technique="no-such-thing"),
            ]
        }
    ]
    first, second, third = thinkers.scout.propose(PLAN, known)
    technique = known.techniques["element-bias"]
    assert (first.title, first.source, first.techniques) == (technique.title, technique.source, ("element-bias",))
    assert second.source == "own; cites arXiv:9999.12345, unchecked" and second.techniques == ()
    assert third.source == "own" and "Cost: 5 % a step" in third.hypothesis
    assert {idea.proposed_by for idea in (first, second, third)} == {"scout scripted"}
    asked = said.asked[0].last
    assert "- element-bias (open): " in asked and asked.count("(open)") <= 12
    assert all(known.techniques[line[2:].split(" ")[0]].axis == "A5" for line in asked.split("\n") if "(open):" in line)


def test_a_knob_takes_a_value_of_its_own_kind(thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]) -> None:
    plan = PLAN.model_copy(update={"mode": "refine", "axis": "A4"})
    wrong = {"proposals": [proposal(technique="width", value="wide", axis="A4")]}
    said.answers["scout"] = [wrong, {"proposals": [proposal(technique="width", value=80.0, axis="A4")]}]
    (idea,) = thinkers.scout.propose(plan, knowledge())
    assert idea.knobs == {"WIDTH": 80} and isinstance(idea.knobs["WIDTH"], int)
    assert "width needs another value than 'wide'" in said.asked[1].last


def test_a_scout_that_proposes_nothing_usable_is_stood_in_for(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    said.answers["scout"] = [{"proposals": []}, {"proposals": [proposal(technique="no-such-thing")]}]
    ideas = thinkers.scout.propose(PLAN, knowledge())
    assert ideas and all(idea.proposed_by == "offline scout" for idea in ideas)
    assert "no-such-thing is not open" in thinkers.stand_ins.take()[0]


def test_the_coder_mends_its_answer_with_the_closest_lines(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    said.answers["coder"] = [
        block("GRADIENT_NORM = 3.0", "GRADIENT_NORM = 1.0"),
        block("GRADIENT_NORM = 2.0", "GRADIENT_NORM = 1.0"),
    ]
    after = thinkers.coder.edit(OWN, knowledge(), "")
    assert knobs(after)["GRADIENT_NORM"] == 1.0
    first, second = said.asked
    assert first.messages[:2] == second.messages[:2], "the prefix stays as it is"
    assert SOURCE.rstrip("\n") in first.last
    assert "matches 0 times" in second.last and "| GRADIENT_NORM = 2.0" in second.last


def test_the_coder_is_shown_a_tested_edit_and_what_crashed(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge], tmp_path: Path
) -> None:
    known = knowledge()
    edit = known.techniques["element-bias"]
    idea = Idea(number=2, mode="explore", axis="A5", title=edit.title, techniques=(edit.id,), parent=0)
    said.answers["coder"] = ["nothing", block("GRADIENT_NORM = 2.0", "GRADIENT_NORM = 1.0")]
    folder = tmp_path / "trials" / "0002-x"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(SOURCE.replace("WIDTH = 64", "WIDTH = None", 1))
    thinkers.coder.edit(idea, known, "smoke trial: TypeError: unsupported operand\n  line 3")
    prompt = said.asked[0].prompt
    assert edit.edits[0].replace in prompt
    assert "+WIDTH = None" in said.asked[0].last and "TypeError: unsupported operand" in said.asked[0].last


def test_without_an_edit_the_playbook_stands_in_and_an_own_idea_ends(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    known = knowledge()
    edit = known.techniques["element-bias"]
    idea = Idea(number=2, mode="explore", axis="A5", title=edit.title, techniques=(edit.id,), parent=0)
    assert edit.edits[0].replace in thinkers.coder.edit(idea, known, "")
    assert thinkers.stand_ins.take()[0].startswith("the offline coder took the turn: ")
    with pytest.raises(RoleError, match="no edit came of the idea"):
        thinkers.coder.edit(OWN, known, "")
    assert "nobody can stand in for an own idea" in thinkers.stand_ins.take()[0]


def test_the_reviewer_asks_no_model_where_the_static_reading_refuses(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    reaching = SOURCE.replace("import copy\n", "import copy\nimport subprocess\n", 1)
    assert thinkers.reviewer.review(OWN, SOURCE, reaching, knowledge()).kind == "revise"
    assert thinkers.reviewer.review(OWN, SOURCE, SOURCE + "\n# more\n", knowledge()).kind == "reject"
    assert said.asked == []


@pytest.mark.parametrize(
    ("opinion", "kind", "reason"),
    [
        ({"kind": "approve", "does_what_it_says": True, "reasons": []}, "approve", ""),
        ({"kind": "approve", "does_what_it_says": False, "reasons": []}, "revise", "does not do what the idea"),
        ({"kind": "reject", "does_what_it_says": True, "reasons": ["It leaks."]}, "reject", "It leaks."),
        ("no opinion", "approve", ""),
    ],
)
def test_the_reviewer_reads_the_change(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge], opinion: Any, kind: str, reason: str
) -> None:
    said.answers["reviewer"] = [opinion]
    after = SOURCE.replace("GRADIENT_NORM = 2.0", "GRADIENT_NORM = 1.0")
    verdict = thinkers.reviewer.review(OWN, SOURCE, after, knowledge())
    assert verdict.kind == kind and reason in " ".join(verdict.reasons)
    assert "+GRADIENT_NORM = 1.0" in said.asked[0].last
    assert bool(thinkers.stand_ins.take()) == isinstance(opinion, str)


def test_every_exchange_is_filed_without_the_keys_of_the_environment(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge], tmp_path: Path
) -> None:
    said.answers["strategist"] = [{"option": 1, "why": "filed"}]
    thinkers.strategist.plan(2, knowledge())
    (path,) = (tmp_path / "trials" / ".0002-llm").glob("*.txt")
    text = path.read_text()
    assert path.name == "01-strategist.txt"
    assert text.startswith("=== system ===\nYou are the strategist") and '"why": "filed"' in text


def test_what_is_told_of_a_run_does_not_grow_with_it(
    thinkers: Team, said: Said, knowledge: Callable[..., Knowledge]
) -> None:
    fields = {"champion": 0, "gain": -0.05, "gain_low": -0.1, "gain_high": -0.01, "z": -2.0, "parent": 0}
    lengths = []
    for n in (20, 120):
        lost = [
            trial(i, 0.55, "discarded", axis=f"A{1 + i % 6}", title=f"idea {i:03d}", status="finished", **fields)
            for i in range(2, n)
        ]
        again = trial(n, 0.51, "replicate", mode="replicate", axis="-", title="again", parent=0, code_sha="code-0")
        said.answers["strategist"] = [{"option": 1, "why": "x"}]
        said.answers["scout"] = [{"proposals": [proposal(technique="element-bias")]}]
        said.asked.clear()
        known = knowledge(BASELINE, AGAIN, *lost, again)
        thinkers.strategist.plan(n + 1, known)
        thinkers.scout.propose(PLAN.model_copy(update={"number": n + 1}), known)
        lengths.append(sum(len(request.prompt) for request in said.asked))
    assert lengths[1] < lengths[0] * 1.05
