"""A run in figures: what `team run` ends with, and what `team status` prints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluation_locked.baselines import load_baselines
from evaluation_locked.dataset import DataError
from evaluation_locked.keep_rule import FALSE_KEEP_RATE
from evaluation_locked.prepare import load_facts
from graph.judging import champion_against_seed, seed_noise
from graph.run_folder import read_history
from memory.person import PersonLog
from memory.records import Idea
from team.model.settings import ROLES
from team.model.spend import SpendTotals, read_spend

if TYPE_CHECKING:
    from graph.run_folder import RunFolder
    from memory.history import History
    from memory.records import TrialRecord


@dataclass(frozen=True)
class Summary:
    """What a person wants to know of a run, in the unit of its metric where one is due.

    Attributes:
        baselines: MatBench task whose published figures are shown where the source is that task.
        trained: Trials that were paid for; the sum of kept, discarded, near misses, replicates, crashed, set aside.
        outcomes: Trials by outcome.
        gain: Champion over seed, all replicates averaged; its interval holds crystal and seed noise.
        seed_noise: Standard deviation of a score between seeds.
        expected_false_keeps: Keeps that noise alone would have made, given the keep rule and the decisions taken.
        overhead_seconds: Median of a round's time beside its trials.
        models: The model of each role, empty for the offline team.
        spend: What models used, by role and in `all`.
        stand_ins: Turns that the offline team took because a model did not.
        stopped: Why the run stopped; empty while it runs or after an interruption.
        waiting: Title of the idea whose change waits for a person's answer; empty where nothing waits.
        waiting_trial: Its trial.
    """

    name: str
    path: str
    task: str
    unit: str
    metric: str
    source: str
    baselines: str
    provenance: str
    seal: str
    sealed: bool
    trials_planned: int
    trained: int
    rejected: int
    outcomes: dict[str, int]
    n_validation: int
    mean_predictor: float | None
    seed_score: float | None
    champion: int | None
    champion_title: str
    champion_score: float | None
    champion_low: float | None
    champion_high: float | None
    champion_trainings: int
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    gain_z: float | None
    seed_noise: float | None
    expected_false_keeps: float
    overhead_seconds: float | None
    stopped: str
    waiting: str = ""
    waiting_trial: int | None = None
    models: dict[str, str] = field(default_factory=dict)
    spend: dict[str, SpendTotals] = field(default_factory=dict)
    stand_ins: int = 0


def summarise(folder: RunFolder, stopped: str = "") -> Summary:
    """Gather the summary of a run from its journal and its predictions.

    Raises:
        RunError, JournalError: There is no such run, or its journal is damaged.
    """
    config = folder.read_config()
    history = read_history(folder)
    try:
        facts = load_facts(folder.locked)
    except DataError:
        facts = None
    champion = history.champion
    keeps = history.keeps
    against = champion_against_seed(folder, history) if champion is not None else None
    trials = list(history.trials.values())
    outcomes: dict[str, int] = {}
    for trial in trials:
        outcome = history.outcome(trial.number)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    trained = [trial for trial in trials if trial.status != "not run"]
    decided = sum(trial.gain is not None for trial in trials)
    question = PersonLog(folder.person).read().open_question(history.trials)
    overheads = sorted(trial.overhead_seconds for trial in trained)
    return Summary(
        name=folder.name,
        path=str(folder.path),
        task=config.task.title,
        unit=config.task.unit if config.task.score_metric.has_unit else "",
        metric=config.task.metric,
        source=config.task.source,
        baselines=config.task.baselines,
        provenance=facts.provenance if facts else "",
        seal=facts.seal if facts else "",
        sealed=all(trial.score.sealed for trial in trials if trial.score is not None),
        trials_planned=config.trials,
        trained=len(trained),
        rejected=len(trials) - len(trained),
        outcomes=outcomes,
        n_validation=facts.n_validation if facts else 0,
        mean_predictor=facts.mean_predictor if facts else None,
        seed_score=history.mean_score(keeps[0]) if keeps else None,
        champion=champion.number if champion else None,
        champion_title=champion.idea.title if champion else "",
        champion_score=history.mean_score(champion.number) if champion else None,
        champion_low=_around(history, champion, "low"),
        champion_high=_around(history, champion, "high"),
        champion_trainings=len(history.replicates_of(champion.number)) if champion else 0,
        gain=against.gain if against else None,
        gain_low=against.low if against else None,
        gain_high=against.high if against else None,
        gain_z=against.z if against else None,
        seed_noise=seed_noise(history) if champion else None,
        expected_false_keeps=round(decided * FALSE_KEEP_RATE, 2),
        overhead_seconds=overheads[len(overheads) // 2] if overheads else None,
        stopped=stopped,
        waiting=_title(folder, question.trial) if question is not None else "",
        waiting_trial=question.trial if question is not None else None,
        models=config.models,
        spend=_read_spend(folder),
        stand_ins=sum(len(trial.stand_ins) for trial in trials),
    )


def _title(folder: RunFolder, number: int) -> str:
    """Return what a trial that is not recorded yet tries."""
    return Idea.model_validate_json((folder.trial(number) / "idea.json").read_text(encoding="utf-8")).title


def count_trials(trained: int, planned: int) -> str:
    """Return how many of the planned trials are done; a resumed run may plan fewer than it has."""
    return f"{trained} of {planned}" if trained <= planned else f"{trained} ({planned} were asked for)"


def _around(history: History, champion: TrialRecord | None, end: Literal["low", "high"]) -> float | None:
    """Return an end of the champion's interval over crystals, moved to the mean of its trainings."""
    if champion is None or champion.score is None:
        return None
    return (history.mean_score(champion.number) or 0.0) + getattr(champion.score, end) - champion.score.value


def print_summary(summary: Summary, *, as_json: bool) -> None:
    """Print the summary for people, or as one JSON object."""
    if as_json:
        spend = {role: totals.model_dump() | {"tokens": totals.tokens} for role, totals in summary.spend.items()}
        print(json.dumps(asdict(summary) | {"spend": spend}, indent=1))
        return
    console = open_console()
    console.print()
    console.print(f"[bold]{escape(summary.name)}[/bold]  {escape(summary.task)}; {escape(summary.provenance)}")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    if console.is_terminal:
        for label, text in _lines(summary):
            table.add_row(f"  {label}", text)
        console.print(table)
        return
    for label, text in _lines(summary):
        console.print(f"  [dim]{label:<14}[/dim]{text}")


def open_console() -> Console:
    """Return a console that breaks lines at words in a terminal, and not at all in a pipe."""
    console = Console(highlight=False)
    console.soft_wrap = not console.is_terminal
    return console


def _lines(s: Summary) -> list[tuple[str, str]]:
    unit = f" {s.unit}" if s.unit else ""
    counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(s.outcomes.items()))
    lines = [("trials", count_trials(s.trained, s.trials_planned) + (f": {counts}" if counts else ""))]
    if s.champion is not None and s.champion_score is not None:
        mean_of = f", mean of {s.champion_trainings} trainings" if s.champion_trainings > 1 else ""
        lines.append(
            (
                "champion",
                f"[bold green]{s.metric} {s.champion_score:.4f}{unit}[/bold green] [{s.champion_low:.4f}, "
                f"{s.champion_high:.4f}]{mean_of}: trial {s.champion}, {escape(s.champion_title)}",
            )
        )
        lines.append(("seed", f"{s.metric} {s.seed_score:.4f}{unit}; the mean predictor has {s.mean_predictor:.4f}"))
    if s.gain is not None and s.gain_low is not None:
        beyond = "beyond noise" if s.gain_low > 0 else "not beyond noise"
        lines.append(
            (
                "gain",
                f"{s.gain:+.4f}{unit} over the seed [{s.gain_low:+.4f}, {s.gain_high:+.4f}], "
                f"{s.gain_z:.1f} standard errors, {beyond} (on the rows that chose it)",
            )
        )
    elif s.champion is not None:
        lines.append(("gain", "the seed is still the champion"))
    if s.seed_noise is not None:
        lines.append(
            (
                "noise",
                f"{s.seed_noise:.4f}{unit} between seeds; {s.expected_false_keeps:g} keeps expected from noise alone; "
                f"judged on {s.n_validation:,} search-validation crystals, not the official test folds",
            )
        )
    lines += [("models", text) for text in _spent(s)]
    lines += [("published", text) for text in _published(s)]
    if not s.sealed:
        lines.append(("sandbox", "[red]off or too thin (`team doctor`): some of these scores are unsealed[/red]"))
    best = f"{s.path}/champion/train.py, " if s.champion is not None else ""
    lines.append(("files", f"{best}{s.path}/journal.jsonl, {s.path}/ideas.graphml"))
    if s.waiting_trial is not None:
        lines.append(
            (
                "waits",
                f"for your answer on trial {s.waiting_trial}, {escape(s.waiting)}: `team approve {s.name} --show`, "
                f"then `team approve`, `team reject --why` or `team revise --why`, then `team resume {s.name}`",
            )
        )
    elif s.stopped:
        lines.append(("stopped", f"{s.stopped}; `team graph {s.name}` shows what was tried"))
    elif s.trained < s.trials_planned:
        lines.append(("go on", f"team resume {s.name}"))
    else:
        lines.append(("go on", f"team resume {s.name} --trials {2 * max(s.trained, s.trials_planned)}"))
    return lines


def _spent(s: Summary) -> list[str]:
    """Return a line for each role that a model plays, and one for all."""
    lines = []
    for role, used in s.spend.items():
        cost = f", {used.usd:.4f} USD" if used.usd or not used.unpriced_tokens else ""
        cached = f" ({used.cached_tokens:,} cached)" if used.cached_tokens else ""
        who = s.models.get(role, "")
        name = f"{role} {escape(who)}" if who else role
        lines.append(
            f"{name}: {used.calls} calls, {used.prompt_tokens:,}{cached} + {used.completion_tokens:,} tokens{cost}"
        )
    if s.stand_ins:
        lines.append(f"the offline team took {s.stand_ins} turns; the journal says why")
    return lines


def _read_spend(folder: RunFolder) -> dict[str, SpendTotals]:
    found: dict[str, SpendTotals] = {}
    for line in read_spend(folder.path):
        for name in (line.role, "all"):
            found[name] = found.get(name, SpendTotals()).plus(line)
    return {name: found[name] for name in (*ROLES, "all") if name in found}


def _published(s: Summary) -> list[str]:
    """Return the published figures of the task, where the crystals are that task's."""
    rows = load_baselines(s.baselines) if s.baselines and s.baselines in s.source else ()
    wanted = [row for row in rows if row.official and not row.pretrained]
    if not wanted:
        return []
    best = ", ".join(f"{row.name} {row.mae:.4f}" for row in wanted[:3])
    return [f"{best} eV on the official folds with all training rows: another split, another budget"]
