"""The person's log: what is taken once, what a restart finds again, and what two writers and a torn line leave."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from memory.person import MAX_TEXT, OwnIdea, PersonError, PersonLog, Question, plain

if TYPE_CHECKING:
    from pathlib import Path

QUESTION = Question(trial=3, code_sha="abc")


@pytest.fixture
def log(tmp_path: Path) -> PersonLog:
    return PersonLog(tmp_path / "person.jsonl")


def test_what_a_trial_took_is_found_again_by_it_and_by_no_other(log: PersonLog) -> None:
    for text in ("one", "two"):
        log.wish(text)
        log.propose(OwnIdea(k=0, title=text))
    log.take("idea", 1, 7)
    log.take("idea", 1, 8)  # another trial comes too late
    said = PersonLog(log.path).read()
    assert said.waiting("idea", 7) == [1, 2], "a round that was cut short takes the same again"
    assert said.waiting("idea", 8) == [2]
    assert (said.taken_by("idea", 7), said.taken_by("idea", 8)) == (1, None)
    assert said.waiting("wish", 7) == [1, 2], "an idea is no wish"


def test_what_was_taken_or_never_was_cannot_be_dropped(log: PersonLog) -> None:
    for text in ("one", "two", "three"):
        log.wish(text)
    log.take("wish", 1, 4)
    log.drop("wish", 2)
    for k, words in {1: "taken up by trial 4", 2: "not in the queue; waiting: 3", 9: "wish 9 is not"}.items():
        with pytest.raises(PersonError, match=words):
            log.drop("wish", k)
    assert log.read().waiting("wish") == [3]
    assert log.wish("four").k == 4, "numbers are not used twice"


def test_the_first_answer_to_a_question_stands_and_another_turn_is_another_question(log: PersonLog) -> None:
    log.ask(QUESTION)
    log.ask(QUESTION.model_copy(update={"at": 99.0}))
    assert log.path.read_bytes().count(b"\n") == 1
    assert log.answer(QUESTION, "revise", "smaller").word == "revise"
    assert log.answer(QUESTION, "approve").word == "revise"
    again = QUESTION.model_copy(update={"turn": 1})
    assert log.find_answer(again) is None, "the same bytes after a revision are asked about anew"
    log.ask(again)
    assert log.read().open_question(range(3)) == again
    assert log.read().open_question(range(4)) is None, "trial 3 is recorded"
    log.answer(again, "approve")
    assert log.read().open_question(range(3)) is None
    for word in ("reject", "revise"):
        with pytest.raises(PersonError, match=f"the reason to {word} it is empty"):
            log.answer(QUESTION, word, "  ")  # type: ignore[arg-type]


def test_a_torn_line_is_passed_over_and_cut_off_by_the_next_writer(log: PersonLog) -> None:
    log.wish("whole")
    before = log.path.read_bytes()
    log.path.write_bytes(before + before[: len(before) // 2])
    assert log.read().waiting("wish") == [1]
    assert log.wish("next").k == 2
    assert log.path.read_bytes().startswith(before) and log.path.read_bytes().count(b"\n") == 2
    log.path.write_bytes(log.path.read_bytes().replace(b"whole", b"whale"))
    with pytest.raises(PersonError, match="line 1 is damaged"):
        log.read()


def test_writers_in_other_processes_lose_nothing_and_share_no_number(log: PersonLog) -> None:
    code = (
        "import sys; from pathlib import Path; from memory.person import PersonLog\n"
        f"for i in range(40): PersonLog(Path({str(log.path)!r})).wish(sys.argv[1])"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, f"writer {i}"]) for i in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    said = log.read()
    assert list(said.wishes) == list(range(1, 121))
    assert {wish.text for wish in said.wishes.values()} == {"writer 0", "writer 1", "writer 2"}


def test_words_are_one_printable_line_of_bounded_length() -> None:
    assert plain(" a\n\tb \x1b[31mc\u202e ", "a wish") == "a b [31mc"
    for text, words in {"\n \x00": "a wish is empty", "x" * 1_000_000: f"1,000,000 characters, {MAX_TEXT:,}"}.items():
        with pytest.raises(PersonError, match=words):
            plain(text, "a wish")
