"""Edits of a source file: the one way in which the playbook and a language model change `train.py`.

An edit replaces whole lines that occur exactly once. It is refused, never guessed at: where the lines are absent or
ambiguous, or the result does not compile, the error says what was found and shows the closest lines of the file.

    <<<<<<< SEARCH
    WIDTH = 64
    =======
    WIDTH = 96
    >>>>>>> REPLACE
"""

from __future__ import annotations

import ast
import copy
import difflib
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OPEN = re.compile(r"<{7} SEARCH\s*")
_DIVIDE = re.compile(r"={7}\s*")
_CLOSE = re.compile(r">{7} REPLACE\s*")
_NEARLY = re.compile(r"\s*(?:[<>]{4,}\s*(?:search|original|head|replace|updated)?\W*|={5,}\s*)", re.IGNORECASE)
_NEARLY_OPEN = re.compile(r"\s*<{4,}\s*(?:search|original|head)\W*", re.IGNORECASE)

_STATEMENTS = ("body", "orelse", "finalbody", "handlers", "cases")  # where a node of a tree holds statements


class EditError(ValueError):
    """An edit that cannot be applied; the message names the block, what was found and the way to mend it."""


@dataclass(frozen=True)
class Edit:
    """One replacement of whole lines.

    Attributes:
        search: Lines of the file, exactly as they stand there, without the last line break.
        replace: What stands there afterwards; empty deletes the lines.
    """

    search: str
    replace: str


def parse_edits(text: str) -> tuple[Edit, ...]:
    """Return the edit blocks of `text` in order; what stands around them, such as prose or a code fence, is ignored.

    Args:
        text: An answer of a model or a playbook file; without blocks the result is empty.

    Raises:
        EditError: A block is not closed, has no divider or two, is opened inside another, has no line to search for, or
            has a marker that is not written as the form has it.
    """
    edits: list[Edit] = []
    search: list[str] = []
    replace: list[str] = []
    part = "outside"
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        block = f"edit block {len(edits) + 1} (line {number})"
        if _OPEN.fullmatch(line):
            if part != "outside":
                raise EditError(f"{block} opens inside another block: close that one with '>>>>>>> REPLACE' first")
            part, search, replace = "search", [], []
        elif _DIVIDE.fullmatch(line) and part == "search":
            if not any(text.strip() for text in search):
                raise EditError(f"{block} has an empty SEARCH: give the lines of the file that it stands for")
            part = "replace"
        elif _CLOSE.fullmatch(line):
            if part != "replace":
                raise EditError(f"{block} ends without '<<<<<<< SEARCH' and '=======' before it: write all three")
            edits.append(Edit("\n".join(search), "\n".join(replace)))
            part = "outside"
        elif part == "replace" and _DIVIDE.fullmatch(line):
            raise EditError(f"{block} has a second '=======': a block has one SEARCH, one divider and one REPLACE")
        elif (
            _NEARLY_OPEN.fullmatch(line)
            or (part == "search" and _NEARLY.fullmatch(line))
            or (part == "replace" and _NEARLY.fullmatch(line) and "=" not in line)
        ):
            raise EditError(
                f"{block}: {line!r} is nearly a marker: write '<<<<<<< SEARCH', '=======' and '>>>>>>> REPLACE' "
                "exactly, each on a line of its own and not indented"
            )
        elif part == "search":
            search.append(line)
        elif part == "replace":
            replace.append(line)
    if part != "outside":
        raise EditError(f"edit block {len(edits) + 1} is not closed: end it with '>>>>>>> REPLACE'")
    return tuple(edits)


def format_edits(edits: Sequence[Edit]) -> str:
    """Return edits as text that `parse_edits` reads back."""
    blocks = []
    for edit in edits:
        replace = f"{edit.replace}\n" if edit.replace else ""
        blocks.append(f"<<<<<<< SEARCH\n{edit.search}\n=======\n{replace}>>>>>>> REPLACE\n")
    return "\n".join(blocks)


def apply_edits(source: str, edits: Sequence[Edit]) -> str:
    """Return `source` after the edits, each applied to what the one before it left.

    White space at the end of a line does not count, unless it alone tells two places apart.

    Raises:
        EditError: A SEARCH does not match exactly once, in `source` or in what earlier edits made of it; two edits
            stand for the same line; or the result does not compile.
    """
    first = source.split("\n")
    lines = list(first)
    stood: list[range] = []  # the lines of `source` that each block so far stands for
    for block, edit in enumerate(edits, start=1):
        search = edit.search.split("\n")
        before = _places(first, search)
        found = _places(lines, search) if len(before) < 2 else before
        if len(found) > 1:
            at = ", ".join(str(i + 1) for i in found)
            shown = "\n".join(_numbered(lines, i - 1, i + len(search) + 1) for i in found[:3])
            raise EditError(
                f"edit block {block} matches {len(found)} times, at lines {at}: "
                f"add a neighbouring line to SEARCH, so that it matches once\n{shown}"
            )
        mine = range(before[0], before[0] + len(search)) if before else range(0)
        for other, theirs in enumerate(stood, start=1):
            if both := sorted(set(mine) & set(theirs)):
                raise EditError(
                    f"edit blocks {other} and {block} both stand for line {both[0] + 1}: join them into one block\n"
                    + _numbered(first, min(mine.start, theirs.start), max(mine.stop, theirs.stop))
                )
        stood.append(mine)
        if not found:
            raise EditError(
                f"edit block {block} matches 0 times: SEARCH must repeat whole lines of the file exactly, "
                f"with their indentation; the closest lines are\n{closest_lines(lines, search)}"
            )
        lines[found[0] : found[0] + len(search)] = edit.replace.split("\n") if edit.replace else []
    result = "\n".join(lines)
    _compile(result)
    return result


def set_knob(source: str, name: str, value: object) -> Edit:
    """Return the edit that sets the top-level constant `name` to `value`; a comment behind it stays.

    Args:
        source: The file.
        name: An UPPER_CASE name that is assigned once, on one line.
        value: A number, string, bool, None, or a tuple or list of them.

    Raises:
        EditError: The constant does not exist, is assigned more than once or over several lines, or the file does not
            parse.
    """
    tree, lines = _parse(source), source.split("\n")
    nodes = [node for node in tree.body if (found := _constant(node)) is not None and found[0] == name]
    if len(nodes) != 1:
        known = ", ".join(f"{key} = {held!r}" for key, held in knobs(source).items()) or "none"
        raise EditError(f"the file assigns the knob {name} {len(nodes)} times, not once; its knobs are {known}")
    node = nodes[0]
    line = lines[node.lineno - 1]
    if node.end_lineno != node.lineno or node.end_col_offset is None or lines.count(line) != 1:
        raise EditError(f"the knob {name} must be on a line of its own, found {line!r} at line {node.lineno}")
    behind = line.encode()[node.end_col_offset :].decode()
    return Edit(line, f"{name} = {value!r}{behind}")


def knobs(source: str) -> dict[str, Any]:
    """Return the top-level UPPER_CASE constants whose value is a literal, in the order of the file.

    Raises:
        EditError: The file does not parse.
    """
    return dict(found for node in _parse(source).body if (found := _constant(node)) is not None)


def inverse(edit: Edit) -> Edit:
    """Return the edit that undoes `edit`.

    Raises:
        EditError: The edit deletes lines, so that nothing is left to search for.
    """
    if not edit.replace.strip():
        raise EditError(f"an edit that deletes {edit.search!r} has no inverse: keep a neighbouring line in both parts")
    return Edit(edit.replace, edit.search)


def unified_diff(before: str, after: str, name: str = "train.py") -> str:
    """Return the unified diff of two versions of a file, empty where they are equal."""
    parts = difflib.unified_diff(before.splitlines(), after.splitlines(), f"a/{name}", f"b/{name}", lineterm="")
    return "".join(f"{line}\n" for line in parts)


@lru_cache(maxsize=256)  # a parent's file is asked about with each of its children
def normalised(source: str) -> str:
    """Return the source without comments, docstrings, blank lines and layout: equal texts train alike.

    Raises:
        EditError: The file does not parse.
    """
    return ast.unparse(_without_docstrings(_parse(source)))


@lru_cache(maxsize=8)  # one round asks for that of a child and of its parent again and again
def tree_of(source: str) -> ast.Module:
    """Return the syntax tree of a file that compiles; it is shared by all who ask for it, so change nothing in it.

    Raises:
        SyntaxError, ValueError: The file does not compile.
        RecursionError, MemoryError: It nests too deeply.
    """
    _check(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


_Node = TypeVar("_Node", bound=ast.AST)


def _without_docstrings(node: _Node) -> _Node:
    """Return a copy without statements that are a bare constant, which a docstring is; no body becomes empty.

    Only what holds statements is copied.
    """
    changes: dict[str, list[ast.AST]] = {}
    for part in _STATEMENTS:
        held = getattr(node, part, None)
        if isinstance(held, list):
            changes[part] = [_without_docstrings(child) for child in held if not _is_bare_constant(child)]
    if not changes:
        return node
    if not isinstance(node, ast.Module) and changes.get("body") == []:
        changes["body"] = [ast.Pass()]
    copied = copy.copy(node)
    for part, kept in changes.items():
        setattr(copied, part, kept)
    return copied


def _is_bare_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is not Ellipsis


def _constant(node: ast.stmt) -> tuple[str, Any] | None:
    """Return (name, value) where `node` assigns a literal to one UPPER_CASE name."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target, value = node.target, node.value
    else:
        return None
    if not isinstance(target, ast.Name) or not target.id.isupper():
        return None
    try:
        return target.id, ast.literal_eval(value)
    except ValueError:
        return None


def closest_lines(lines: Sequence[str], search: Sequence[str]) -> str:
    """Return the window of `lines` most like `search`, with line numbers; the first of several."""
    matcher = difflib.SequenceMatcher(None, "", "\n".join(search), autojunk=False)
    best, best_ratio = 0, -1.0
    for most, start in sorted(_most_alike(lines, search), key=lambda bound: (-bound[0], bound[1])):
        if most < best_ratio:
            break
        matcher.set_seq1("\n".join(lines[start : start + len(search)]))
        ratio = matcher.ratio()
        if ratio > best_ratio or (ratio == best_ratio and start < best):
            best, best_ratio = start, ratio
    return _numbered(lines, best, best + len(search))


def _most_alike(lines: Sequence[str], search: Sequence[str]) -> Iterator[tuple[float, int]]:
    """Yield how alike each window of `lines` and `search` can be at most, and where it starts.

    The bound is that of `difflib.SequenceMatcher.quick_ratio`: all characters that both have, in whatever order.
    """
    wanted = Counter("\n".join(search))
    held = Counter("\n".join(lines[: len(search)]))
    for start in range(max(1, len(lines) - len(search) + 1)):
        if start:
            held.subtract(lines[start - 1])
            held.update(lines[start + len(search) - 1])
        both = sum(min(count, held[character]) for character, count in wanted.items())
        length = wanted.total() + held.total()
        yield (2.0 * both / length if length else 1.0), start


def _places(lines: Sequence[str], search: Sequence[str]) -> list[int]:
    """Return where `search` stands in `lines`; white space at line ends counts only where it tells places apart."""
    n = len(search)
    found = [i for i in range(len(lines) - n + 1) if lines[i : i + n] == search]
    if not found:
        bare, wanted = [line.rstrip() for line in lines], [line.rstrip() for line in search]
        found = [i for i in range(len(lines) - n + 1) if bare[i : i + n] == wanted]
    return found


def _numbered(lines: Sequence[str], start: int, stop: int) -> str:
    return "\n".join(f"{i + 1:5d} | {lines[i]}" for i in range(max(0, start), min(len(lines), stop)))


def _parse(source: str) -> ast.Module:
    _compile(source)
    return tree_of(source)


def _compile(source: str) -> None:
    try:
        _check(source)
    except SyntaxError as error:
        lines = source.split("\n")
        at = error.lineno or 1
        shown = _numbered(lines, at - 3, at + 2)
        raise EditError(f"the edited file does not compile: {error.msg} at line {at}\n{shown}") from error
    except ValueError as error:
        raise EditError(f"the edited file does not compile: {error}") from error


@lru_cache(maxsize=64)
def _check(source: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape in edited code is its author's business
        compile(source, "train.py", "exec", dont_inherit=True)
