"""The rows of a source that cannot be used, gathered so that a user mends them in one go.

It owns the wording. A row is never left out silently: either every bad row is refused together, or the number left out
is written into the provenance of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from evaluation_locked.dataset import DataError

N_LISTED = 10


@dataclass
class BadRows:
    """Reasons against rows, in the order found.

    Attributes:
        where: The file the rows are from, as a message should name it.
        reasons: One text for each bad row: which row, what was found, what to do.
    """

    where: str
    reasons: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, row: str, reason: str) -> None:
        """Note that `row` (a line number and an id, say) cannot be used because of `reason`."""
        self.reasons.append(f"{row}: {reason}")

    def settle(self, n_rows: int, skip_bad: bool) -> None:
        """Refuse the source if it has bad rows and they may not be left out, or if no row would be left.

        Args:
            n_rows: Rows of the source, good and bad.
            skip_bad: Whether bad rows may be left out.

        Raises:
            DataError: It names the first ten bad rows and counts the rest.
        """
        if not self.reasons or (skip_bad and len(self) < n_rows):
            return
        listed = "\n  ".join(self.reasons[:N_LISTED])
        more = f"\n  ... and {len(self) - N_LISTED} more" if len(self) > N_LISTED else ""
        mend = "no row is left" if skip_bad else "mend them, or leave all of them out with skip_bad"
        raise DataError(f"{len(self)} of {n_rows} rows of {self.where} cannot be used; {mend}:\n  {listed}{more}")


def left_out_note(n_left_out: int, n_rows: int) -> str:
    """Return the end of a provenance sentence: how many rows were left out, or nothing if none was."""
    return f"; {n_left_out} of {n_rows} rows could not be used and were left out" if n_left_out else ""
