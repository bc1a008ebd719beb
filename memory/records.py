"""What is remembered of a run: ideas, the trials that tried them, and decisions, as frozen records.

The journal stores these records one a line. Everything else that the team knows is derived from them.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from evaluation_locked.scorer import Score

Mode = Literal["baseline", "explore", "refine", "combine", "ablate", "simplify", "replicate"]
NetworkAxis = Literal["A1", "A2", "A3", "A4", "A5", "A6"]
Axis = Literal[NetworkAxis, "-"]
Outcome = Literal["kept", "discarded", "near-miss", "replicate", "crashed", "rejected", "set-aside"]

AXES: dict[str, str] = {
    "A1": "connectivity",
    "A2": "geometry and angles",
    "A3": "features",
    "A4": "architecture",
    "A5": "readout",
    "A6": "optimisation",
}


class Record(BaseModel):
    """Frozen, with no field beside those declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Idea(Record):
    """One change to one parent, as it was proposed.

    Attributes:
        number: The trial that tries it; also its node in the idea graph.
        mode: What the strategist wanted.
        axis: The part of the network it changes, `-` for a baseline or a replicate.
        title: A few words.
        hypothesis: What changes, and why it should help.
        techniques: Ids of the known techniques that it adds.
        removed: Ids of the techniques that it takes out (ablate, simplify).
        knobs: Top-level constants that it sets.
        source: Where the technique comes from; `own` where the team made it up.
        parent: Trial whose train.py it edits; None for the baseline.
        also_from: Further trials whose changes it joins (combine), or that it repeats (replicate: the same as parent).
        proposed_by: The role that proposed it, such as `offline scout`.
        why: The strategist's reason for mode, parent and axis.
    """

    number: int = Field(ge=0)
    mode: Mode
    axis: Axis
    title: str
    hypothesis: str = ""
    techniques: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    knobs: dict[str, Any] = {}
    source: str = "own"
    parent: int | None = None
    also_from: tuple[int, ...] = ()
    proposed_by: str = ""
    why: str = ""

    @property
    def slug(self) -> str:
        """The title as a folder name of at most 40 characters."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")[:40].rstrip("-") or "idea"

    @property
    def text(self) -> str:
        """What the idea memory embeds: everything said of the idea, in one paragraph."""
        knobs = ", ".join(f"{name} = {value}" for name, value in self.knobs.items())
        without = f"without {', '.join(self.removed)}" if self.removed else ""
        return ". ".join(
            part for part in (self.title, " ".join(self.techniques), knobs, without, self.hypothesis) if part
        )


class Verdict(Record):
    """What the reviewer says of a change before it is paid for.

    Attributes:
        kind: `approve`, `revise` (the coder may mend it), or `reject`.
        reasons: One sentence each; empty for a plain approval.
        repeat_of: The earlier trial that the change repeats, if it does.
    """

    kind: Literal["approve", "revise", "reject"]
    reasons: tuple[str, ...] = ()
    repeat_of: int | None = None


class Crowding(Record):
    """How near an idea is to what was tried; each view from 0 (alone) to 1 (a duplicate), None where not measured.

    Attributes:
        text, code, behaviour: The three views, see `memory.crowding`.
        nearest: Trials nearest by code, then by text; `run/number` of another run that shares the memory.
        behaves_like: Trials nearest by behaviour.
    """

    text: float | None = None
    code: float | None = None
    behaviour: float | None = None
    nearest: tuple[int | str, ...] = ()
    behaves_like: tuple[int, ...] = ()


class TrialRecord(Record):
    """One trial whatever became of it; the journal's main line.

    Attributes:
        outcome: As decided at its end; a later `DecisionRecord` overrides it.
        reason: Why, in one sentence with figures.
        status: How the trial itself ended (see `evaluation_locked.trial`), or `not run`.
        code_sha: sha256 of train.py; equal for replicates.
        meaning_sha: sha256 of train.py without comments, docstrings and layout; equal files train alike.
        code_lines: Lines of train.py without comments, docstrings and blank lines: what `simpler` means.
        diff: Unified diff from the parent's train.py.
        seed: Random seed of the training.
        champion: The champion it was compared with, by number.
        gain, gain_low, gain_high, z: Against that champion; positive is better; seed noise is in the interval.
        overhead_seconds: Of the round, all but smoke trial and trial.
        stand_ins: One sentence for each turn that the offline team took because a model did not, and why.
        started_at: UTC, ISO 8601.
    """

    kind: Literal["trial"] = "trial"
    number: int
    idea: Idea
    outcome: Outcome
    reason: str
    status: str = "not run"
    code_sha: str = ""
    meaning_sha: str = ""
    code_lines: int = 0
    diff: str = ""
    seed: int = 0
    verdict: Verdict | None = None
    score: Score | None = None
    champion: int | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    z: float | None = None
    crowding: Crowding = Crowding()
    featurise_seconds: float = 0.0
    train_seconds: float = 0.0
    predict_seconds: float = 0.0
    smoke_seconds: float = 0.0
    overhead_seconds: float = 0.0
    peak_memory_gib: float = 0.0
    stand_ins: tuple[str, ...] = ()
    started_at: str = ""


class DecisionRecord(Record):
    """A later word on an earlier trial: a near miss that was replicated, then kept or discarded."""

    kind: Literal["decision"] = "decision"
    trial: int
    outcome: Outcome
    reason: str
    gain: float
    gain_low: float
    gain_high: float
    z: float
    n_challenger: int
    n_champion: int


Entry = TrialRecord | DecisionRecord
