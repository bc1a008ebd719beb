"""Steps that open labels, each in a process of its own: how they are asked, and how they answer.

Whoever holds or orders trials never has a label that judges in its memory. An order goes in as JSON on standard input,
the answer comes back as JSON on standard output. A refusal travels by the name of its error.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def ask(module: str, order: dict[str, Any], errors: tuple[type[Exception], ...]) -> dict[str, Any]:
    """Have `python -m module` carry out an order, and return its answer.

    Args:
        module: Its `main` calls `answer`.
        order: What JSON can hold.
        errors: What it may refuse with; the first stands for a process that broke.

    Raises:
        Exception: One of `errors`, as it was raised there.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", module],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        raise errors[0]((done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1])
    said = dict(json.loads(done.stdout))
    if "refused" in said:
        raise {error.__name__: error for error in errors}.get(said["refused"], errors[0])(said["message"])
    return said


def answer(step: Callable[[dict[str, Any]], dict[str, Any]], errors: tuple[type[Exception], ...]) -> None:
    """Read an order from standard input, carry it out with `step`, print the answer.

    Libraries log to standard output, which holds the answer alone: what they say goes to standard error.
    """
    order = json.load(sys.stdin)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            said = step(order)
    except errors as error:  # the border of this process: whoever asked raises it again
        said = {"refused": type(error).__name__, "message": str(error)}
    print(json.dumps(said))
