"""What a change amounts to: nothing at all (N1), or something that nothing reads (N2)."""

from __future__ import annotations

import ast
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from memory.edits import EditError, normalised
from team.review.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from team.review.names import Names

_PARTS = ("body", "orelse", "finalbody")
_ENDS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def findings(names: Names, source: str, parent: str) -> Iterator[Finding]:
    """Yield what the change from `parent` to `source`, whose tree `names` has read, leaves without effect."""
    try:
        before, after = normalised(parent), normalised(source)
    except EditError:
        return
    if before == after:
        yield Finding(1, "N1", "the change does nothing: without comments and layout the code equals its parent's")
        return
    unread = _unread(names.tree, names.walk)
    dead = [(name, node) for name, node in unread if _changed(node, before)]
    closed = _closes(names.tree, names.nodes)
    idle = _without_idle(before) == (_without_idle(after) if unread or closed else after)
    for name, node in dead:
        reason = f"nothing reads {name}" + (", and the change does nothing else" if idle else "")
        yield Finding(node.lineno, "N2", reason, blocking=idle)
    if idle and not dead:
        yield Finding(1, "N2", "the change is only of code that is never reached or read")
    for node in _never_run(ast.parse(source)) if closed and not idle else ():
        if _changed(node, before):
            yield Finding(node.lineno, "N2", "this code is never reached", blocking=False)
    if not idle:
        yield from _unread_inside(names.nodes, parent)


def _changed(node: ast.stmt, before: str) -> bool:
    text = ast.unparse(node)
    return normalised(text) not in before if isinstance(node, _DEFINITIONS) else text not in before


def _unread(tree: ast.Module, walk: Callable[[ast.AST], Iterable[ast.AST]] = ast.walk) -> list[tuple[str, ast.stmt]]:
    """Return the top-level definitions that nothing else in the file names."""
    inside = {node: Counter(n.id for n in walk(node) if isinstance(n, ast.Name)) for node in tree.body}
    read: Counter[str] = Counter()
    for named in inside.values():
        read.update(named)
    found = []
    for node in tree.body:
        names = _defined(node)
        if unread := [name for name in names if read[name] == inside[node][name]]:
            found.append((", ".join(unread), node))
    return found


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement binds, where it does nothing else."""
    match node:
        case ast.FunctionDef(name=name, decorator_list=[]) | ast.ClassDef(name=name, decorator_list=[]):
            return [name]
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            effects = any(isinstance(n, ast.Call) for n in ast.walk(value))
            return [] if effects or name.startswith("__") else [name]
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            single = len(aliases) == 1 and getattr(node, "module", "") != "__future__"
            return [alias.asname or alias.name.split(".")[0] for alias in aliases if single]
        case _:
            return []


@lru_cache(maxsize=128)  # a parent's code is compared with that of each of its children
def _without_idle(text: str) -> str:
    """Return normalised code without what is never read or never reached, down to where nothing more goes."""
    while True:
        tree = ast.parse(text)
        nodes = tuple(ast.walk(tree))
        if closed := _closes(tree, nodes):
            tree = _Reached(_switches(tree, nodes)).visit(tree)
        dead = {node for _, node in _unread(tree)}
        if not closed and not dead:
            return text
        tree.body = [node for node in tree.body if node not in dead]
        shorter = ast.unparse(ast.fix_missing_locations(tree))
        if shorter == text:
            return text
        text = shorter


def _closes(tree: ast.Module, nodes: Iterable[ast.AST]) -> bool:
    """Return whether `_Reached` has anything to leave out; most files have nothing."""
    switches = _switches(tree, nodes)
    for node in nodes:
        if isinstance(node, ast.If | ast.IfExp) and _taken(node.test, switches) is not None:
            return True
        for part in _PARTS:
            body = getattr(node, part, None)
            if isinstance(body, list) and (
                any(isinstance(child, _ENDS) for child in body[:-1])
                or (any(isinstance(child, ast.Pass) for child in body) and (part != "body" or len(body) > 1))
            ):
                return True
    return False


def _switches(tree: ast.Module, nodes: Iterable[ast.AST]) -> dict[str, bool]:
    """Return the top-level constants that are set once, and whether they are true."""
    stored = Counter(n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return {
        node.targets[0].id: bool(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and stored[node.targets[0].id] == 1
    }


class _Reached(ast.NodeTransformer):
    """Leaves out branches that a constant closes, and what stands behind a return, raise, break or continue."""

    def __init__(self, switches: dict[str, bool]):
        self.switches = switches
        self.left_out: list[ast.stmt] = []

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        taken = _taken(node.test, self.switches)
        if taken is None:
            return node
        self.left_out += node.orelse if taken else node.body
        return (node.body if taken else node.orelse) or [ast.copy_location(ast.Pass(), node)]

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        taken = _taken(node.test, self.switches)
        return node if taken is None else (node.body if taken else node.orelse)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        node = super().generic_visit(node)
        for part in _PARTS:
            body = getattr(node, part, None)
            if isinstance(body, list):
                last = next((i for i, child in enumerate(body) if isinstance(child, _ENDS)), len(body))
                self.left_out += body[last + 1 :]
                kept = [child for child in body[: last + 1] if not isinstance(child, ast.Pass)]
                setattr(node, part, kept or ([ast.Pass()] if part == "body" and body else []))
        return node


def _taken(test: ast.expr, switches: Mapping[str, bool]) -> bool | None:
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Name(id=name):
            return switches.get(name)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            taken = _taken(operand, switches)
            return None if taken is None else not taken
        case _:
            return None


def _never_run(tree: ast.Module) -> list[ast.stmt]:
    reached = _Reached(_switches(tree, tuple(ast.walk(tree))))
    reached.visit(tree)
    return reached.left_out


def _unread_inside(nodes: Sequence[ast.AST], parent: str) -> Iterator[Finding]:
    """Yield new variables and attributes of `self` that are set and never read; notes, for they may draw numbers."""
    read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    read |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}
    read |= {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    declared = {n for node in nodes if isinstance(node, ast.ClassDef | ast.Module) for n in node.body}
    for node in nodes:
        if not isinstance(node, ast.Assign) or node in declared:
            continue
        for target in node.targets:
            match target:
                case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self"), attr=name) if name not in read:
                    if not name.startswith("_") and ast.unparse(node) not in _assignments(parent):
                        yield Finding(node.lineno, "N2", f"{name} is set and never read", blocking=False)
                case _:
                    pass


@lru_cache(maxsize=64)
def _assignments(source: str) -> frozenset[str]:
    """Return every plain assignment of a file, as text."""
    return frozenset(ast.unparse(n) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Assign))
