"""What a person said to a run: wishes, ideas of one's own, and answers to what the run asked.

The log is a file that only grows. Anyone may add to it while the run is at work, without the run's lock; a lock on the
file itself keeps two lines apart. What was taken up is noted in it under the number of the trial that took it, so that
a round that was cut short takes the same again, and nothing is taken by two trials. It decides nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from memory.lines import append_durably, canonical_json, format_line, payload_of, read_lines
from memory.records import Axis, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from pathlib import Path

MAX_TEXT = 1_000  # characters of a wish, a title or a reason: more is a file, and has another place
MAX_FILE_BYTES = 400_000  # of an edit or a train.py; the shipped one has a fortieth of it

Word = Literal["approve", "reject", "revise"]
Kept = Literal["wish", "idea"]


class PersonError(ValueError):
    """Something that a person said and the run cannot use; the message shows it and the mend."""


class Wish(Record):
    """A wish to the strategist, in a person's words."""

    kind: Literal["wish"] = "wish"
    k: int
    text: str
    at: str = ""


class OwnIdea(Record):
    """An idea of a person's own.

    Attributes:
        k: Its place in the queue.
        title: What it is, in a few words.
        axis: Where it changes something; `-` where that was not said.
        techniques: Ids of the playbook's techniques that it adds.
        knobs: Top-level constants that it sets.
        edits: Search/replace blocks (see `memory.edits`) that are applied as they are.
        train_py: A whole train.py instead.
        parent: Trial to start from; the champion of its time where None.
    """

    kind: Literal["idea"] = "idea"
    k: int
    title: str
    axis: Axis = "-"
    techniques: tuple[str, ...] = ()
    knobs: dict[str, bool | int | float | str] = {}
    edits: str = ""
    train_py: str = ""
    parent: int | None = None
    at: str = ""


class Question(Record):
    """What a run asks before it pays for a trial: these bytes, after so many requests to revise them."""

    kind: Literal["question"] = "question"
    trial: int
    code_sha: str
    turn: int = 0
    at: float = 0.0

    @property
    def key(self) -> tuple[int, str, int]:
        """What makes it this question and no other."""
        return (self.trial, self.code_sha, self.turn)


class Answer(Record):
    """A person's answer to one question; `why` goes into the journal or to the coder."""

    kind: Literal["answer"] = "answer"
    trial: int
    code_sha: str
    turn: int = 0
    word: Word
    why: str = ""
    at: str = ""

    @property
    def key(self) -> tuple[int, str, int]:
        """The key of its question."""
        return (self.trial, self.code_sha, self.turn)


class Taken(Record):
    """Trial `trial` took up wish or idea `k`."""

    kind: Literal["taken"] = "taken"
    what: Kept
    k: int
    trial: int


class Dropped(Record):
    """A person took back wish or idea `k`."""

    kind: Literal["dropped"] = "dropped"
    what: Kept
    k: int


Said = Wish | OwnIdea | Question | Answer | Taken | Dropped
Line = TypeVar("Line", bound=Said | None)
_SAID: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="kind")])


@dataclass
class Conversation:
    """All that was said, put in order.

    Attributes:
        taken: Trial that took a wish or an idea up; the first stands.
        dropped: Wishes and ideas that were taken back.
        question: The one asked last.
    """

    wishes: dict[int, Wish] = field(default_factory=dict)
    ideas: dict[int, OwnIdea] = field(default_factory=dict)
    taken: dict[tuple[Kept, int], int] = field(default_factory=dict)
    dropped: set[tuple[Kept, int]] = field(default_factory=set)
    answers: dict[tuple[int, str, int], Answer] = field(default_factory=dict)
    asked: dict[tuple[int, str, int], Question] = field(default_factory=dict)
    question: Question | None = None

    def add(self, said: Said) -> None:
        """Take in one line."""
        if isinstance(said, Wish):
            self.wishes[said.k] = said
        elif isinstance(said, OwnIdea):
            self.ideas[said.k] = said
        elif isinstance(said, Taken):
            self.taken.setdefault((said.what, said.k), said.trial)
        elif isinstance(said, Dropped):
            self.dropped.add((said.what, said.k))
        elif isinstance(said, Question):
            self.asked.setdefault(said.key, said)
            self.question = said
        else:
            self.answers.setdefault(said.key, said)

    def waiting(self, what: Kept, number: int | None = None) -> list[int]:
        """Return the wishes or ideas that nobody took, or that trial `number` took, the oldest first."""
        every = self.wishes if what == "wish" else self.ideas
        return [
            k for k in every if (what, k) not in self.dropped and self.taken.get((what, k), number) in (None, number)
        ]

    def taken_by(self, what: Kept, number: int) -> int | None:
        """Return the wish or idea that trial `number` took up, None where it took none."""
        return next((k for (kind, k), trial in self.taken.items() if kind == what and trial == number), None)

    def open_question(self, recorded: Container[int]) -> Question | None:
        """Return the question that waits for an answer, in a run whose journal holds the trials `recorded`."""
        question = self.question
        if question is None or question.key in self.answers or question.trial in recorded:
            return None
        return question


class PersonLog:
    """The file of what a person said, with any number of readers and writers.

    Args:
        path: `runs/<name>/person.jsonl`; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Conversation:
        """Return what was said; a torn last line is passed over.

        Raises:
            PersonError: A line before the last is damaged.
        """
        conversation = Conversation()
        lines = read_lines(self.path)
        for number, line in enumerate(lines, start=1):
            payload = payload_of(line)
            if payload is None:
                if number == len(lines):
                    break
                raise PersonError(f"{self.path}: line {number} is damaged: restore the file from a copy, or delete it")
            try:
                conversation.add(_SAID.validate_json(payload))
            except ValidationError as error:
                raise PersonError(f"{self.path}: line {number} is of another version: delete it") from error
        return conversation

    def wish(self, text: str) -> Wish:
        """Add a wish.

        Raises:
            PersonError: It is empty or too long.
        """
        words = plain(text, "a wish")
        return self._add(lambda so_far: Wish(k=max(so_far.wishes, default=0) + 1, text=words, at=_now()))

    def propose(self, idea: OwnIdea) -> OwnIdea:
        """Add an idea to the queue; its `k` is given here."""
        return self._add(lambda so_far: idea.model_copy(update={"k": max(so_far.ideas, default=0) + 1, "at": _now()}))

    def drop(self, what: Kept, k: int) -> Dropped:
        """Take a wish or an idea back.

        Raises:
            PersonError: It does not exist, or a trial took it up.
        """

        def make(so_far: Conversation) -> Dropped:
            waiting = so_far.waiting(what)
            if k not in waiting:
                by = so_far.taken.get((what, k))
                state = f"was taken up by trial {by}" if by is not None else "is not in the queue"
                rest = f"waiting: {', '.join(map(str, waiting))}" if waiting else "none is waiting"
                raise PersonError(f"{what} {k} {state}; {rest}")
            return Dropped(what=what, k=k)

        return self._add(make)

    def take(self, what: Kept, k: int, number: int) -> None:
        """Note that trial `number` takes up a wish or an idea; once more changes nothing."""
        self._add(lambda so_far: None if (what, k) in so_far.taken else Taken(what=what, k=k, trial=number))

    def ask(self, question: Question) -> None:
        """Note a question; once more changes nothing."""
        self._add(lambda so_far: None if so_far.question and so_far.question.key == question.key else question)

    def answer(self, question: Question, word: Word, why: str = "") -> Answer:
        """Note the answer to a question, and return the one that stands: the first.

        Raises:
            PersonError: A refusal gives no reason, or it is too long.
        """
        words = plain(why, f"the reason to {word} it") if why.strip() or word != "approve" else ""
        mine = Answer(
            trial=question.trial, code_sha=question.code_sha, turn=question.turn, word=word, why=words, at=_now()
        )
        self._add(lambda so_far: None if question.key in so_far.answers else mine)
        return self.read().answers[question.key]

    def find_answer(self, question: Question) -> Answer | None:
        """Return the answer to a question, None where there is none yet."""
        return self.read().answers.get(question.key)

    def _add(self, make: Callable[[Conversation], Line]) -> Line:
        """Append what `make` returns of all that was said before it, or nothing for None."""
        with self._locked():
            self._cut_torn_line()
            said = make(self.read())
            if said is not None:
                append_durably(self.path, format_line(canonical_json(said.model_dump(mode="json"))))
            return said

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _cut_torn_line(self) -> None:
        """Cut off what a writer that was killed left of its line; nobody else writes while the lock is held."""
        lines = read_lines(self.path)
        if lines and payload_of(lines[-1]) is None and not lines[-1].endswith(b"\n"):
            os.truncate(self.path, sum(map(len, lines[:-1])))


def plain(text: str, what: str) -> str:
    """Return a person's words as one printable line.

    Raises:
        PersonError: They are empty or longer than `MAX_TEXT`.
    """
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not words:
        raise PersonError(f"{what} is empty: say it in a few words")
    if len(words) > MAX_TEXT:
        raise PersonError(f"{what} has {len(words):,} characters, {MAX_TEXT:,} at most: say it in a few words")
    return words


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
