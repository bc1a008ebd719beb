"""What a coder's answer makes of a file: search/replace blocks or a whole file, out of free text.

The mechanism is that of `memory.edits`, which the playbook uses too. What is added here are the faults that only a free
answer has: lines left out behind a comment, a replacement indented otherwise than what it replaces, half a file sent as
a whole one. Each is refused with the lines that it is about, so that the coder can mend it; nothing is guessed.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import warnings
from typing import TYPE_CHECKING

from memory.edits import Edit, EditError, apply_edits, closest_lines, normalised, parse_edits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FENCE = re.compile(r"( {0,8})(`{3,}|~{3,})[^`]*")
_DIFF = re.compile(r"^(?:@@ .* @@|--- a/|\+\+\+ b/)", re.MULTILINE)
_LEFT_OUT = re.compile(
    r"\s*(?:(?:#|//)\s*)?(?:\.{3}|…)\s*"  # an ellipsis alone
    r"|\s*(?:#|//)\s*(?:\.{3}|…).*"  # a comment that starts with one
    r"|\s*(?:#|//).*(?:\.{3}|…)\s*"  # or ends with one
    r"|\s*(?:#|//)\W*(?:the )?(?:rest|remainder) of\b.*"
    r"|\s*(?:#|//).*\b(?:unchanged|as before|the same as|(?:stays?|remains?) the same|omitted|no changes?"
    r"|(?:existing|previous|remaining|original|other) "
    r"(?:code|lines|methods|imports|functions|classes|definitions))\b.*",
    re.IGNORECASE,
)
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060"))
_NUMBERED = re.compile(r"^ *\d+ \| ", re.MULTILINE)
_SCOPES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp,
)  # fmt: skip
_MAX_FENCES = 24
_KNOWN_NAMES = {*dir(builtins), "__file__", "__annotations__"}


def apply_answer(source: str, answer: str) -> str:
    """Return the file that `answer` makes of `source`.

    The answer holds edit blocks (see `memory.edits`), or else one whole file in a code fence. Windows line ends, byte
    order marks and zero-width spaces are dropped.

    Raises:
        EditError: It holds neither, does not apply exactly, leaves lines out, uses names that nothing defines any more,
            or changes nothing; the message says which lines are meant, for whoever wrote the answer.
    """
    text = answer.replace("\r\n", "\n").replace("\r", "\n").translate(_INVISIBLE)
    try:
        return _applied(source, text)
    except EditError as error:
        if _NUMBERED.search(str(error)):
            raise
        raise EditError(f"{error}\nthe closest lines of the file are\n{_meant_lines(source, text)}") from error


def _applied(source: str, text: str) -> str:
    edits = parse_edits(text)
    if edits:
        for block, edit in enumerate(edits, start=1):
            _refuse_left_out(source, block, edit)
        result = apply_edits(source, edits)
        for block, edit in enumerate(edits, start=1):
            _refuse_shifted(source, block, edit)
    else:
        result = _whole_file(source, text)
    _refuse_undefined(source, result)
    if normalised(result) == normalised(source):
        raise EditError(
            "the answer leaves the code as it is: change at least one statement, not only comments or layout"
        )
    return result


def _meant_lines(source: str, text: str) -> str:
    """Return the lines of the file that an answer is about, as far as it repeats or resembles any."""
    lines = source.split("\n")
    said = [line.strip("+- \t|0123456789") for line in text.split("\n")]
    known = {line.strip() for line in lines if lines.count(line) == 1}
    repeated = [line for line in said if len(line) > 3 and line in known]
    return closest_lines(lines, [max(repeated or said, key=len)])


def _refuse_left_out(source: str, block: int, edit: Edit) -> None:
    """Refuse a comment that stands for lines, such as `# ... rest unchanged`, where the file has no such line."""
    lines = source.split("\n")
    for part, text in (("SEARCH", edit.search), ("REPLACE", edit.replace)):
        for line in text.split("\n"):
            if _LEFT_OUT.fullmatch(line) and line not in lines:
                near = closest_lines(lines, edit.search.split("\n"))
                raise EditError(
                    f"edit block {block}: {line.strip()!r} in {part} stands for lines that it leaves out: write every "
                    f"line, or take a smaller block; the closest lines are\n{near}"
                )


def _refuse_shifted(source: str, block: int, edit: Edit) -> None:
    """Refuse a REPLACE that starts at another indentation than its SEARCH: it would move code into another body."""
    found, given = _indentation(edit.search), _indentation(edit.replace)
    if given is not None and found != given:
        near = closest_lines(source.split("\n"), edit.search.split("\n"))
        raise EditError(
            f"edit block {block}: SEARCH starts {found} spaces in, and REPLACE {given}: start both alike, with an "
            f"unchanged line first where need be; the closest lines are\n{near}"
        )


def _indentation(text: str) -> int | None:
    first = next((line for line in text.split("\n") if line.strip()), None)
    return None if first is None else len(first) - len(first.lstrip())


def _whole_file(source: str, text: str) -> str:
    """Return the one complete file in the answer.

    A file may hold fences of its own, in a docstring, so every pair of fences is looked at, and the longest text that
    is a complete program counts.
    """
    lines = text.split("\n")
    fences = [i for i, line in enumerate(lines) if _FENCE.fullmatch(line)]
    if len(fences) > _MAX_FENCES:
        fences = [fences[0], fences[-1]]
    complete: list[tuple[int, int, str]] = []
    faults: list[tuple[int, str]] = []
    for at, start in enumerate(fences):
        for stop in reversed(fences[at + 1 :]):
            body = _outdented(lines[start + 1 : stop], lines[start])
            if any(first <= start and stop <= last for first, last, _ in complete):
                continue
            fault = _incomplete(source, body)
            if fault:
                faults.append((len(body), fault))
            else:
                complete.append((start, stop, body))
    if len(complete) == 1:
        return complete[0][2]
    if complete:
        raise EditError(f"the answer holds {len(complete)} whole files: send one, or search/replace blocks")
    if not fences and not _incomplete(source, text):
        return text
    if _DIFF.search(text):
        raise EditError("the answer is a unified diff, which is not applied: write search/replace blocks instead")
    if len(fences) % 2:
        raise EditError("a code fence is not closed, so the answer may be cut off: send it whole, or as smaller blocks")
    if faults:
        raise EditError(max(faults)[1])
    raise EditError(
        "the answer holds no edit: write blocks of '<<<<<<< SEARCH', '=======' and '>>>>>>> REPLACE', "
        "or the whole file in one code fence"
    )


def _outdented(lines: Sequence[str], fence: str) -> str:
    """Return fenced lines without the fence's own indentation, as Markdown has it."""
    margin = " " * (len(fence) - len(fence.lstrip(" ")))
    return "\n".join(line.removeprefix(margin) for line in lines) + "\n"


def _incomplete(source: str, text: str) -> str:
    """Return why `text` is no complete successor of the file `source`; empty where it is one."""
    try:
        tree = _parse(text)
    except (SyntaxError, ValueError) as error:
        at = getattr(error, "lineno", None) or 1
        row = text.split("\n")[at - 1 : at]
        near = closest_lines(source.split("\n"), row or [""])
        return f"the whole file does not compile: {error} ; the closest lines of the file are\n{near}"
    theirs = source.split("\n")
    for at, line in enumerate(text.split("\n"), start=1):
        if _LEFT_OUT.fullmatch(line) and line not in theirs:
            around = text.split("\n")[max(0, at - 3) : at - 1]
            return (
                f"line {at} of the answer, {line.strip()!r}, stands for lines that it leaves out: send the whole file, "
                f"or search/replace blocks; the closest lines are\n{closest_lines(theirs, around or [''])}"
            )
    missing = _undefined(text).keys() - _undefined(source).keys()
    defined = _definitions(_parse(source))
    if left_out := sorted(missing & defined.keys(), key=lambda name: defined[name]):
        where = "\n".join(f"{defined[name]:5d} | {theirs[defined[name] - 1]}" for name in left_out[:3])
        return (
            f"the answer uses {', '.join(left_out[:6])} without the lines that define them: a whole file must be "
            f"complete; they are defined here\n{where}"
        )
    if _runs(_parse(source)) and not _runs(tree):
        last = [line for line in theirs if line.strip()][-2:]
        return (
            "nothing in the answer runs, so it is a part of the file: send search/replace blocks, or the whole file "
            f"down to its last lines\n{closest_lines(theirs, last)}"
        )
    return ""


def _refuse_undefined(source: str, result: str) -> None:
    """Refuse names that nothing defines in the new file and that the old one did not use so: a trial would crash."""
    known = _undefined(source)
    new = {name: line for name, line in _undefined(result).items() if name not in known}
    if new:
        lines = result.split("\n")
        shown = "\n".join(f"{line:5d} | {lines[line - 1]}" for line in sorted(set(new.values()))[:3])
        raise EditError(
            f"nothing defines {', '.join(sorted(new))}: define or import it, or mend the indentation\n{shown}"
        )


def _undefined(source: str) -> dict[str, int]:
    """Return the names that are read but bound nowhere, with the first line that reads each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = symtable.symtable(source, "train.py", "exec")
    scopes = list(_scopes(table))
    bound = {
        symbol.get_name()
        for scope in scopes
        for symbol in scope.get_symbols()
        if (scope is table or symbol.is_declared_global())
        and (symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace())
    }
    loose = {
        (symbol.get_name(), 0 if scope is table else scope.get_lineno())
        for scope in scopes
        for symbol in scope.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or scope is table)
        if symbol.get_name() not in bound and symbol.get_name() not in _KNOWN_NAMES
    }
    if not loose:
        return {}
    lines: dict[str, list[int]] = {name: [] for name, _ in loose}
    for name, line, scope_line in _reads(_parse(source), 0):
        if (name, scope_line) in loose:
            lines[name].append(line)
    return {name: min(found, default=1) for name, found in lines.items()}


def _reads(node: ast.AST, scope_line: int) -> Iterator[tuple[str, int, int]]:
    """Yield the names that are read, each with its line and that of the scope that reads it, as symtable has them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Name):
            yield child.id, child.lineno, scope_line
        yield from _reads(child, child.lineno if isinstance(child, _SCOPES) else scope_line)


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)


def _definitions(tree: ast.Module) -> dict[str, int]:
    """Return the names bound at the top of a file, with their lines."""
    found: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        else:
            names = [
                name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            ]
        for name in names:
            found.setdefault(name, node.lineno)
    return found


def _runs(tree: ast.Module) -> bool:
    """Say whether a file does anything beside defining names."""
    return any(
        isinstance(node, ast.If | ast.With | ast.Try)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        for node in tree.body
    )


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)
