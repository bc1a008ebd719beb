"""What a reading of a train.py finds before the trial is paid for: each with a code, a line and a reason.

| code | what | |
|---|---|---|
| S0 | the file cannot be read | blocks |
| L1 | an import outside the allow-list | blocks |
| L2 | reading or writing outside the task client, or running text as code | blocks |
| L3 | processes, threads, environment, frames, dunders, the client's inside, writes to what is imported | blocks |
| L4 | a table of answers in the source | blocks |
| L5 | predicted crystals in training, or their statistics in predictions | blocks |
| L6 | a seed from the clock blocks; one that is not `task.facts.seed` is a note | |
| L7 | the protocol: its calls once, in order (`predict` is the last two), no training before it | blocks |
| L8 | errors of the protocol that are swallowed block; a bare `except` elsewhere is a note | |
| N1 | a change that does nothing | blocks |
| N2 | a change of what nothing reads: blocks where there is no other | |

It is no barrier: it reads what is plain to see, and the sandbox holds whatever the code does. Threads are refused, for
they would outlive the clock; torch and `nearest_neighbours` have their own.
"""

from __future__ import annotations

import re

from memory.edits import tree_of
from team.review import change, flow, luck, order, reach, tables
from team.review.finding import Finding, first_of_each
from team.review.names import Names

__all__ = ["Finding", "findings"]

_CODING = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


def findings(source: str, parent: str | None = None) -> tuple[Finding, ...]:
    """Return what was found in a trial's file, in the order of its lines; empty where nothing was.

    Args:
        source: The edited train.py.
        parent: The train.py that was edited; without it nothing is said of the change (N1, N2).
    """
    for line, text in enumerate(source.split("\n", 2)[:2], start=1):
        if (coding := _CODING.match(text)) and coding[1].lower().replace("_", "-") not in ("utf-8", "utf8", "ascii"):
            return (Finding(line, "S0", f"the file is to be read as {coding[1]}: write it in UTF-8"),)
    try:
        names = Names(tree_of(source))
        calls = order.Calls(names)
        found = [
            *reach.findings(names),
            *tables.findings(names),
            *order.findings(calls),
            *flow.findings(names),
            *luck.findings(names),
            *(change.findings(names, source, parent) if parent is not None else ()),
        ]
    except SyntaxError as error:
        return (Finding(error.lineno or 1, "S0", f"the file does not parse: {error.msg}"),)
    except ValueError as error:
        return (Finding(1, "S0", f"the file does not parse: {error}"),)
    except (RecursionError, MemoryError):
        return (Finding(1, "S0", "the file nests too deeply to be read: split its expressions"),)
    return first_of_each(found)
