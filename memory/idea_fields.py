"""An idea as Chroma stores it: fields to filter by and fields to show, and what a search gives back of them."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memory.records import DecisionRecord, TrialRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memory.records import Entry

DECIDED = ("outcome", "reason", "gain", "gain_low", "gain_high")
FILTERS = ("run", "number", "mode", "axis", "outcome")
CHECKSUM = "crc32"
_ALL = "fields"

Key = tuple[str, int]


@dataclass(frozen=True)
class Similar:
    """Which idea says something similar.

    Attributes:
        run: That tried it, as the memory names it.
        number: Its trial there.
        similarity: Cosine of the two texts' vectors, 1 for equal texts.
        asked_by: The run whose memory was asked.
    """

    run: str
    number: int
    similarity: float
    asked_by: str = ""

    @property
    def key(self) -> Key:
        """Under which it is held."""
        return self.run, self.number

    @property
    def label(self) -> int | str:
        """The trial's number, or `run/number` of another run."""
        return self.number if self.run == self.asked_by else f"{self.run}/{self.number}"


@dataclass(frozen=True)
class Neighbour:
    """An idea that says something similar.

    Attributes:
        run: The other run that tried it; empty for the run whose memory this is.
        number: Its trial there.
        similarity: Cosine of the two texts' vectors, 1 for equal texts.
        title: Its title.
        mode: What the strategist wanted.
        axis: The part of the network that it changes.
        outcome: What became of it.
        gain: Over the champion of its time, in the unit of the metric; None where it was not compared.
        gain_low: Lower end of the gain's interval.
        gain_high: Upper end of the gain's interval.
    """

    run: str
    number: int
    similarity: float
    title: str
    mode: str
    axis: str
    outcome: str
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None

    @property
    def label(self) -> int | str:
        """The trial's number, or `run/number` of another run."""
        return f"{self.run}/{self.number}" if self.run else self.number


def neighbour(fields: Mapping[str, Any], similarity: float, run: str) -> Neighbour:
    """Return what a search gives back of an idea with these fields; `run` is the one that asks."""
    theirs = str(fields["run"])
    return Neighbour(
        run="" if theirs == run else theirs,
        number=int(fields["number"]),
        similarity=float(similarity),
        title=str(fields["title"]),
        mode=str(fields["mode"]),
        axis=str(fields["axis"]),
        outcome=str(fields["outcome"]),
        gain=fields.get("gain"),
        gain_low=fields.get("gain_low"),
        gain_high=fields.get("gain_high"),
    )


def as_decided(entries: Iterable[Entry]) -> dict[int, TrialRecord]:
    """Return the trials by number, each as the latest decision left it."""
    records: dict[int, TrialRecord] = {}
    for entry in entries:
        if isinstance(entry, DecisionRecord):
            fields = {name: getattr(entry, name) for name in DECIDED}
            records[entry.trial] = records[entry.trial].model_copy(update=fields)
        else:
            records.setdefault(entry.number, entry)
    return records


def all_fields(record: TrialRecord, run: str) -> dict[str, Any]:
    """Return what the memory holds of a trial; what is None is left out."""
    idea = record.idea
    fields = {
        "run": run,
        "number": record.number,
        "title": idea.title,
        "text": idea.text,
        "mode": idea.mode,
        "axis": idea.axis,
        "techniques": idea.techniques,
        "source": idea.source,
        "parent": idea.parent,
        "diff": record.diff or None,
        "outcome": record.outcome,
        "reason": record.reason,
        "gain": record.gain,
        "gain_low": record.gain_low,
        "gain_high": record.gain_high,
        "score": None if record.score is None else record.score.value,
        "seconds": round(record.featurise_seconds + record.train_seconds + record.predict_seconds, 3),
    }
    return {name: value for name, value in fields.items() if value is not None}


def checksum(fields: Mapping[str, Any]) -> int:
    """Return a number that tells whether what is held of a trial is what its journal says."""
    return zlib.crc32(_as_json(fields))


def to_chroma(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as Chroma stores them: those that a search filters by, and all of them, compressed.

    Chroma writes a row and two index entries for every field, and indexes every text: fifteen fields and a plain diff
    took as long as all the rest of an idea. The compressed text begins with the trial's number, so that the index of
    texts grows at its end; texts in random order had cost a sixth of the time at 40,000 ideas.
    """
    text = _as_json(fields)
    packed = base64.b64encode(zlib.compress(text, 1)).decode()
    filters = {name: fields[name] for name in FILTERS}
    return filters | {CHECKSUM: zlib.crc32(text), _ALL: f"{fields['number']:06d} {packed}"}


def from_chroma(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that `to_chroma` stored."""
    fields: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(held[_ALL].partition(" ")[2])))
    return fields


def _as_json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def chroma_id(key: Key) -> str:
    """Return the id of an idea: its run, if the memory has several, and its number."""
    return f"{key[0]}/{key[1]:06d}"
