"""The question before a trial, as a person sees it: the change, what is known of it, and the prompt in a terminal.

The code that is shown was written by others, so nothing in it may reach the terminal as a command or hide in the text:
what is not printable is shown as its code point.
"""

from __future__ import annotations

import json
import os
import re
import select
import sys
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.syntax import Syntax

from memory.person import PersonError
from memory.records import AXES, Idea
from team.plain import visible

if TYPE_CHECKING:
    import threading

    from rich.console import Console

    from graph.run_folder import RunFolder
    from memory.person import Answer, PersonLog, Question, Word

POLL_SECONDS = 0.5
CHOICES = "[bold]a[/bold]pprove, [bold]r[/bold]eject: why, re[bold]v[/bold]ise: what, [bold]s[/bold]top the run:"
_ANSWER = re.compile(r"(a|approve|r|reject|v|revise|s|stop)\b\s*:?\s*(.*)", re.IGNORECASE | re.DOTALL)
_WORDS: dict[str, Word] = {"a": "approve", "r": "reject", "v": "revise"}


def show_question(question: Question, folder: RunFolder, console: Console) -> None:
    """Print the idea, the reviewer's notes and the diff of the trial that is asked about."""
    trial = folder.trial(question.trial)
    idea = Idea.model_validate_json((trial / "idea.json").read_text(encoding="utf-8"))
    axis = f" {idea.axis} {AXES[idea.axis]}" if idea.axis in AXES else ""
    console.print(
        f"\n[bold]trial {idea.number}[/bold]  {idea.mode}{axis} of trial {idea.parent}: "
        f"[bold]{escape(visible(idea.title))}[/bold]"
    )
    for label, text in (("why", idea.why), ("hopes", idea.hypothesis), ("source", idea.source)):
        if text:
            console.print(f"  [dim]{label:<7}[/dim]{escape(visible(text))}")
    review = trial / "review.json"
    notes = json.loads(review.read_text(encoding="utf-8"))["reasons"] if review.exists() else []
    for note in notes:
        console.print(f"  [dim]review [/dim]{escape(visible(note))}")
    diff = visible((trial / "change.diff").read_text(encoding="utf-8"))
    if console.is_terminal:
        console.print(Syntax(diff, "diff", theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        console.print(diff, markup=False)


def ask_at_terminal(
    question: Question, folder: RunFolder, log: PersonLog, console: Console, cancel: threading.Event
) -> Answer | None:
    """Ask until there is an answer, note it, and return it; None where the person stops the run instead.

    An answer that another shell gives meanwhile is taken as well.
    """
    show_question(question, folder, console)
    terminal = _Lines(sys.stdin.fileno())
    console.print(f"{CHOICES} ", end="")
    sys.stdout.flush()
    while not cancel.is_set():
        line = terminal.next()
        if line is None:
            if terminal.closed:
                return None
            if (answer := log.find_answer(question)) is not None:
                console.print(f"\nanswered from elsewhere: {answer.word}")
                return answer
            continue
        match = _ANSWER.fullmatch(line.strip())
        letter = (
            ""
            if match is None
            else {"approve": "a", "reject": "r", "revise": "v", "stop": "s"}.get(match[1].lower(), match[1].lower())
        )
        if letter == "s":
            return None
        if match is not None and letter in _WORDS:
            try:
                return log.answer(question, _WORDS[letter], match[2])
            except PersonError as error:
                console.print(f"[yellow]{escape(str(error))}[/yellow]")
        console.print(f"{CHOICES} ", end="")
        sys.stdout.flush()
    return None


class _Lines:
    """Lines that are typed from now on: what was typed before a question is no answer to it."""

    def __init__(self, fd: int) -> None:
        self.fd, self.closed, self._rest = fd, False, b""
        if os.isatty(fd):
            import termios

            termios.tcflush(fd, termios.TCIFLUSH)

    def next(self) -> str | None:
        """Return the next line, None where there is none within `POLL_SECONDS` or the terminal was closed."""
        if b"\n" not in self._rest:
            if not select.select([self.fd], [], [], POLL_SECONDS)[0]:
                return None
            read = os.read(self.fd, 65_536)
            self.closed = not read
            self._rest += read
        line, newline, rest = self._rest.partition(b"\n")
        if not newline:
            return None
        self._rest = rest
        return line.decode(errors="replace")
