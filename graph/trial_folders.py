"""Where the trials of a run lie: `trials/0007-<slug>`, and from the thousandth on a thousand to a shelf.

Trial 41,234 lies in `trials/41xxx/41234-<slug>`, so that no folder holds more than a thousand trials and the shelves.
Folders that an earlier version put beside each other are found where they are.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHELF_SIZE = 1_000
_NAME = re.compile(r"(\d{4,})-.*")


class TrialFolders:
    """The folders of trials by number; what was found once is looked for again only where it is gone.

    Args:
        place: `runs/<name>/trials`, which need not exist yet.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._known: dict[int, Path] = {}
        self._whole: set[Path] = set()  # shelves that were read, and to which nobody adds but `make`

    def find(self, number: int) -> Path | None:
        """Return the folder of trial `number`, None where there is none."""
        known = self._known.get(number)
        if known is None and self._shelf(number) in self._whole:
            return None
        if known is None or not known.is_dir():
            self._read(number)
            known = self._known.get(number)
        return known

    def make(self, number: int, slug: str) -> Path:
        """Make a trial's folder, or return the one that an interrupted round made; one of another slug goes.

        The caller is the run's only writer.
        """
        shelf = self._shelf(number)
        if shelf not in self._whole:
            self._read(number)
            self._whole.add(shelf)
        folder, known = shelf / f"{number:04d}-{slug}", self._known.get(number)
        if known is not None and known.name == folder.name and known.is_dir():
            return known
        if known is not None:  # the interrupted round had another idea for this number
            for other in known.parent.glob(f"{number:04d}-*"):
                shutil.rmtree(other)
        folder.mkdir(parents=True, exist_ok=True)
        self._known[number] = folder
        return folder

    def all(self) -> Iterator[tuple[int, Path]]:
        """Yield every trial that has a folder, with it, in no order."""
        for shelf in (self._place, *self._place.glob("[0-9]*xxx")):
            yield from _trials_in(shelf)

    def newest(self) -> tuple[int, Path] | None:
        """Return the trial of the highest number that has a folder, None where none has."""
        shelves = sorted(self._place.glob("[0-9]*xxx"), key=lambda path: int(path.name[:-3]))
        for shelf in (*reversed(shelves), self._place):
            if found := max(_trials_in(shelf), default=None):
                return found
        return None

    def _shelf(self, number: int) -> Path:
        return self._place if number < SHELF_SIZE else self._place / f"{number // SHELF_SIZE}xxx"

    def _read(self, number: int) -> None:
        """Read the shelf of trial `number`, and the folder that earlier versions put all in."""
        self._known.pop(number, None)
        for shelf in dict.fromkeys((self._place, self._shelf(number))):
            for held, path in sorted(_trials_in(shelf), reverse=True):
                self._known[held] = path


def _trials_in(shelf: Path) -> Iterator[tuple[int, Path]]:
    try:
        names = [entry.name for entry in shelf.iterdir()]
    except OSError:
        return
    for name in names:
        if match := _NAME.fullmatch(name):
            yield int(match[1]), shelf / name
