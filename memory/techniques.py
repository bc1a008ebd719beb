"""Techniques of the literature as tested edits: what `crystal_seed/playbook/*.md` holds and how it is read.

A playbook file is TOML front matter between `+++` lines, a paragraph of prose, and then either edit blocks (see
`memory.edits`) or, in the front matter, a knob with the values that are worth a trial. A technique whose edit
is a whole file is a starting point, see `memory.starts`. Nothing here trains or decides.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from memory.edits import Edit, EditError, knobs, parse_edits, set_knob
from memory.records import AXES, NetworkAxis

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

EVIDENCE = {"++": 2, "+": 1, "0": 0, "?": -1}

_FRONT_MATTER = re.compile(r"\+\+\+\n(.*?)\n\+\+\+\n(.*)", re.DOTALL)


class PlaybookError(ValueError):
    """A playbook file that cannot be used; the message names the file, the field, what it holds and the mend."""


class Knob(BaseModel):
    """A constant of `train.py` and the values that are worth a trial."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    values: tuple[bool | int | float | str, ...] = Field(min_length=1)


class Technique(BaseModel):
    """A known technique and how it goes into `train.py`.

    Attributes:
        id: Its short name, equal to the name of its file.
        title: Its name in the field's words.
        axis: What it changes, one of `memory.records.AXES`.
        family: What it is a kind of; techniques of one family are alternatives or close relatives.
        source: arXiv id, DOI or a short reference.
        expect: One sentence on what to expect.
        evidence: 2 measured on this task, 1 plausible, 0 neutral, -1 risky; `++`, `+`, `0`, `?` in a file.
        time_factor: Time of a training step relative to the seed's.
        memory_factor: Memory relative to the seed's.
        min_crystals: Training crystals below which it is known to overfit; its evidence does not count there.
        conflicts: Techniques whose edits cannot stand beside this one's; read as symmetric.
        requires: Techniques that must be applied before it.
        description: What it is and why it could help.
        edits: Edits of the seed; empty where it is a knob.
        knob: The constant and its values; None where it is edits.
        start: A whole file that takes the place of train.py; empty where it is edits or a knob.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    title: str = Field(min_length=1)
    axis: NetworkAxis
    family: str = Field(min_length=1)
    source: str = Field(min_length=1)
    expect: str = Field(min_length=1)
    evidence: int = Field(ge=-1, le=2)
    time_factor: float = Field(default=1.0, gt=0)
    memory_factor: float = Field(default=1.0, gt=0)
    min_crystals: int = Field(default=0, ge=0)
    conflicts: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    description: str = Field(min_length=1)
    edits: tuple[Edit, ...] = ()
    knob: Knob | None = None
    start: str = ""

    @field_validator("evidence", mode="before")
    @classmethod
    def _read_symbol(cls, value: object) -> object:
        return EVIDENCE.get(value, value) if isinstance(value, str) else value

    def edits_for(self, source: str, value: bool | int | float | str | None = None) -> tuple[Edit, ...]:
        """Return the edits that apply the technique to `source`.

        Args:
            source: The file as it stands; a knob's edit depends on the value it has there.
            value: The knob's value, one of its `values`; the first where None. Ignored by a technique of edits.

        Raises:
            EditError: `source` has no such knob.
        """
        if self.start:
            return (Edit(source, self.start),)
        if self.knob is None:
            return self.edits
        return (set_knob(source, self.knob.name, self.knob.values[0] if value is None else value),)

    def stands_in(self, source: str) -> bool:
        """Return whether `source` holds every line that the technique adds, or one of its knob's values.

        Raises:
            EditError: `source` does not parse.
        """
        if self.knob is not None:
            return knobs(source).get(self.knob.name) in self.knob.values
        lines = {line.strip() for line in source.split("\n")}
        if self.start:
            return {line.strip() for line in self.start.split("\n")} <= lines
        added = {line.strip() for edit in self.edits for line in edit.replace.split("\n")}
        return added - {line.strip() for edit in self.edits for line in edit.search.split("\n")} <= {*lines, ""}


def load_playbook(folder: Path, leave_out: Sequence[str] = ()) -> tuple[Technique, ...]:
    """Read every `*.md` file of a playbook folder, in the order of their names.

    Args:
        folder: `<seed folder>/playbook`; an absent folder is an empty playbook, since a seed folder may have none.
        leave_out: Ids and families of entries that are not wanted; what requires one of them is left out too.

    Raises:
        PlaybookError: A file cannot be used, or an id in `conflicts`, `requires` or `leave_out` is unknown.
    """
    if not folder.is_dir():
        return ()
    techniques = {path: load_entry(path) for path in sorted(folder.glob("*.md"))}
    known = {technique.id for technique in techniques.values()}
    conflicts: dict[str, set[str]] = {name: set() for name in known}
    for path, technique in techniques.items():
        for field in ("conflicts", "requires"):
            for other in getattr(technique, field):
                if other not in known or other == technique.id:
                    raise PlaybookError(
                        f"{path.name}: {field} names {other!r}, which is no other technique: use one of "
                        f"{', '.join(sorted(known - {technique.id})) or 'none'}"
                    )
        for other in technique.conflicts:
            conflicts[technique.id].add(other)
            conflicts[other].add(technique.id)
    wanted = _without(leave_out, techniques.values())
    return tuple(
        t.model_copy(update={"conflicts": tuple(sorted(conflicts[t.id] & wanted))})
        for t in techniques.values()
        if t.id in wanted
    )


def _without(leave_out: Sequence[str], techniques: Iterable[Technique]) -> set[str]:
    """Return the ids that are left of the techniques."""
    techniques = list(techniques)
    names = {name for t in techniques for name in (t.id, t.family)}
    if unknown := sorted(set(leave_out) - names):
        families = ", ".join(sorted({t.family for t in techniques}))
        raise PlaybookError(
            f"leave_out names {unknown[0]!r}, which is no entry of the playbook and no family; its families: {families}"
        )
    dropped = {t.id for t in techniques if {t.id, t.family} & set(leave_out)}
    while more := {t.id for t in techniques if t.id not in dropped and dropped & set(t.requires)}:
        dropped |= more
    return {t.id for t in techniques} - dropped


def load_entry(path: Path, start: str = "") -> Technique:
    """Read one file.

    Args:
        path: Front matter, prose, and edit blocks or a knob.
        start: The whole file that it stands for, where it is a starting point.

    Raises:
        PlaybookError: It cannot be used.
    """
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    match = _FRONT_MATTER.fullmatch(text)
    if match is None:
        raise PlaybookError(f"{path.name}: no front matter found: begin with '+++', TOML fields and '+++'")
    try:
        fields: dict[str, Any] = tomllib.loads(match[1])
    except tomllib.TOMLDecodeError as error:
        raise PlaybookError(f"{path.name}: the front matter is not TOML ({error}): mend that line") from error
    for reserved in ("description", "edits", "start"):
        if reserved in fields:
            raise PlaybookError(f"{path.name}: {reserved} stands in the front matter: write it below the second '+++'")
    prose = match[2].partition("<<<<<<< SEARCH\n")[0]
    try:
        edits = parse_edits(match[2][len(prose) :])
    except EditError as error:
        raise PlaybookError(f"{path.name}: edits: {error}") from error
    if edits and "knob" in fields:
        raise PlaybookError(f"{path.name}: both a knob and {len(edits)} edits: keep one, or make two files")
    if start and (edits or "knob" in fields):
        raise PlaybookError(f"{path.name}: a starting point is a whole file: leave out its edits and its knob")
    if not edits and "knob" not in fields and not start:
        raise PlaybookError(f"{path.name}: no edits found: add a SEARCH/REPLACE block, or a [knob] table")
    try:
        technique = Technique(**fields, description=" ".join(prose.split()), edits=edits, start=start)
    except ValidationError as error:
        raise PlaybookError(f"{path.name}: {_first(error)}") from error
    if technique.id != path.stem:
        # One file, one id: this is also what makes ids unique.
        raise PlaybookError(f"{path.name}: id is {technique.id!r}: name the file {technique.id}.md, or mend the id")
    return technique


def _first(error: ValidationError) -> str:
    """Return the first fault of a validation in one line: field, what was found, what is allowed."""
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{field} is missing: add it to the front matter"
    if fault["type"] == "extra_forbidden":
        return f"{field} is no field of a technique: use {', '.join(Technique.model_fields)}"
    if field == "axis":
        known = ", ".join(f"{axis} {title}" for axis, title in AXES.items())
        return f"axis is {fault['input']!r}: use one of {known}"
    if field == "evidence":
        return f"evidence is {fault['input']!r}: use one of {', '.join(EVIDENCE)}"
    return f"{field} is {fault['input']!r}: {fault['msg']}"
