"""What reaches past the task client: imports (L1), files and code as text (L2), processes and the interpreter (L3)."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from team.review.finding import Finding
from team.review.names import TASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from team.review.names import Names

ALLOWED_IMPORTS = frozenset(
    "__future__ abc bisect cmath collections contextlib copy dataclasses enum fractions functools gc hashlib heapq "
    "itertools json math numbers numpy operator random re statistics string textwrap time torch torch_geometric types "
    "typing typing_extensions warnings weakref".split()
)
JUDGE_MODULES = frozenset(
    f"evaluation_locked.{name}" for name in ("client", "crystals", "elements", "folding", "neighbours")
)

# The longest prefix of a dotted path decides; "" allows what a shorter one forbids.
PATHS = {
    path: code
    for code, paths in {
        "L2": "builtins.open builtins.exec builtins.eval builtins.compile builtins.__import__ builtins.input "
        "builtins.breakpoint builtins.help numpy.lib numpy.core numpy._core numpy.DataSource numpy.fromregex "
        "numpy.f2py numpy.testing numpy.ctypeslib numpy.loadtxt numpy.genfromtxt numpy.savetxt numpy.savez "
        "numpy.savez_compressed torch.hub torch.package torch.serialization torch.onnx "
        "torch.ops.load_library torch.classes torch.utils.cpp_extension torch.utils.model_zoo torch.utils.tensorboard "
        "torch.utils.dlpack torch.UntypedStorage torch.TypedStorage torch.storage torch.library torch_geometric.io "
        "torch_geometric.datasets torch_geometric.graphgym torch_geometric.data.download_url "
        "torch_geometric.data.InMemoryDataset torch_geometric.data.Dataset torch_geometric.data.OnDiskDataset "
        "torch_geometric.data.Database torch_geometric.data.SQLiteDatabase",
        "L3": "builtins.globals builtins.locals builtins.vars builtins.memoryview builtins.delattr torch._C "
        "torch.multiprocessing torch.distributed torch.cuda.nccl torch.utils.data.get_worker_info gc.get_objects "
        "gc.get_referrers gc.get_referents gc.callbacks time.clock_settime "
        "time.clock_settime_ns time.tzset types.FunctionType types.CodeType types.ModuleType "
        "types.FrameType types.LambdaType types.MethodType evaluation_locked.client",
        "": "numpy.lib.stride_tricks evaluation_locked.client.Task evaluation_locked.client.TaskFacts "
        "evaluation_locked.client.ProtocolError torch.serialization.add_safe_globals",
    }.items()
    for path in paths.split()
}
# Modules that can be reached through another one, such as `torch.os`.
THROUGH = frozenset(
    "os _os sys _sys subprocess ctypes socket builtins importlib pickle inspect io shutil pathlib tempfile threading "
    "multiprocessing mmap glob zipfile urllib requests platform linecache atexit asyncio ThreadPoolExecutor "
    "concurrent".split()
)
FILE_METHODS = frozenset(
    "open load save dump tofile fromfile from_file memmap open_memmap read_text write_text read_bytes write_bytes "
    "load_library load_state_dict_from_url from_qm9_pretrained export_chrome_trace".split()
)
FRAMES = frozenset(
    "f_back f_globals f_locals f_builtins f_code gi_frame gi_code cr_frame ag_frame tb_frame tb_next _getframe "
    "ctypes get_objects get_referrers _channel _to_predict __self__".split()
)
PLAIN_DUNDERS = frozenset(
    "__init__ __name__ __qualname__ __class__ __doc__ __len__ __getitem__ __setitem__ __iter__ __next__ __call__ "
    "__enter__ __exit__ __post_init__ __repr__ __str__ __version__ __new__ __hash__ __eq__ __lt__ __contains__ "
    "__add__ __mul__ __setattr__ __init_subclass__ __torch_function__ __annotations__ __main__ __all__".split()
)
WRITABLE = ("torch.backends.", "torch._dynamo.config.", "torch._inductor.config.")
SUBMODULES = frozenset(
    "torch.nn torch.nn.functional torch.optim torch.utils torch.jit torch.cuda torch.backends torch.autograd "
    "numpy.random numpy.linalg".split()
).union(JUDGE_MODULES)
WHY = {
    "L2": "reads or writes past the task client, or runs text as code",
    "L3": "reaches the interpreter, other processes or the client's inside",
}


def findings(names: Names) -> Iterator[Finding]:
    """Yield what the file reaches for beside numpy, torch, torch_geometric and the task client."""
    for node in names.nodes:
        match node:
            case ast.Import(names=aliases):
                for alias in aliases:
                    yield from _import(node.lineno, alias.name)
            case ast.ImportFrom():
                yield from _import_from(node)
            case ast.Attribute():
                yield from _attribute(node, names)
            case ast.Name(id=name, ctx=ast.Load()):
                yield from _name(node, name, names)
            case ast.Call():
                yield from _call(node, names)
            case ast.ClassDef(bases=bases) if any(TASK in names.paths(base) for base in bases):
                yield Finding(node.lineno, "L3", "a subclass of Task: the client is used as it is")
            case _:
                pass


def _import(line: int, module: str) -> Iterator[Finding]:
    top = module.split(".", maxsplit=1)[0]
    if not (module in JUDGE_MODULES if top == "evaluation_locked" else top in ALLOWED_IMPORTS):
        allowed = "a trial imports numpy, torch, torch_geometric, the task client and plain standard modules"
        yield Finding(line, "L1", f"import of {module!r}: {allowed}")
    elif reason := _refused(module, "import of "):
        yield Finding(line, *reason)


def _import_from(node: ast.ImportFrom) -> Iterator[Finding]:
    module = "." * node.level + (node.module or "")
    for alias in node.names:
        path = f"{module}.{alias.name}"
        wrong = list(_import(node.lineno, path if module == "evaluation_locked" else module))
        if alias.name == "*":
            yield Finding(node.lineno, "L1", f"from {module} import *: name what is used, so that it can be followed")
        elif node.level:
            yield Finding(node.lineno, "L1", f"import of {path!r}: train.py is one file")
        elif not wrong and (reason := _refused(path, "import of ")):
            yield Finding(node.lineno, *reason)
        yield from wrong


def _refused(path: str, what: str = "") -> tuple[str, str] | None:
    """Return code and reason where a dotted path is one that a trial must not touch."""
    parts = path.removesuffix("()").split(".")
    for length in range(len(parts), 0, -1):
        code = PATHS.get(".".join(parts[:length]))
        if code == "":
            break
        if code is not None and path not in JUDGE_MODULES:
            return code, f"{what}{path}: it {WHY[code]}"
    if len(parts) > 1 and any(part in THROUGH for part in parts[1:]):
        return "L3", f"{what}{path}: a module that is reached through another one"
    if len(parts) > 1 and parts[-1] in FILE_METHODS and not path.startswith(TASK):
        return "L2", f"{what}{path}: it {WHY['L2']}"
    if path.startswith(TASK) and any(part.startswith("_") for part in parts[3:]):
        return "L3", f"{what}{path}: the client's inside is not the trial's"
    return None


def _attribute(node: ast.Attribute, names: Names) -> Iterator[Finding]:
    name, paths = node.attr, names.paths(node)
    if isinstance(node.ctx, ast.Store | ast.Del):
        for path in paths:
            if not path.startswith(WRITABLE) and names.paths(node.value):
                yield Finding(node.lineno, "L3", f"a write to {path}: what is imported and the task stay as they are")
    if name.startswith("__") and name not in PLAIN_DUNDERS and not _is_own(node, names):
        yield Finding(node.lineno, "L3", f".{name} reaches behind an object")
    elif name == "__setattr__" and not _sets_itself(node, names):
        yield Finding(node.lineno, "L3", ".__setattr__ of something else than self")
    elif name in FRAMES and not (name in names.own_attributes and not name.startswith("_")):
        yield Finding(node.lineno, "L3", f".{name} reaches frames, memory or the client's inside")
    elif not paths and name in FILE_METHODS and name not in names.own_attributes:
        yield Finding(node.lineno, "L2", f".{name}: it {WHY['L2']}")
    above = names.parents[node]
    if not (isinstance(above, ast.Attribute) and names.paths(above)):
        for path in sorted(paths):
            if reason := _refused(path):
                yield Finding(node.lineno, *reason)
            elif path in names.modules | SUBMODULES:
                yield from _as_value(node, path, names)


def _is_own(node: ast.Attribute, names: Names) -> bool:
    """Return whether this is a private name of the class, or the dictionary of `self`."""
    is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
    return is_self and (node.attr == "__dict__" or (not node.attr.endswith("__") and node.attr in names.own_attributes))


def _sets_itself(node: ast.Attribute, names: Names) -> bool:
    call = names.parents[node]
    is_super = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super"
    first = call.args[0] if isinstance(call, ast.Call) and call.args else None
    return is_super or (isinstance(first, ast.Name) and first.id == "self")


def _name(node: ast.Name, name: str, names: Names) -> Iterator[Finding]:
    if name.startswith("__") and name.endswith("__") and name not in PLAIN_DUNDERS | {"__debug__"}:
        yield Finding(node.lineno, "L2" if name == "__import__" else "L3", f"{name} reaches the interpreter")
        return
    if isinstance(names.parents[node], ast.Attribute):
        return
    for path in sorted(names.paths(node)):
        if reason := _refused(path):
            yield Finding(node.lineno, *reason)
        elif path in names.modules | SUBMODULES:
            yield from _as_value(node, path, names)


def _as_value(node: ast.expr, path: str, names: Names) -> Iterator[Finding]:
    """Yield a finding where a module is handed on as a value, so that its use cannot be followed."""
    above = names.parents[node]
    while isinstance(above, ast.Tuple | ast.NamedExpr | ast.IfExp | ast.BoolOp):
        above = names.parents[above]
    match above:
        case ast.Assign(targets=targets) if all(isinstance(t, ast.Name | ast.Tuple) for t in targets):
            followed = not isinstance(names.parents[above], ast.ClassDef)
        case ast.Attribute() | ast.AnnAssign():
            followed = True
        case ast.Call(func=ast.Name(id="hasattr" | "getattr" | "isinstance" | "setattr")):
            followed = True
        case _:
            followed = False
    if not followed:
        yield Finding(node.lineno, "L3", f"the module {path} handed on as a value: what is done with it cannot be read")


def _call(node: ast.Call, names: Names) -> Iterator[Finding]:
    function = names.paths(node.func)
    match node:
        case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr" as name), args=[target, attribute, *_]):
            yield from _named_attribute(node, name, target, attribute, names)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str() as text), attr="format")) if ".__" in text:
            yield Finding(node.lineno, "L3", "a format text that reads dunder attributes")
        case _:
            pass
    if function & {"operator.attrgetter", "operator.methodcaller"}:
        asked = [names.literal(argument) for argument in node.args]
        if any(
            text is None or not _plain(text) for text in asked[:1] + asked[1:] * ("operator.attrgetter" in function)
        ):
            yield Finding(node.lineno, "L3", "an attribute by a name that cannot be read, or not a plain one")
    for keyword in node.keywords:
        no_workers = isinstance(keyword.value, ast.Constant) and keyword.value.value == 0
        if keyword.arg == "num_workers" and not no_workers:
            yield Finding(node.lineno, "L3", "num_workers starts processes: batches are made in this one")


def _plain(text: str) -> bool:
    return not any(part.startswith("_") or part in FILE_METHODS | FRAMES | THROUGH for part in text.split("."))


def _named_attribute(
    node: ast.Call, name: str, target: ast.expr, attribute: ast.expr, names: Names
) -> Iterator[Finding]:
    """Yield what `getattr` and `setattr` reach for; a text that begins plainly, such as f"layer{i}", is plain."""
    text, paths = names.literal(attribute), names.paths(target)
    begins = next(ast.walk(attribute), None)
    if isinstance(begins, ast.JoinedStr) and begins.values:
        begins = begins.values[0]
    elif isinstance(begins, ast.BinOp):
        begins = begins.left
    start = text if text is not None else (names.literal(begins) if begins is not attribute and begins else None)
    if name == "hasattr":
        return
    if name == "setattr":
        if paths:
            where = sorted(paths)[0]
            yield Finding(node.lineno, "L3", f"setattr on {where}: what is imported and the task stay as they are")
        elif start is not None and start.startswith("__"):
            yield Finding(node.lineno, "L3", f"setattr of {start!r}")
    elif text is not None:
        if not paths and not _plain(text) and not (text in names.own_attributes and not text.startswith("__")):
            yield Finding(node.lineno, "L3", f"getattr of {text!r}: it reaches past the task client")
        for path in sorted(paths):
            if text.startswith("__"):
                yield Finding(node.lineno, "L3", f"getattr of {text!r}")
            elif reason := _refused(f"{path}.{text}"):
                yield Finding(node.lineno, *reason)
    elif paths or start is None or start.startswith("_"):
        yield Finding(node.lineno, "L3", "getattr with a name that cannot be read: write the attribute out")
