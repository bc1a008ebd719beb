"""The judge's code as it lies on this machine: what a seal holds, and what two machines must have alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import hashlib

PACKAGE = Path(__file__).parent


def add_judge_code(digest: hashlib._Hash) -> None:
    """Add every file of this package to a hash, by name and bytes, in the order of their names."""
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
