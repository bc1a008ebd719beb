"""An idea as Chroma stores it: flat fields to filter and to show, and what a search gives back of them."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memory.records import DecisionRecord, TrialRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memory.records import Entry

DECIDED = ("outcome", "reason", "gain", "gain_low", "gain_high")
DIFF = "diff"

Key = tuple[str, int]


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
    """Return what a search gives back of an idea; `run` is the one that asks."""
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


def flat_fields(record: TrialRecord, run: str) -> dict[str, Any]:
    """Return a trial's flat fields, as Chroma stores them: without those that are None, and without the diff."""
    idea = record.idea
    fields = {
        "run": run,
        "number": record.number,
        "title": idea.title,
        "text": idea.text,
        "mode": idea.mode,
        "axis": idea.axis,
        "techniques": " ".join(idea.techniques),
        "source": idea.source,
        "parent": idea.parent,
        "outcome": record.outcome,
        "reason": record.reason,
        "gain": record.gain,
        "gain_low": record.gain_low,
        "gain_high": record.gain_high,
        "score": None if record.score is None else record.score.value,
        "seconds": round(record.featurise_seconds + record.train_seconds + record.predict_seconds, 3),
    }
    return {name: value for name, value in fields.items() if value is not None}


def pack(diff: str) -> str:
    """Return a diff as Chroma stores it: compressed, since Chroma indexes every text that it is given."""
    return base64.b85encode(zlib.compress(diff.encode(), 1)).decode()


def unpack(packed: str) -> str:
    """Return the diff that `pack` compressed."""
    return zlib.decompress(base64.b85decode(packed)).decode()


def chroma_id(key: Key) -> str:
    """Return the id of an idea: its run, if the memory has several, and its number."""
    return f"{key[0]}/{key[1]:06d}"
