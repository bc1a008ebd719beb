"""Seed folders on the disk: where one is found, and which of its files another folder lends it.

A seed folder holds `task.toml` and, of `train.py`, `brief.md`, `playbook/` and `metric.py`, what is its own. What it
lacks comes from the folder that its `base` names: a shipped seed, or a path beside it; of a brief likewise the
sections, by their titles. It reads no label and no task beyond that one key.
"""

from __future__ import annotations

import difflib
import re
import shutil
import tomllib
from pathlib import Path

SHIPPED = Path(__file__).resolve().parent.parent / "crystal_seed"
TASKS = "tasks"  # folder of the shipped seeds beside the first
METRIC_FILE = "metric.py"
_NOT_COPIED = ("__pycache__", "*.pyc", ".*", "__init__.py", TASKS)


class SeedError(ValueError):
    """A seed folder that cannot be used; the message names the file, the value found and the mend."""


def shipped_seeds() -> dict[str, Path]:
    """Return the seed folders that are installed beside the packages, by the name that `team run` takes."""
    others = sorted(path.parent for path in (SHIPPED / TASKS).glob("*/task.toml"))
    return {SHIPPED.name: SHIPPED} | {path.name: path for path in others}


def find_seed(name: Path | str, beside: Path | None = None) -> Path:
    """Return a seed folder by its path or, where there is no such folder, by the name of a shipped seed.

    Args:
        name: What a person or the key `base` says.
        beside: Folder that a relative path starts from; the current one where None.

    Raises:
        SeedError: There is neither.
    """
    path = (beside or Path()) / Path(name).expanduser()
    if path.is_dir():
        return path
    seeds = shipped_seeds()
    if str(name) in seeds:
        return seeds[str(name)]
    close = difflib.get_close_matches(str(name), seeds, n=1)
    raise SeedError(
        f"no seed folder at {path}{f'; did you mean {close[0]!r}?' if close else ''}: give a folder with task.toml and "
        f"train.py, or the name of a shipped one ({', '.join(seeds)})"
    )


def lenders(folder: Path) -> list[Path]:
    """Return the folders that a seed is made of: itself, its base, that one's base, and so on.

    Raises:
        SeedError: A base is missing, or lends from a folder that lends from it.
    """
    chain = [folder]
    while base := _base_of(chain[-1]):
        lender = find_seed(base, chain[-1])
        if lender.resolve() in {known.resolve() for known in chain}:
            raise SeedError(f"{chain[-1] / 'task.toml'}: base is {base!r}, which lends from this folder: leave it out")
        chain.append(lender)
    return chain


def seed_file(folder: Path, name: str) -> Path | None:
    """Return the file `name` of a seed, its own or a lender's; None where no folder has it.

    A metric is not lent: it belongs to the property.

    Raises:
        SeedError: A base cannot be used.
    """
    for lender in lenders(folder)[: 1 if name == METRIC_FILE else None]:
        if (lender / name).is_file():
            return lender / name
    return None


def copy_seed(folder: Path, target: Path) -> None:
    """Write all files that a seed is made of into one folder, which then needs no other.

    Raises:
        SeedError: A base cannot be used.
    """
    chain = lenders(folder)
    for lender in reversed(chain):
        ignored = shutil.ignore_patterns(*_NOT_COPIED, *([] if lender is folder else [METRIC_FILE]))
        shutil.copytree(lender, target, dirs_exist_ok=True, ignore=ignored)
    if brief := _brief_of(chain):
        (target / "brief.md").write_text(brief, encoding="utf-8")


def _brief_of(chain: list[Path]) -> str:
    """Return the brief of a seed: its own, then the sections that it lacks and a lender has."""
    written: dict[str, str] = {}
    for lender in chain:
        if (lender / "brief.md").is_file():
            text = (lender / "brief.md").read_text(encoding="utf-8")
            head, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
            written.setdefault("", head)
            for part in parts:
                written.setdefault(part.partition("\n")[0].strip(), part)
    return "\n".join(part.rstrip() + "\n" for part in written.values())


def _base_of(folder: Path) -> str:
    """Return what `base` says in a folder's task.toml; what else is wrong there is told by who reads all of it."""
    try:
        base = tomllib.loads((folder / "task.toml").read_text(encoding="utf-8")).get("base", "")
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return ""
    return base if isinstance(base, str) else ""
