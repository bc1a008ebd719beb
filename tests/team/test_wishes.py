"""What the offline strategist reads out of a person's words, on the shipped playbook."""

from __future__ import annotations

import pytest

from memory.person import Wish
from memory.records import Idea
from memory.techniques import load_playbook
from team.offline.wishes import narrow, nearest_techniques, understand
from team.running import shipped_seed_folder

PLAYBOOK = {technique.id: technique for technique in load_playbook(shipped_seed_folder() / "playbook")}


@pytest.mark.parametrize(
    ("words", "wanted", "avoided"),
    [
        ("try the space group", "space-group-nodes, space-group", ""),
        ("averaged weights, please", "ema-decay", ""),
        ("smaller batches", "batch-size, batch-ramp", ""),
        ("tune the learning rate", "learning-rate, refine", ""),
        ("explore A3", "explore, A3 features", ""),
        ("please look at the optimiser", "A6 optimisation", ""),
        ("no more learning rate, rather the readout", "A5 readout", "learning-rate"),
        ("Don't touch A6; try FiLM", "film", "A6 optimisation"),
        ("from trial 3, try virtual-node", "virtual-node, trial 3", ""),
        ("train trial 4 again", "replicate, trial 4", ""),
        ("write me a poem about cats", "", ""),
        ("make it better", "", ""),
        ("", "", ""),
    ],
)
def test_words_name_what_the_playbook_knows(words: str, wanted: str, avoided: str) -> None:
    assert tuple(map(str, understand(words, PLAYBOOK))) == (wanted, avoided)


def offer(technique: str, mode: str = "explore", parent: int = 0) -> Idea:
    return Idea(
        number=5,
        mode=mode,  # type: ignore[arg-type]
        axis=PLAYBOOK[technique].axis,
        title=technique,
        techniques=(technique,),
        parent=parent,
    )


OFFERS = [offer("film"), offer("huber"), offer("multi-pool"), offer("learning-rate", "refine")]


@pytest.mark.parametrize(
    ("words", "left", "told"),
    [
        ("try huber", ["huber"], "(1 ('try huber')): huber"),
        ("A5 or A4", ["film", "multi-pool"], "A4 architecture, A5 readout"),
        ("refine something", ["learning-rate"], "refine"),
        ("not A6", ["film", "multi-pool"], "no A6 optimisation"),
        ("the virtual node of A5", ["multi-pool"], "A5 readout; no untried move for virtual-node"),
        ("virtual-node", [idea.title for idea in OFFERS], "nothing of it can be met, no untried move for virtual-node"),
        ("turtles", [idea.title for idea in OFFERS], "names nothing that the offline team knows"),
    ],
)
def test_a_wish_narrows_the_offers_and_never_to_nothing(words: str, left: list[str], told: str) -> None:
    found, sentence = narrow(OFFERS, Wish(k=1, text=words), PLAYBOOK)
    assert [idea.title for idea in found] == left
    assert told.removeprefix("(1 ").split(")): ")[-1] in sentence
    assert sentence.startswith("a person's wish 1 (")


def test_the_nearest_techniques_are_named_by_spelling_or_by_meaning() -> None:
    assert nearest_techniques("space-grup", PLAYBOOK)[0] == "space-group"
    assert nearest_techniques("polyak averaging", PLAYBOOK) == ["ema-decay"]
    assert nearest_techniques("zzz", PLAYBOOK) == []
