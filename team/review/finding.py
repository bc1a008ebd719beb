"""What a reading of a train.py reports: one record each, and nothing that decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that the reading found.

    Attributes:
        line: Where in the new file, 1-based.
        code: Kind of finding, such as `L1`; `team.review` lists them.
        reason: What was found, and why it matters or how to mend it.
        blocking: Whether the change must not be trained like this; otherwise it is a note for the record.
    """

    line: int
    code: str
    reason: str
    blocking: bool = True

    def __str__(self) -> str:
        return f"{self.code} line {self.line}: {self.reason}"


def first_of_each(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings in the order of their lines, one for each line and code."""
    kept: dict[tuple[int, str], Finding] = {}
    for finding in sorted(found, key=lambda f: (f.line, f.code, not f.blocking, f.reason)):
        kept.setdefault((finding.line, finding.code), finding)
    return tuple(kept.values())
