"""What the models of a run have used: one line of `spend.jsonl` for each answer that was paid for or given up.

It counts and says whether a next call could pass a limit; it calls nothing and knows no price. A line never holds text
of a prompt or an answer.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graph.errors import RunError
from team.model.settings import RoleName

if TYPE_CHECKING:
    from pathlib import Path

SPEND_FILE = "spend.jsonl"


class SpendError(RunError):
    """A spend file that cannot be read; the message names the line and the mend."""


class SpendLine(BaseModel):
    """One call: the requests that were made for one answer of a role, up to an answer with tokens or to giving up.

    Attributes:
        role: Who asked.
        trial: The trial that it was asked for.
        model: As the settings name it.
        prompt_tokens: Of the prompt, those cached among them.
        cached_tokens: Of the prompt's, those that the provider had cached.
        completion_tokens: Of the answer, reasoning among them.
        usd: What they cost, None where no price is known.
        seconds: From the first request to the outcome, waiting between requests included.
        attempts: Requests that were sent.
        outcome: `answered`, or what was wrong: `schema`, `truncated`, `refused`, `timeout`, ...
        unconfirmed_tokens: What requests that got no answer may have used: an upper bound, counted by the limits only.
        unconfirmed_usd: The same in USD.
        estimated: Whether the endpoint gave no counts, so that tokens are estimated from the length of the texts.
        at: UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: RoleName
    trial: int
    model: str
    prompt_tokens: int = Field(0, ge=0)
    cached_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)
    usd: float | None = None
    seconds: float = 0.0
    attempts: int = Field(1, ge=0)
    outcome: str = "answered"
    unconfirmed_tokens: int = Field(0, ge=0)
    unconfirmed_usd: float = 0.0
    estimated: bool = False
    at: str = ""


class SpendTotals(BaseModel):
    """Sums over lines; `usd` counts the lines whose price is known, `unpriced_tokens` those of the others."""

    model_config = ConfigDict(frozen=True)

    calls: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    unpriced_tokens: int = 0
    unconfirmed_tokens: int = 0
    unconfirmed_usd: float = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers together."""
        return self.prompt_tokens + self.completion_tokens

    def plus(self, line: SpendLine) -> SpendTotals:
        """Return the sums with one more line."""
        tokens = line.prompt_tokens + line.completion_tokens
        return SpendTotals(
            calls=self.calls + 1,
            attempts=self.attempts + line.attempts,
            prompt_tokens=self.prompt_tokens + line.prompt_tokens,
            cached_tokens=self.cached_tokens + line.cached_tokens,
            completion_tokens=self.completion_tokens + line.completion_tokens,
            usd=self.usd + (line.usd or 0.0),
            unpriced_tokens=self.unpriced_tokens + (tokens if line.usd is None else 0),
            unconfirmed_tokens=self.unconfirmed_tokens + line.unconfirmed_tokens,
            unconfirmed_usd=self.unconfirmed_usd + line.unconfirmed_usd,
            seconds=self.seconds + line.seconds,
        )


class SpendBook:
    """The spend file of one run, open for appending; a resumed run goes on from what it holds.

    Args:
        run_folder: `runs/<name>/`, which exists.

    Raises:
        SpendError: A line before the last is damaged.
    """

    def __init__(self, run_folder: Path) -> None:
        self.path = run_folder / SPEND_FILE
        self._threads = threading.Lock()
        self._totals = SpendTotals()
        self._claims: dict[object, tuple[int, float]] = {}  # what calls under way may use
        _repair(self.path)
        for line in read_spend(run_folder):
            self._totals = self._totals.plus(line)

    def totals(self) -> SpendTotals:
        """Return the sums of the whole run, before and after it was resumed."""
        return self._totals

    def add(self, line: SpendLine, claimed_by: object = None) -> None:
        """Write one line durably; what `claimed_by` had claimed for the call is free again.

        Raises:
            OSError: The disk is full, or the file cannot be written.
        """
        text = f"{line.model_dump_json()}\n".encode()
        with self._threads:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                before = os.fstat(fd).st_size
                try:
                    written = os.write(fd, text)
                    while written < len(text):  # a full disk takes a part, and says why at the next write
                        written += os.write(fd, text[written:])
                    os.fsync(fd)
                except BaseException:
                    os.ftruncate(fd, before)
                    raise
            finally:
                os.close(fd)
            self._totals = self._totals.plus(line)
            self._claims.pop(claimed_by, None)

    def claim(
        self,
        by: object,
        tokens: int,
        usd: float | None,
        *,
        max_tokens: int | None = None,
        max_cost: float | None = None,
    ) -> str:
        """Claim what a call may use, so that calls side by side cannot pass a limit together; see `would_pass`.

        A second claim replaces the first. It stands until a line is added for it.

        Returns:
            Which limit the call could pass, as a sentence; empty where the claim stands.
        """
        with self._threads:
            self._claims.pop(by, None)
            passed = self.would_pass(tokens, usd, max_tokens=max_tokens, max_cost=max_cost)
            if not passed:
                self._claims[by] = tokens, usd or 0.0
            return passed

    def would_pass(
        self, tokens: int, usd: float | None, *, max_tokens: int | None = None, max_cost: float | None = None
    ) -> str:
        """Return which limit a call could pass, as a sentence; empty while it cannot pass one.

        Requests that got no answer, or are under way, count with all that they may have used.

        Args:
            tokens: At most what the call uses, of prompt and answer together.
            usd: At most what it costs, None where no price is known.
            max_tokens: The run's limit, None for none.
            max_cost: The run's limit in USD, None for none.
        """
        spent = self._totals
        used_tokens = spent.tokens + spent.unconfirmed_tokens + sum(claim[0] for claim in self._claims.values())
        if max_tokens is not None and used_tokens + tokens > max_tokens:
            return (
                f"{used_tokens} of {max_tokens} tokens are spent, and the next call may use {tokens}: "
                "--max-tokens would be passed"
            )
        used_usd = spent.usd + spent.unconfirmed_usd + sum(claim[1] for claim in self._claims.values())
        if max_cost is not None and (usd is None or used_usd + usd > max_cost):
            may = "an unknown sum" if usd is None else f"{usd:.4f}"
            return (
                f"{used_usd:.4f} of {max_cost:g} USD are spent, and the next call may cost {may}: "
                "--max-cost would be passed"
            )
        return ""


def read_spend(run_folder: Path) -> tuple[SpendLine, ...]:
    """Return the lines of a run's spend file; a torn last line is passed over, an absent file has none.

    Raises:
        SpendError: A line before the last is damaged.
    """
    path = run_folder / SPEND_FILE
    if not path.exists():
        return ()
    *whole, _torn = path.read_bytes().split(b"\n")
    lines = []
    for number, text in enumerate(whole, start=1):
        try:
            lines.append(SpendLine.model_validate_json(text))
        except ValidationError:
            raise SpendError(
                f"{path}: line {number} is damaged: restore the file from a copy, or delete the line, which forgets "
                f"what that call cost (sed -i {number}d {path.name})"
            ) from None
    return tuple(lines)


def _repair(path: Path) -> None:
    """End a whole last line that lacks only its line break, and cut off a torn one."""
    if not path.exists():
        return
    data = path.read_bytes()
    start = data.rfind(b"\n") + 1
    if start == len(data):
        return
    try:
        SpendLine.model_validate_json(data[start:])
    except ValidationError:
        with path.open("r+b") as file:
            file.truncate(start)
            os.fsync(file.fileno())
    else:
        with path.open("ab") as file:
            file.write(b"\n")
            os.fsync(file.fileno())
