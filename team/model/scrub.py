"""Takes secrets out of texts: what a model, an endpoint or a library says may repeat the key that it was given.

It knows the keys of this process's environment. It is the last thing that a text passes before it is shown or stored.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

PLACEHOLDER_KEY = "no-key-needed"
HIDDEN = "[secret]"

_VARIABLES = re.compile(r".*(API_?KEY|TOKEN|SECRET|PASSWORD|ACCESS_KEY|CREDENTIALS?)")
_LOOKS = re.compile(
    r"\b(?:sk|pk|rk|gsk|hf|xai|lsv2)[-_][A-Za-z0-9_*-]{8,}"  # the usual shapes; stars where an endpoint hid a part
    r"|(?<=Bearer )\S+"
    r"|(?<=api_key=)[^\s&\"']+",
    re.IGNORECASE,
)
_MIN_KEY, _MIN_OTHER = 6, 12  # shorter values are words that stand in texts for other reasons
_SURROGATES = re.compile("[\ud800-\udfff]")
_NO_KEYS = {PLACEHOLDER_KEY, "ollama", "lm-studio", "not-needed", "dummy", "placeholder"}


class Scrubber:
    """Hides the keys that this process knows.

    Args:
        keys: Those that are sent to endpoints; those in the environment are added by the names of their variables.
    """

    def __init__(self, keys: Iterable[str | None]) -> None:
        known = {key for key in keys if key and len(key) >= _MIN_KEY and key.lower() not in _NO_KEYS}
        for name, value in os.environ.items():
            if _VARIABLES.fullmatch(name.upper()) and len(value.strip()) >= _MIN_OTHER:
                known.add(value.strip())
        # The longest first: a key may be a part of another.
        parts = sorted(known, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, parts))) if parts else None

    def clean(self, text: str) -> str:
        """Return an answer's text without known keys, and without what no UTF-8 file can hold."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return (text if text.isascii() else _SURROGATES.sub("\ufffd", text)).replace("\x00", "")

    def clean_all(self, value: Any) -> Any:
        """Return parsed JSON with every text in it cleaned."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, list):
            return [self.clean_all(held) for held in value]
        if isinstance(value, dict):
            return {self.clean(str(key)): self.clean_all(held) for key, held in value.items()}
        return value

    def sentence(self, text: str, limit: int = 240) -> str:
        """Return a message as one line without keys, nor what looks like one, cut to `limit` characters."""
        line = " ".join(_LOOKS.sub(HIDDEN, self.clean(text)).split())
        return line if len(line) <= limit else f"{line[: limit - 3]}..."
