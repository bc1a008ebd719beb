"""The submission folder: what MatBench's maintainers ask for, and all that is needed to make it again.

submission/   results.json.gz   every fold's predictions, as MatBench's benchmark records them
              info.json         authors, algorithm, notes, requirements
              remake.py         trains the files below on all folds again and writes results.json.gz anew
              plan.json         what remake.py reads: task, caps, recipe, seed
              files/0007.py     each train.py that is trained
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation_locked.official import NotOfficialError, OfficialScore, n_folds_of
from evaluation_locked.scorer import ScoringError
from evaluation_locked.seed_folder import METRIC_FILE
from evaluation_locked.submission import FoldFile, write_results
from evaluation_locked.task import Strict, TaskSpec
from graph.evaluation import Bench, place_of
from graph.folds import evaluate_folds
from graph.recipe import Recipe
from graph.run_folder import versions, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graph.run_folder import RunFolder

REMAKE = '''"""Trains the files of this folder on every official fold again, and writes results.json.gz anew.

    python remake.py [SOURCE]    # such as matbench:{task} (the default, downloaded once), or table:FILE.npz

It needs the package crystal-research-team {version} and matbench. Trainings are held in its sandbox and end by the
clock, so another machine gives other figures; a fold that is done is not trained again. Its work lies in remade/.
"""

import sys
from pathlib import Path

from graph.submission import remake

if __name__ == "__main__":
    for line in remake(Path(__file__).parent, *sys.argv[1:2]):
        print(line, flush=True)
'''


class Plan(Strict):
    """What a submission was made of.

    Attributes:
        task: MatBench's name of it.
        spec: Our task, its caps those of a training.
        recipe: What was trained.
        seed: Of the first member.
        n_threads: CPU threads of a training.
        about: Of the algorithm, as it stands in the results.
    """

    task: str
    spec: TaskSpec
    recipe: Recipe
    seed: int
    n_threads: int
    about: dict[str, Any]


def submission_folder(folder: RunFolder, recipe: Recipe, champion: int | None) -> Path:
    """Return where the submission of a recipe goes: `submission/` for the champion, a folder of its own for others."""
    if not recipe.single:
        return folder.path / "submission-ensemble"
    number = recipe.members[0].trial
    return folder.path / ("submission" if number == champion else f"submission-trial-{number}")


def write_submission(
    folder: Path, bench: Bench, recipe: Recipe, seed: int, scores: Sequence[OfficialScore], name: str, authors: str
) -> dict[str, float]:
    """Write a submission folder from scored folds, checked by MatBench's own loader.

    Args:
        folder: Where it goes; what lay there is replaced.
        bench: The bench that the scores are of.
        recipe: What was trained.
        seed: With which seed.
        scores: One for each fold, all of that seed.
        name: What the algorithm is called.
        authors: For `info.json`.

    Returns:
        The mean of every figure over folds, as MatBench computes it.

    Raises:
        ScoringError: See `evaluation_locked.submission.write_results`.
    """
    task, seconds = scores[0].task, scores[0].look.subject.train_seconds
    looks = max(score.look.number for score in scores)
    notes = (
        f"{recipe.name} of a search by crystal-research-team {versions().get('crystal-research-team', '')}, chosen on "
        f"rows that are training rows of fold {bench.spec.split.fold}; {seconds:g} s of training on each fold"
        f"{' in all' if not recipe.single else ''}, seed {seed}; {looks} looks at official test folds were taken."
    )
    about: dict[str, Any] = {"algorithm": name, "algorithm_long": recipe.name, "notes": notes, "authors": authors}
    plan = Plan(task=task, spec=bench.spec, recipe=recipe, seed=seed, n_threads=bench.n_threads, about=about)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    for member in recipe.members:
        write_atomically(folder / "files" / f"{member.trial:04d}.py", bench.files[member.trial])
    if bench.metric_file is not None:
        shutil.copyfile(bench.metric_file, folder / METRIC_FILE)
    write_atomically(folder / "plan.json", plan.model_dump_json(indent=1) + "\n")
    version = versions().get("crystal-research-team", "")
    write_atomically(folder / "remake.py", REMAKE.format(task=task, version=version))
    requirements = [f"{package}=={found}" for package, found in versions().items() if package != "python"]
    info = about | {"bibtex_refs": "", "requirements": {"python": requirements}}
    write_atomically(folder / "info.json", json.dumps(info, indent=1) + "\n")
    return write_results(folder / "results.json.gz", bench.rows(0), _files(bench, scores), about)


def remake(folder: Path, source: str | None = None) -> list[str]:
    """Train every fold of a submission folder again and write its results anew; return what to print.

    Raises:
        ScoringError: A fold did not come to a score; what did is kept for the next call.
        NotOfficialError, DataError: The source is not the official task.
    """
    plan = Plan.model_validate_json((folder / "plan.json").read_text(encoding="utf-8"))
    files = {m.trial: (folder / "files" / f"{m.trial:04d}.py").read_text(encoding="utf-8") for m in plan.recipe.members}
    source = source or f"matbench:{plan.task}"
    bench = Bench(
        base=folder / "remade",
        files=files,
        spec=plan.spec.model_copy(update={"source": source}),
        data_hash="",
        cache=folder / "remade" / "cache",
        n_threads=plan.n_threads,
        metric_file=folder / METRIC_FILE if plan.spec.own_metric is not None else None,
    )
    folds = range(n_folds_of(bench.rows(0)))
    results = list(evaluate_folds(bench, plan.recipe, folds, [plan.seed]))
    if trouble := [f"fold {r.fold}: {r.trouble}" for r in results if r.score is None]:
        raise ScoringError("; ".join(trouble))
    scores = sorted((r.score for r in results if r.score is not None), key=lambda score: score.fold)
    if scores[0].task != plan.task:
        raise NotOfficialError(f"{source} is {scores[0].task}, and {plan.task} is due")
    means = write_results(folder / "results.json.gz", bench.rows(0), _files(bench, scores), plan.about)
    return [
        *(f"fold {s.fold}: {s.metric} {s.value:.4f} [{s.low:.4f}, {s.high:.4f}]" for s in scores),
        f"means as MatBench loads them: {', '.join(f'{k} {v:.4f}' for k, v in means.items())}",
    ]


def _files(bench: Bench, scores: Sequence[OfficialScore]) -> tuple[FoldFile, ...]:
    return tuple(
        FoldFile(
            fold=score.fold,
            predictions=str(place_of(bench.base, score.look.subject) / "predictions.npy"),
            subject=score.look.subject,
            recorder=score.recorder,
        )
        for score in scores
    )
