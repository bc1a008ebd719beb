"""Text that others wrote, made safe for a terminal: ideas come from models, logs and files from hostile code.

`plain` drops what a terminal would obey, for lists and logs; `visible` shows it, for who has to decide on the text.
"""

from __future__ import annotations

from rich.text import Text


def plain(text: str) -> str:
    """Return text in one line without control characters, so that it can neither draw, move the cursor, nor hide.

    Escape codes (C0 and C1), marks of writing direction and other unprintable characters are dropped; what follows an
    escape stays readable.
    """
    return "".join(c if c.isprintable() else " " if c in "\t\n\r" else "" for c in text)


def shown(text: str, style: str = "") -> Text:
    """Return `plain` text for a rich console: no markup is read in it, so that `[red]` in a title stays `[red]`."""
    return Text(plain(text), style=style)


def visible(text: str) -> str:
    """Return a text with every character shown that a terminal would obey or hide."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\u{ord(c):04x}" for c in text)
