"""What the scripted roles make of prompts, and how recordings are replayed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from memory.edits import apply_edits, parse_edits
from team.scripted.chat import ChatRequest
from team.scripted.script import Playbook, Recording, ScriptError

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = """PLAN for trial 9. The options:
1. explore A1 (connectivity) of trial 2: an idea of one's own; crowding 0.00
2. explore A3 (features) of trial 2: 3 known techniques open, the best measured on this task; crowding 0.10
3. refine A6 (optimisation) of trial 2: 2 known techniques open, the best risky; crowding 0.90

Which option does trial 9 take?"""
CATALOGUE = """The catalogue, as far as it concerns the plan (open: may be proposed now):
<data>
- ema-of-weights (open): Average of weights; arXiv:1803.05407; evidence ++; Smoother predictions
- batch-size (open): Batch size; own; evidence 0; Smaller steps; knob BATCH, now 64, worth a trial: [32, 64, 128]
- dropout (tried in trial 3: discarded): Dropout; arXiv:1207.0580; evidence +; Less overfitting
</data>
Its constants: WIDTH = 64, LR = 0.001
The plan for trial 9: refine on A6 (optimisation) of trial 2
Why: x"""
SOURCE = "import torch\nWIDTH = 64  # of all layers\nLR = 0.001\n"


def ask(role: str, *texts: str, seed: int = 0) -> Any:
    schema = None
    kinds = ["user", "assistant"]
    turns = [("system", f"You are the {role} of a team"), *((kinds[i % 2], text) for i, text in enumerate(texts))]
    reply = Playbook(seed).reply(ChatRequest(1, tuple(turns), schema=schema))
    return reply.text if role == "coder" else json.loads(reply.text)


@pytest.mark.parametrize("seed", range(5))
def test_the_strategist_takes_what_promises_most(seed: int) -> None:
    assert ask("strategist", OPTIONS, seed=seed)["option"] == 2


def test_the_strategist_follows_a_wish() -> None:
    wish = "The person who runs the team wishes: try the connectivity\n"
    assert ask("strategist", wish + OPTIONS)["option"] == 1


def test_the_scout_proposes_what_is_open() -> None:
    proposals = {p["technique"]: p for p in ask("literature scout", CATALOGUE)["proposals"]}
    assert set(proposals) == {"ema-of-weights", "batch-size"}
    assert proposals["batch-size"]["value"] in (32, 128)  # and not what it is now
    assert proposals["ema-of-weights"]["source"] == "arXiv:1803.05407"
    assert {p["axis"] for p in proposals.values()} == {"A6"}


def test_the_coder_uses_the_tested_edit() -> None:
    tested = "<<<<<<< SEARCH\nLR = 0.001\n=======\nLR = 0.003\n>>>>>>> REPLACE"
    said = ask("coder", f"train.py of trial 2:\n<data>\n{SOURCE}\n</data>\nThe idea of trial 9: x\n{tested}\nWrite")
    assert apply_edits(SOURCE, parse_edits(said)) == SOURCE.replace("LR = 0.001", "LR = 0.003")


def test_an_own_idea_of_the_scout_becomes_an_edit_of_the_coder() -> None:
    [own] = ask("literature scout", CATALOGUE.replace("(open)", "(in the file)"))["proposals"]
    assert (own["technique"], own["source"]) == (None, "own")
    question = f"train.py of trial 2:\n<data>\n{SOURCE}\n</data>\nThe idea of trial 9: {own['title']}\nWrite the edit."
    after = apply_edits(SOURCE, parse_edits(ask("coder", question)))
    name, before, _, value = own["title"].split()
    assert after == SOURCE.replace(f"{name} = {before}", f"{name} = {value}")
    assert after != SOURCE


@pytest.mark.parametrize(
    ("diff", "kind"),
    [("+WIDTH = 96\n-WIDTH = 64", "approve"), ("--- a\n+++ b", "revise"), ("+x = open('/labels')", "reject")],
)
def test_the_reviewer_reads_the_diff(diff: str, kind: str) -> None:
    assert ask("reviewer", f"The idea of trial 9: x\n<data>\n{diff}\n</data>\nYour verdict?")["kind"] == kind


def test_an_answer_fits_its_schema() -> None:
    schema = {"properties": {"option": {}, "why": {}, "sure": {"type": "boolean"}}, "required": ["option", "sure"]}
    turns = (("system", "You are the strategist of a team"), ("user", OPTIONS))
    answer = json.loads(Playbook().reply(ChatRequest(1, turns, schema=schema)).text)
    assert (answer["option"], answer["sure"]) == (2, True)


def test_a_recording_is_replayed_by_role_and_begins_again(tmp_path: Path) -> None:
    lines = [
        {"role": "coder", "text": "one"},
        {"answer": {"option": 1}},
        {"role": "coder", "text": "two", "finish": "length"},
        {"role": "reviewer", "refusal": "no"},
    ]
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    script = Recording(path)

    def says(role: str) -> tuple[str, str, str | None]:
        reply = script.reply(ChatRequest(1, (("system", f"You are the {role} of a team"),)))
        return reply.text, reply.finish, reply.refusal

    assert [says("coder") for _ in range(3)] == [("one", "stop", None), ("two", "length", None), ("one", "stop", None)]
    assert says("strategist") == ('{"option": 1}', "stop", None)
    assert says("reviewer") == ("", "stop", "no")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "holds no answer"), ("{}", "line 1: give either"), ('{"role": "cook", "text": "x"}', "line 1: role")],
)
def test_a_recording_that_cannot_be_used_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(text)
    with pytest.raises(ScriptError, match=words):
        Recording(path)
