"""Access to language models: one bounded exchange a turn, typed or free, counted, and never a reason for a run to die.

It holds no prompt and knows no role's business; it hands on what a model said, or raises `ModelError`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from team.model.settings import RoleName, TeamSettings
    from team.model.spend import SpendBook

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Turn:
    """One message of an exchange."""

    kind: Literal["system", "user", "assistant"]
    text: str


class ModelError(RuntimeError):
    """The model cannot take this turn; the message is one sentence without a secret, fit to be recorded."""


class SpendLimitError(ModelError):
    """The next call might pass --max-cost, --max-tokens or --max-hours; the run should stop cleanly."""


class ModelAccess:
    """Reaches the models that play the roles.

    Args:
        settings: Who plays which role.
        spend: Where calls are counted; its folder also holds `endpoints.json`, what was found out about endpoints.
        sleep: Waits between attempts; `threading.Event().wait` makes it end early, and then the call is given up.
        listen: Told in one line of every wait and every other way that is tried.
        seconds_left: How much of --max-hours is left.

    Raises:
        SettingsError: A key or a package is missing; nothing was spent.
    """

    def __init__(
        self,
        settings: TeamSettings,
        spend: SpendBook,
        *,
        sleep: Callable[[float], object] = time.sleep,
        listen: Callable[[str], None] = lambda text: None,
        seconds_left: Callable[[], float] = lambda: float("inf"),
    ) -> None:
        raise NotImplementedError

    def answer(self, role: RoleName, trial: int, turns: Sequence[Turn], schema: type[T]) -> T:
        """Return a typed answer; one corrective turn tells the model what did not fit.

        Raises:
            ModelError: The model cannot take this turn.
        """
        raise NotImplementedError

    def text(self, role: RoleName, trial: int, turns: Sequence[Turn]) -> str:
        """Return a free answer, with line ends of one kind and never empty.

        Raises:
            ModelError: The model cannot take this turn.
        """
        raise NotImplementedError
