"""What stands behind approve, reject, revise, steer and ideas: what is checked before it is written, and what is shown.

All of it works beside a run that is at work: it reads the journal, and writes to the person's log alone.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, get_args

from rich.markup import escape

from graph.errors import RunError
from graph.run_folder import read_history
from memory.edits import EditError, apply_edits, knobs, parse_edits, set_knob
from memory.history import History
from memory.person import MAX_FILE_BYTES, OwnIdea, PersonError, PersonLog, plain
from memory.records import AXES, NetworkAxis
from team.asking import show_question
from team.offline.wishes import nearest_techniques, understand
from team.summary import open_console

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from graph.run_folder import RunFolder
    from memory.person import Conversation, Kept, Question, Word
    from memory.records import Axis
    from memory.techniques import Technique

DONE: dict[str, str] = {"approve": "approved", "reject": "rejected", "revise": "handed back to the coder"}
Applied = TypeVar("Applied")
Knobs = dict[str, bool | int | float | str]


@dataclass(frozen=True)
class IdeaOptions:
    """What the command line says of an idea; see `memory.person.OwnIdea`."""

    title: str
    axis: str | None
    techniques: tuple[str, ...]
    knobs: tuple[str, ...]
    edit: Path | None
    train_py: Path | None
    parent: int | None


def show_open_question(folder: RunFolder, number: int | None) -> None:
    """Print the change that waits for an answer.

    Raises:
        PersonError: None does, or another than `number`.
    """
    show_question(_open_question(folder, number), folder, open_console())


def answer(folder: RunFolder, word: Word, why: str, number: int | None) -> str:
    """Write the answer to the question that a run asks; return what follows, in words.

    Raises:
        PersonError: There is no question, or the answer is not one.
    """
    question = _open_question(folder, number)
    stands = PersonLog(folder.person).answer(question, word, why)
    told = f"trial {question.trial}: {DONE[stands.word]}" + (f", {stands.why}" if stands.why else "")
    return f"{told}; `team resume {folder.name}` goes on, if the run does not at once"


def add_wish(folder: RunFolder, text: str) -> str:
    """Add a wish; return what follows, and what the offline team would make of it, in words.

    Raises:
        PersonError: It is empty or too long.
    """
    wish = PersonLog(folder.person).wish(text)
    wanted, avoided = understand(wish.text, _playbook(folder))
    made = "; ".join(part for part in (str(wanted), f"not {avoided}" if avoided else "") if part)
    read = (
        f"the offline team reads it as: {made}"
        if made
        else "the offline team will find no mode, axis, technique or trial in it; a model may"
    )
    return f"wish {wish.k} is put before the strategist at the next round that is free to choose\n{read}"


def list_wishes(folder: RunFolder) -> None:
    """Print the wishes and what became of them."""
    said = PersonLog(folder.person).read()
    console = open_console()
    for k, wish in said.wishes.items():
        console.print(f"{k:4d}  {_state(said, 'wish', k, folder)}  {escape(wish.text)}")
    if not said.wishes:
        console.print(f'no wishes yet: `team steer {folder.name} "more on the readout"` adds one')


def clear_wishes(folder: RunFolder) -> None:
    """Take back every wish that waits."""
    log = PersonLog(folder.person)
    waiting = log.read().waiting("wish")
    for k in waiting:
        log.drop("wish", k)
    open_console().print(f"{len(waiting)} wishes taken back")


def add_idea(folder: RunFolder, options: IdeaOptions) -> None:
    """Check an idea against the file that it would change today, and put it into the queue.

    Raises:
        PersonError: It cannot be carried out as it was given; the message shows the value and the mend.
    """
    title = plain(options.title, "the title")
    history = read_history(folder)
    parent = _parent_source(folder, history, options.parent)
    playbook = _playbook(folder)
    if options.edit is not None and options.train_py is not None:
        raise PersonError("both --edit and --train-py: an idea is one or the other")
    given = options.edit or options.train_py
    if given is not None and options.knobs:
        raise PersonError(f"--knob beside {given}: set the constant in that file")
    values = dict(_knob(text, parent) for text in options.knobs)
    for name in options.techniques:
        _check_technique(name, playbook, values, given)
    edits = _read(options.edit) if options.edit is not None else ""
    whole = _read(options.train_py) if options.train_py is not None else ""
    if options.edit is not None and not _in_one_line(lambda: parse_edits(edits), options.edit):
        raise PersonError(
            f"{options.edit} holds no edit block: write '<<<<<<< SEARCH', '=======' and '>>>>>>> REPLACE'"
        )
    if given is not None:
        _in_one_line(lambda: apply_edits(whole or parent, parse_edits(edits)), given)
    idea = PersonLog(folder.person).propose(
        OwnIdea(
            k=0,
            title=title,
            axis=_axis(options.axis, options.techniques, values, playbook),
            techniques=options.techniques,
            knobs=values,
            edits=edits,
            train_py=whole,
            parent=options.parent,
        )
    )
    console = open_console()
    console.print(escape(f"idea {idea.k} waits in the queue: the next round takes up the first"))
    if given is None and not options.techniques and not values:
        console.print("it is words alone: a model's coder can carry it out; the offline team needs more, see --help")


def list_ideas(folder: RunFolder, *, as_json: bool) -> None:
    """Print the queue and what became of each idea."""
    said = PersonLog(folder.person).read()
    if as_json:
        rows = [
            idea.model_dump(mode="json") | {"state": _state(said, "idea", k, folder)} for k, idea in said.ideas.items()
        ]
        print(json.dumps({"ideas": rows}, indent=1))
        return
    console = open_console()
    for k, idea in said.ideas.items():
        form = (
            *idea.techniques,
            *(f"{name} = {value!r}" for name, value in idea.knobs.items()),
            *(["an edit"] if idea.edits else []),
            *(["a whole train.py"] if idea.train_py else []),
        )
        how = f" ({', '.join(form)})" if form else ""
        console.print(f"{k:4d}  {_state(said, 'idea', k, folder)}  {escape(idea.title + how)}")
    if not said.ideas:
        console.print(f'the queue is empty: `team ideas add {folder.name} "title" --technique ID` fills it')


def drop_idea(folder: RunFolder, k: int) -> None:
    """Take an idea out of the queue.

    Raises:
        PersonError: It is not there.
    """
    PersonLog(folder.person).drop("idea", k)
    open_console().print(f"idea {k} is out of the queue")


def _open_question(folder: RunFolder, number: int | None) -> Question:
    said = PersonLog(folder.person).read()
    question = said.open_question(read_history(folder).trials)
    if question is None:
        approves = folder.read_config().approve
        hint = "it asks before the next trial" if approves else f"`team resume {folder.name} --approve` makes it ask"
        raise PersonError(f"run {folder.name} waits for no answer; {hint}")
    if number is not None and number != question.trial:
        raise PersonError(f"run {folder.name} asks about trial {question.trial}, not {number}")
    return question


def _state(said: Conversation, what: Kept, k: int, folder: RunFolder) -> str:
    if (what, k) in said.dropped:
        return "taken back"
    trial = said.taken.get((what, k))
    if trial is None:
        return "waits"
    history = read_history(folder)
    became = history.outcome(trial) if trial in history.trials else "at work"
    return f"trial {trial}, {became}"


def _parent_source(folder: RunFolder, history: History, parent: int | None) -> str:
    if parent is None:
        champion = history.champion
        return folder.source(champion.number) if champion else (folder.seed / "train.py").read_text(encoding="utf-8")
    try:
        if parent in history.trials:
            return folder.source(parent)
    except (OSError, RunError):
        pass
    known = [str(n) for n, trial in history.trials.items() if trial.code_sha]
    raise PersonError(f"trial {parent} has no train.py to start from; these have: {', '.join(known) or 'none yet'}")


def _playbook(folder: RunFolder) -> dict[str, Technique]:
    return {technique.id: technique for technique in folder.playbook(folder.read_config())}


def _check_technique(name: str, playbook: dict[str, Technique], values: Knobs, given: Path | None) -> None:
    technique = playbook.get(name)
    if technique is None:
        near = nearest_techniques(name, playbook)
        hint = f"the nearest: {', '.join(near)}" if near else "`team ideas add --help`"
        raise PersonError(f"no technique {name!r} in the playbook of this run; {hint}")
    if technique.knob is not None and technique.knob.name not in values and given is None:
        worth = ", ".join(map(repr, technique.knob.values))
        raise PersonError(
            f"technique {name} is the constant {technique.knob.name}: add --knob {technique.knob.name}=VALUE "
            f"(worth a trial: {worth})"
        )


def _knob(text: str, source: str) -> tuple[str, bool | int | float | str]:
    name, equals, literal = text.partition("=")
    name = name.strip()
    try:
        value = ast.literal_eval(literal.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not equals or not isinstance(value, bool | int | float | str):
        raise PersonError(f"--knob {text[:80]!r}: write NAME=VALUE with a number, True, False or a quoted text")
    if name not in knobs(source):
        known = ", ".join(f"{key} = {held!r}" for key, held in knobs(source).items()) or "none"
        raise PersonError(f"--knob {name}: the file has no such constant; its constants are {known}")
    _in_one_line(lambda: apply_edits(source, [set_knob(source, name, value)]), f"--knob {name}")
    return name, value


def _axis(axis: str | None, techniques: tuple[str, ...], values: Knobs, playbook: dict[str, Technique]) -> Axis:
    if axis is not None:
        if axis.upper() not in get_args(NetworkAxis):
            known = ", ".join(f"{name} {title}" for name, title in AXES.items())
            raise PersonError(f"--axis {axis!r}: use one of {known}")
        return next(name for name in get_args(NetworkAxis) if name == axis.upper())
    named = [playbook[name].axis for name in techniques]
    named += [t.axis for t in playbook.values() if t.knob is not None and t.knob.name in values]
    return named[0] if named else "-"


def _read(path: Path) -> str:
    data = path.read_bytes()
    if len(data) > MAX_FILE_BYTES:
        raise PersonError(f"{path} has {len(data):,} bytes, {MAX_FILE_BYTES:,} at most")
    if not data.strip():
        raise PersonError(f"{path} is empty: name the file that holds the change")
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise PersonError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as such"
        ) from error


def _in_one_line(apply: Callable[[], Applied], where: object) -> Applied:
    """Do it, and tell an edit that does not fit in one line, its closest lines included."""
    try:
        return apply()
    except EditError as error:
        first, *rest = str(error).splitlines()
        lines = " / ".join(" ".join(line.split()) for line in rest)
        raise PersonError(f"{where}: {first} {lines}".strip()) from error
