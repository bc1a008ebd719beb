"""A run as data frames, graph and figures, for a notebook and for whatever draws a run.

It reads the journal and files of trials, takes no lock, and writes nothing: a run at work can be opened, and `refresh`
takes in what was recorded since. Labels that judge are never opened here; residuals are (prediction minus label).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph.errors import RunError
from graph.run_folder import RunFolder
from memory.history import History
from memory.journal import Journal
from memory.records import Idea, TrialRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    import networkx as nx
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from graph.run_folder import RunConfig
    from team.summary import Summary

INTEGERS = {"number", "parent", "against", "n", "trainings", "code_lines"}
FLOATS = {"score", "low", "high", "mean_score", "gain", "gain_low", "gain_high", "z"} | {
    *("crowding_text", "crowding_code", "crowding_behaviour"),
    *("seconds", "featurise_seconds", "train_seconds", "predict_seconds", "smoke_seconds", "overhead_seconds"),
    "memory_gib",
}


class OpenRun:
    """A run that somebody looks at.

    Attributes:
        folder: Where it lies.
        config: What was settled when it began.
        history: What its journal said at the last look.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.config: RunConfig = folder.read_config()
        self.history = History()
        self._reader = Journal(folder.journal).reader()
        self.refresh()

    @classmethod
    def open(cls, name: str | Path | None, runs: str | Path = "runs") -> OpenRun:
        """Open a run by its name, by the path of its folder, or the one written to last; see `team.open_run`."""
        from team.running import find_run

        return cls(find_run(Path(runs), None if name is None else str(name)))

    def refresh(self) -> OpenRun:
        """Take in what was recorded since the last look, and return the run itself.

        Raises:
            JournalError: The journal is damaged.
        """
        if self.folder.journal.exists() and self.folder.journal.stat().st_size < self._reader.offset:
            self._reader, self.history = Journal(self.folder.journal).reader(), History()
        for entry in self._reader.read_new():
            self.history.add(entry)
        for derived in ("trials", "ideas", "graph"):
            self.__dict__.pop(derived, None)
        return self

    def __repr__(self) -> str:
        return f"<run {self.name}: {len(self.history.trials)} trials, {self.config.task.title}>"

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def champion(self) -> TrialRecord | None:
        """The best trial so far, None before the first keep."""
        return self.history.champion

    @property
    def summary(self) -> Summary:
        """What `team status` prints: champion beside seed with its interval, noise, counts; computed at each call."""
        from team.summary import summarise

        return summarise(self.folder)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial, in the order recorded, indexed by its number.

        Scores are in the unit of the task's metric, on search-validation. `outcome`, `reason`, `gain` with its interval
        and `z` are by the latest decision; a gain is over the trial `against`, and positive is better. `mean_score` is
        the mean over `trainings` of the same code. `seconds` are those of the trial itself, all three phases. What is
        not known is missing (NaN, NA, NaT). `techniques`, `removed`, `also_from` and `nearest` hold tuples, `knobs`
        dicts.
        """
        return _frame(trial_fields, self.history, list(self.history.trials.values()))

    @cached_property
    def ideas(self) -> pd.DataFrame:
        """One row an idea: trials without the seed and without trials that only repeat another; indexed by number.

        It holds what was said of the idea (hypothesis, why, the reviewer's reasons) and what became of it.
        """
        ideas = [t for t in self.history.trials.values() if t.idea.mode not in ("baseline", "replicate")]
        return _frame(idea_fields, self.history, ideas)

    @cached_property
    def graph(self) -> nx.DiGraph:
        """The idea graph: nodes are trial numbers, see `memory.idea_graph.idea_graph`."""
        from memory.idea_graph import idea_graph

        return idea_graph(self.history)

    def progress_figure(self) -> Figure:
        """Return a matplotlib figure: each trial's score with its interval, and the champion's as it moved."""
        from team.graph_view.picture import progress_picture

        return progress_picture(self.history, self.config)

    def graph_figure(self) -> Figure:
        """Return a matplotlib figure of the idea graph, a row a trial."""
        from team.graph_view.picture import graph_picture

        return graph_picture(self.history, self.config)

    def residuals(self, number: int) -> np.ndarray:
        """Return prediction minus label of a trial on the search-validation rows, [n] float32, in the target's unit.

        Raises:
            RunError: There is no such trial, or it did not finish.
        """
        return self._array(number, "residuals.npy")

    def predictions(self, number: int) -> np.ndarray:
        """Return the predictions of a trial on the search-validation rows, [n] float64, in the target's unit.

        Raises:
            RunError: There is no such trial, or it did not finish.
        """
        return self._array(number, "predictions.npy")

    def _array(self, number: int, name: str) -> np.ndarray:
        import numpy as np

        path = self.folder.trial(number) / name
        if not path.exists():
            raise RunError(f"trial {number} of run {self.name} left no {name}: it did not finish")
        values: np.ndarray = np.load(path, allow_pickle=False)
        return values


def trial_fields(history: History, trial: TrialRecord) -> dict[str, Any]:
    """Return one trial as flat fields, None where something is not known; see `OpenRun.trials`.

    Raises:
        KeyError: The trial is not recorded in `history`.
    """
    number, idea, score = trial.number, trial.idea, trial.score
    judged = history.decisions.get(number, trial)
    champion = history.champion
    return {
        "number": number,
        "parent": idea.parent,
        "also_from": idea.also_from,
        "mode": idea.mode,
        "axis": idea.axis,
        "title": idea.title,
        "techniques": idea.techniques,
        "removed": idea.removed,
        "knobs": idea.knobs,
        "outcome": history.outcome(number),
        "reason": history.reason(number),
        "champion": champion is not None and champion.number == number,
        "score": None if score is None else score.value,
        "low": None if score is None else score.low,
        "high": None if score is None else score.high,
        "n": None if score is None else score.n,
        "mean_score": history.mean_score(number),
        "trainings": len(history.replicates_of(number)),
        "against": trial.champion,
        "gain": judged.gain,
        "gain_low": judged.gain_low,
        "gain_high": judged.gain_high,
        "z": judged.z,
        "crowding_text": trial.crowding.text,
        "crowding_code": trial.crowding.code,
        "crowding_behaviour": trial.crowding.behaviour,
        "nearest": trial.crowding.nearest,
        "status": trial.status,
        "verdict": None if trial.verdict is None else trial.verdict.kind,
        "seconds": trial.featurise_seconds + trial.train_seconds + trial.predict_seconds,
        "featurise_seconds": trial.featurise_seconds,
        "train_seconds": trial.train_seconds,
        "predict_seconds": trial.predict_seconds,
        "smoke_seconds": trial.smoke_seconds,
        "overhead_seconds": trial.overhead_seconds,
        "memory_gib": trial.peak_memory_gib,
        "code_lines": trial.code_lines or None,
        "started_at": trial.started_at or None,
        "source": idea.source,
        "proposed_by": idea.proposed_by,
    }


def idea_fields(history: History, trial: TrialRecord) -> dict[str, Any]:
    """Return one idea as flat fields: what was said of it, and what became of it; see `OpenRun.ideas`.

    Raises:
        KeyError: The trial is not recorded in `history`.
    """
    idea = trial.idea
    known = trial_fields(history, trial)
    said = {
        "hypothesis": idea.hypothesis,
        "why": idea.why,
        "review": "; ".join(trial.verdict.reasons) if trial.verdict is not None else "",
    }
    first = ("number", "parent", "mode", "axis", "title", "techniques", "removed", "knobs", "source", "proposed_by")
    last = (
        *("verdict", "outcome", "reason", "mean_score", "trainings", "gain", "gain_low", "gain_high", "z"),
        *("crowding_text", "crowding_code", "crowding_behaviour", "nearest"),
    )
    return {name: known[name] for name in first} | said | {name: known[name] for name in last}


def _frame(
    fields: Callable[[History, TrialRecord], dict[str, Any]], history: History, trials: list[TrialRecord]
) -> pd.DataFrame:
    """Return trials as a frame whose columns and dtypes hang on no value in it, so that an empty run has them too."""
    import pandas as pd

    blank = TrialRecord(
        number=0, idea=Idea(number=0, mode="baseline", axis="-", title=""), outcome="crashed", reason=""
    )
    rows = [fields(history, trial) for trial in trials]
    numbers = pd.Index([trial.number for trial in trials], name="trial", dtype="int64")
    frame = pd.DataFrame(index=numbers)
    for name in fields(History([blank]), blank):
        values = [row[name] for row in rows]
        if name == "started_at":
            frame[name] = pd.to_datetime(pd.Series(values, index=numbers, dtype="object"), utc=True)
        else:
            kind = "Int64" if name in INTEGERS else "float64" if name in FLOATS else "object"
            frame[name] = pd.Series(values, index=numbers, dtype="bool" if name == "champion" else kind)
    return frame
