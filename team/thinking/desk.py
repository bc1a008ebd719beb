"""Where the roles reach their models: every exchange is filed with its trial, and every turn taken over is noted.

It decides nothing and holds no prompt. What is filed is bounded and free of the secrets of the environment.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from evaluation_locked.trial import TrialCancelled
from graph.roles import RoleError, StandIns
from team.model.access import ModelError, SpendLimitError
from team.model.scrub import Scrubber
from team.model.settings import read_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graph.run_folder import RunFolder
    from team.model.access import ModelAccess, Turn
    from team.model.settings import RoleName

T = TypeVar("T", bound=BaseModel)

MAX_FILE_CHARACTERS = 120_000
MAX_REASON_CHARACTERS = 240


class Desk:
    """One run's way to its models.

    Args:
        access: Sends and counts.
        folder: The run, in which exchanges are filed.
        cancel: Set where a person wants the run to stop.

    Attributes:
        stand_ins: Turns that were taken over, until the state machine takes note of them.
    """

    def __init__(self, access: ModelAccess, folder: RunFolder, cancel: threading.Event | None = None) -> None:
        self.stand_ins = StandIns()
        self._access = access
        self._folder = folder
        self._cancel = cancel or threading.Event()
        self._limit = ""
        self._n_filed: dict[int, int] = {}  # by trial, as far as this process filed any
        self._scrubber = Scrubber(read_key(role) for role in access.settings.roles.values())

    def spent(self) -> str:
        """Return which limit ended the use of models, as a sentence; empty while none did."""
        return self._limit

    def answer(self, role: RoleName, trial: int, turns: Sequence[Turn], schema: type[T]) -> T:
        """Return a typed answer.

        Raises:
            ModelError: The model cannot take this turn.
            TrialCancelled: The run is to stop.
        """
        self._check()
        try:
            answer = self._access.answer(role, trial, turns, schema)
        except ModelError as error:
            raise self._failed(role, trial, turns, error) from error
        self._file(role, trial, turns, answer.model_dump_json(indent=1))
        return answer

    def text(self, role: RoleName, trial: int, turns: Sequence[Turn]) -> str:
        """Return a free answer.

        Raises:
            ModelError: The model cannot take this turn.
            TrialCancelled: The run is to stop.
        """
        self._check()
        try:
            answer = self._access.text(role, trial, turns)
        except ModelError as error:
            raise self._failed(role, trial, turns, error) from error
        self._file(role, trial, turns, answer)
        return answer

    def hand_over(self, role: RoleName, why: object) -> None:
        """Note that the offline team takes this turn."""
        self.say(f"the offline {role} took the turn: {why}")

    def say(self, sentence: str) -> None:
        """Note a sentence on how a turn was taken."""
        self.stand_ins.add(self._scrubber.sentence(sentence, MAX_REASON_CHARACTERS))

    def _check(self) -> None:
        if self._cancel.is_set():
            raise TrialCancelled
        if self._limit:
            raise SpendLimitError(self._limit)

    def _failed(self, role: RoleName, trial: int, turns: Sequence[Turn], error: ModelError) -> Exception:
        self._file(role, trial, turns, f"(no answer: {error})")
        if isinstance(error, SpendLimitError):
            self._limit = str(error)
        return TrialCancelled() if self._cancel.is_set() else error

    def _file(self, role: RoleName, trial: int, turns: Sequence[Turn], answer: str) -> None:
        """Write prompt and answer where the trial's folder will be."""
        place = self._folder.exchanges(trial)
        place.mkdir(parents=True, exist_ok=True)
        n_filed = self._n_filed.get(trial)
        if n_filed is None:  # a process that was killed may have filed some
            made = self._folder.trial_folders.find(trial)
            n_filed = len([*(made.glob("llm/*.txt") if made is not None else ()), *place.glob("*.txt")])
        self._n_filed[trial] = n_filed + 1
        parts = [*((turn.kind, turn.text) for turn in turns), ("answer", answer)]
        text = "".join(f"=== {kind} ===\n{_bounded(part)}\n\n" for kind, part in parts)
        (place / f"{n_filed + 1:02d}-{role}.txt").write_text(self._scrubber.clean(text), encoding="utf-8")


def limit_ends_the_run(error: ModelError) -> None:
    """Turn a spent limit into the end of the run; any other fault is for the offline team to bridge.

    Raises:
        RoleError: The limit's words.
    """
    if isinstance(error, SpendLimitError):
        raise RoleError(str(error)) from error


def _bounded(text: str) -> str:
    if len(text) <= MAX_FILE_CHARACTERS:
        return text
    half = MAX_FILE_CHARACTERS // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"
