"""How often somebody has looked at official test labels: an append-only count, kept in the run.

A look is one set of predictions scored on the test rows of one fold. It is on the disk before the labels are opened,
so that a result which nobody likes counts as well. Each line holds the hash of the line before it: a line that is
changed or taken out of the middle shows. Lines cut off at the end, or the whole file, can be removed by whoever owns
the run, as can the run itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from evaluation_locked.dataset import DataError
from evaluation_locked.task import Strict

if TYPE_CHECKING:
    from pathlib import Path


class LooksError(DataError):
    """The count of looks is damaged; the message names the line."""


class Subject(Strict):
    """What was looked at; equal subjects are one look.

    Attributes:
        task: MatBench's name of the task.
        fold: Official fold whose test rows judge.
        trial: Trial of the run whose file was trained; of an ensemble that of its first member.
        code_sha: sha256 of that file; of an ensemble that of its recipe.
        seed: Random seed of the training.
        train_seconds: Its budget; of an ensemble the sum.
        predictions_sha: sha256 of the predictions.
        members: Trials whose trainings were combined; empty where there was one training.
    """

    task: str
    fold: int
    trial: int
    code_sha: str
    seed: int
    train_seconds: float
    predictions_sha: str
    members: tuple[int, ...] = ()


class Look(Strict):
    """One line of the file.

    Attributes:
        number: From 1, over all folds.
        at_fold: From 1, over the looks at this fold.
        at: When, ISO 8601 in UTC.
        previous: sha256 of the line before, empty for the first.
    """

    number: int
    at_fold: int
    at: str
    subject: Subject
    previous: str


def read_looks(path: Path) -> tuple[Look, ...]:
    """Return all looks in their order; an absent file has none.

    Raises:
        LooksError: A line is damaged, or was changed, moved or taken out.
    """
    if not path.exists():
        return ()
    looks: list[Look] = []
    previous, at_fold = "", dict[int, int]()
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        try:
            look = Look.model_validate_json(line)
        except ValidationError as error:
            if not line.endswith(b"\n"):
                break  # torn by a power cut, before any label was opened
            raise LooksError(f"{path}, line {number} is no look: restore the file") from error
        at_fold[look.subject.fold] = at_fold.get(look.subject.fold, 0) + 1
        if (look.previous, look.number, look.at_fold) != (previous, number, at_fold[look.subject.fold]):
            raise LooksError(f"{path}, line {number} does not follow the line before: a look was changed or taken out")
        previous = hashlib.sha256(line).hexdigest()
        looks.append(look)
    return tuple(looks)


def count_look(path: Path, subject: Subject) -> Look:
    """Return the look at `subject`: the one that was counted before, or a new one, which is on the disk by then.

    Raises:
        LooksError: The file is damaged.
        OSError: It cannot be written, so nothing may be looked at.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        looks = read_looks(path)
        for look in looks:
            if look.subject == subject:
                return look
        lines = path.read_bytes().splitlines(keepends=True)
        file.truncate(sum(map(len, lines[: len(looks)])))
        look = Look(
            number=len(looks) + 1,
            at_fold=1 + sum(look.subject.fold == subject.fold for look in looks),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            subject=subject,
            previous=hashlib.sha256(lines[len(looks) - 1]).hexdigest() if looks else "",
        )
        file.write(look.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return look
