"""Starting points: techniques whose edit is a whole file, `starts/NAME.py` of a seed folder, with `NAME.md` beside it.

It owns their reading, and what of the playbook has room in each. `NAME.md` has the front matter and the prose of any
technique. It trains nothing and chooses nothing; docs/decisions/0016 says why a start is a technique.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from memory.techniques import PlaybookError, load_entry, load_playbook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from memory.techniques import Technique

FAMILY = "start"

_CONSTANT = re.compile(r"^([A-Z][A-Z0-9_]*)(?:: [^=]+)? = ", re.MULTILINE)


def load_techniques(seed_folder: Path, leave_out: Sequence[str] = ()) -> tuple[Technique, ...]:
    """Read a seed folder's playbook and its starting points; what a start has no room for conflicts with it.

    Where train.py is one of the starts itself (`team run --start`), that start and what does not fit it are left out.

    Args:
        seed_folder: Whole, with what it takes from another.
        leave_out: Ids and families that are not wanted; `start` leaves out all starting points.

    Raises:
        PlaybookError: A file cannot be used, a start has the id of a technique, or `leave_out` names nothing.
    """
    starts = load_starts(seed_folder / "starts")
    of_starts = {FAMILY, *(start.id for start in starts)} if starts else set()
    playbook = load_playbook(seed_folder / "playbook", [name for name in leave_out if name not in of_starts])
    starts = tuple(start for start in starts if not {start.id, FAMILY} & set(leave_out))
    if twice := {start.id for start in starts} & {technique.id for technique in playbook}:
        raise PlaybookError(f"starts/{min(twice)}.md has the id of a technique of the playbook: rename it")
    if not starts:
        return playbook
    train_py = (seed_folder / "train.py").read_text(encoding="utf-8")
    constants = set(_CONSTANT.findall("\n".join([train_py, *(start.start for start in starts)])))
    if any(start.start == train_py for start in starts):
        playbook = tuple(technique for technique in playbook if _fits(technique, train_py, constants))
        starts = tuple(start for start in starts if start.start != train_py)
    excluded: dict[str, set[str]] = {technique.id: set(technique.conflicts) for technique in (*playbook, *starts)}
    for start in starts:
        others = {other.id for other in starts if other is not start}
        excluded[start.id] |= others | {t.id for t in playbook if not _fits(t, start.start, constants)}
        for other in excluded[start.id]:
            excluded[other].add(start.id)
    return tuple(t.model_copy(update={"conflicts": tuple(sorted(excluded[t.id]))}) for t in (*playbook, *starts))


def begins_anew(names: Iterable[str], techniques: Mapping[str, Technique]) -> bool:
    """Say whether one of these techniques is a starting point: a file of its own, and no edit of another."""
    return any(name in techniques and techniques[name].start for name in names)


def load_starts(folder: Path) -> tuple[Technique, ...]:
    """Read every starting point, in the order of their names: `NAME.md` says what it is, `NAME.py` is the file.

    Raises:
        PlaybookError: A file cannot be used, or one of the two is missing.
    """
    if not folder.is_dir():
        return ()
    alone = {path.stem for path in folder.glob("*.md")} ^ {path.stem for path in folder.glob("*.py")} - {"__init__"}
    if alone:
        raise PlaybookError(f"starts/{min(alone)} needs two files, {min(alone)}.md and {min(alone)}.py: add the other")
    found = [
        load_entry(path, path.with_suffix(".py").read_text(encoding="utf-8")) for path in sorted(folder.glob("*.md"))
    ]
    if strange := [start for start in found if start.family != FAMILY]:
        raise PlaybookError(
            f"starts/{strange[0].id}.md: family is {strange[0].family!r}: it is {FAMILY!r} of every start"
        )
    return tuple(found)


def _fits(technique: Technique, source: str, constants: set[str]) -> bool:
    """Say whether a technique's lines stand in a file, with every one of the known constants that its edits name."""
    if technique.knob is not None:
        return technique.knob.name in _CONSTANT.findall(source)
    lines = "\n" + "\n".join(line.rstrip() for line in source.split("\n")) + "\n"
    named = {name for edit in technique.edits for name in re.findall(r"\b[A-Z][A-Z0-9_]+\b", edit.replace)}
    return all(lines.count(f"\n{edit.search}\n") == 1 for edit in technique.edits) and not (named & constants) - set(
        _CONSTANT.findall("\n".join([source, *(edit.replace for edit in technique.edits)]))
    )
