"""Seeds that pick a lucky run (L6): the judge chooses the seed, so that none is picked by luck."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from team.review.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from team.review.names import Names

_SEEDERS = frozenset(
    "torch.manual_seed torch.cuda.manual_seed torch.cuda.manual_seed_all torch.random.manual_seed numpy.random.seed "
    "numpy.random.default_rng numpy.random.RandomState numpy.random.SeedSequence numpy.random.PCG64 "
    "numpy.random.MT19937 numpy.random.Philox random.seed random.Random torch_geometric.seed_everything "
    "torch_geometric.seed.seed_everything".split()
)
_UNSEEDED = frozenset({"torch.seed", "torch.cuda.seed", "torch.cuda.seed_all", "random.SystemRandom"})
_CLOCKS = frozenset(
    f"time.{name}{ns}"
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    for ns in ("", "_ns")
) | {"builtins.id", "builtins.hash"}
MAX_SEEDS = 16
_TASK_CLOCKS = ("seconds_left", "progress")


def findings(names: Names) -> Iterator[Finding]:
    """Yield seeds that are not the judge's."""
    values = _values(names)
    for node in names.nodes:
        match node:
            case ast.Call(func=func):
                seeds = bool(names.paths(func) & _SEEDERS)
                seeds = seeds or (isinstance(func, ast.Attribute) and func.attr == "manual_seed")
                if seeds:
                    yield from _seed(node, names, values)
                elif names.paths(func) & _UNSEEDED:
                    yield Finding(node.lineno, "L6", "a seed that nobody knows: use task.facts.seed", blocking=False)
            case ast.Compare() if any(_is_seed(side) for side in (node.left, *node.comparators)):
                yield Finding(node.lineno, "L6", "code that depends on which seed was drawn", blocking=False)
            case ast.Subscript(slice=index) if _is_seed(index):
                yield Finding(node.lineno, "L6", "code that depends on which seed was drawn", blocking=False)
            case _:
                pass


def _seed(call: ast.Call, names: Names, values: dict[str, list[ast.expr]]) -> Iterator[Finding]:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    behind = [node for argument in given for node in _behind(argument, names, values, set())]
    if any(_reads_clock(node, names) for node in behind):
        yield Finding(call.lineno, "L6", "a seed from the clock or the memory: the seed is task.facts.seed")
    elif not given:
        yield Finding(call.lineno, "L6", "without a seed no run can be repeated: use task.facts.seed", blocking=False)
    elif not any(_is_seed(node) for node in behind) and any(_is_long_range(node) for node in behind):
        yield Finding(call.lineno, "L6", f"more than {MAX_SEEDS} seeds are tried: that picks a lucky one")
    elif _is_written_down(behind, values):
        yield Finding(call.lineno, "L6", "a seed that is written down, not task.facts.seed", blocking=False)


def _is_long_range(node: ast.AST) -> bool:
    """Return whether an expression counts over more seeds than an ensemble has members."""
    match node:
        case ast.Call(func=ast.Name(id="range"), args=[*_, ast.Constant(value=int(last))]):
            return last > MAX_SEEDS
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return len(elements) > MAX_SEEDS
        case _:
            return False


def _is_written_down(behind: list[ast.AST], values: dict[str, list[ast.expr]]) -> bool:
    """Return whether nothing but constants stands behind a seed."""
    unknown = any(
        isinstance(node, ast.Attribute | ast.Subscript | ast.Call)
        or (isinstance(node, ast.Name) and node.id not in values)
        for node in behind
    )
    return not unknown and any(isinstance(node, ast.Constant) for node in behind)


def _reads_clock(node: ast.AST, names: Names) -> bool:
    if not isinstance(node, ast.Call):
        return False
    of_task = isinstance(node.func, ast.Attribute) and node.func.attr in _TASK_CLOCKS
    return of_task or bool(names.paths(node.func) & _CLOCKS)


def _is_seed(node: ast.AST) -> bool:
    """Return whether an expression is the judge's seed, perhaps modulo something."""
    if isinstance(node, ast.BinOp):
        return _is_seed(node.left)
    return isinstance(node, ast.Attribute) and node.attr == "seed" and "facts" in ast.unparse(node.value)


def _values(names: Names) -> dict[str, list[ast.expr]]:
    """Return what each variable of the file is assigned or looped over, whatever its scope."""
    values: dict[str, list[ast.expr]] = {}
    for node in names.nodes:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name):
                        values.setdefault(target.id, []).append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                values.setdefault(name, []).append(value)
            case (
                ast.For(target=ast.Name(id=name), iter=value)
                | ast.comprehension(target=ast.Name(id=name), iter=value)
                | ast.AugAssign(target=ast.Name(id=name), value=value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
            ):
                values.setdefault(name, []).append(value)
            case _:
                pass
    return values


def _behind(node: ast.expr, names: Names, values: dict[str, list[ast.expr]], seen: set[str]) -> Iterator[ast.AST]:
    """Yield the nodes of an expression, and of what its variables were assigned."""
    for child in names.walk(node):
        yield child
        if isinstance(child, ast.Name) and child.id not in seen:
            seen.add(child.id)
            for value in values.get(child.id, []):
                yield from _behind(value, names, values, seen)
