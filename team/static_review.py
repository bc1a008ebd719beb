"""Findings in the text of a train.py: what reaches past the task client, each with a code, a line and a reason."""

from __future__ import annotations

import ast
from dataclasses import dataclass

ALLOWED_IMPORTS = frozenset(
    "__future__ abc bisect collections contextlib copy dataclasses enum functools heapq itertools math numbers numpy "
    "operator random statistics string time torch torch_geometric typing warnings".split()
)
ALLOWED_FROM_JUDGE = frozenset(
    {"evaluation_locked.client", "evaluation_locked.crystals", "evaluation_locked.neighbours"}
)
FORBIDDEN_CALLS = frozenset("open exec eval compile __import__ input breakpoint globals locals vars memoryview".split())
FORBIDDEN_ATTRIBUTES = frozenset(
    "load fromfile memmap loadtxt genfromtxt tofile savetxt save savez hub load_state_dict_from_url cpp_extension "
    "__subclasses__ __globals__ __builtins__ __code__ __loader__ __spec__ f_back f_globals gi_frame _channel".split()
)
PROTOCOL = ("open", "start_training", "finish_training", "submit")
MAX_LITERAL_ELEMENTS = 2000
MAX_STRING = 20_000


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that a train.py must not hold.

    Attributes:
        line: Where, 1-based.
        code: Kind of finding, such as `L1`.
        reason: What was found, and why it is not allowed.
    """

    line: int
    code: str
    reason: str

    def __str__(self) -> str:
        return f"{self.code} line {self.line}: {self.reason}"


def findings(source: str) -> tuple[Finding, ...]:
    """Return what a trial's file must not hold, in the order of its lines; empty where nothing was found."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return (Finding(error.lineno or 0, "S0", f"the file does not parse: {error.msg}"),)
    found: list[Finding] = []
    called: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [_import(node.lineno, name.name) for name in names if not _allowed(name.name)]
            case ast.ImportFrom(module=module, names=names, level=level):
                wanted = "." * level + (module or "")
                full = [f"{wanted}.{name.name}" for name in names] if wanted == "evaluation_locked" else [wanted]
                found += [_import(node.lineno, name) for name in full if level or not _allowed(name)]
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                found.append(Finding(node.lineno, "L2", f"{name}() reaches past the task client"))
            case ast.Attribute(attr=attribute):
                called.add(attribute)
                if attribute in FORBIDDEN_ATTRIBUTES:
                    found.append(Finding(node.lineno, "L3", f".{attribute} reads, writes or reaches behind the task"))
            case ast.List() | ast.Tuple() | ast.Dict() | ast.Set():
                size = sum(isinstance(child, ast.Constant) for child in ast.walk(node))
                if size > MAX_LITERAL_ELEMENTS:
                    reason = (
                        f"a literal of {size} constants may be a table of answers; {MAX_LITERAL_ELEMENTS} are allowed"
                    )
                    found.append(Finding(node.lineno, "L4", reason))
            case ast.Constant(value=str() | bytes() as text) if len(text) > MAX_STRING:
                found.append(
                    Finding(node.lineno, "L4", f"a literal of {len(text)} characters may be a table of answers")
                )
            case _:
                pass
    missing = [name for name in PROTOCOL if name not in called]
    if missing:
        found.append(Finding(1, "P1", f"the file never calls {', '.join(missing)}: a trial needs all of the protocol"))
    return tuple(sorted(set(found)))


def _allowed(module: str) -> bool:
    top = module.split(".", maxsplit=1)[0]
    return module in ALLOWED_FROM_JUDGE if top == "evaluation_locked" else top in ALLOWED_IMPORTS


def _import(line: int, module: str) -> Finding:
    return Finding(
        line, "L1", f"import of {module!r}: a trial imports numpy, torch, torch_geometric and the task client"
    )
