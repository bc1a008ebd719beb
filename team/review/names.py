"""What the names of a file stand for: `np.load` is `numpy.load` under whatever name numpy was imported.

Names are followed through imports, plain assignments, parameters that are given a module or the task, and attributes
of `self`. What goes through a container, a closure made by a call, or arithmetic on text is not followed.
"""

from __future__ import annotations

import ast
import builtins
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

TASK = "evaluation_locked.client.Task"
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.Module, ast.ClassDef, ast.Lambda, *_FUNCTIONS, *_COMPREHENSIONS)
_GIVES = (ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.Call)
_ROUNDS = 4  # a name that stands for a name that stands for a name


class Names:
    """The scopes of one file and what is known of each name in them.

    Attributes:
        nodes: Every node but contexts such as `ast.Load`, in the order of `ast.walk`.
        parents: The node around each node.
        modules: Dotted paths that `import` statements bound, so that they are known to be modules.
        definitions: Functions of the file by name, methods among them.
        classes: Classes of the file by name.
        own_attributes: Names that the file itself gives to methods, class variables and attributes of `self`.
        text: Module-level names that are assigned once, a string.
    """

    def __init__(self, tree: ast.Module):
        self.tree = tree
        self._children: dict[ast.AST, list[ast.AST]] = {}
        self.nodes = tuple(self.walk(tree))
        self.parents = {child: node for node in self.nodes for child in self._children[node]}
        self.modules: set[str] = set()
        self.definitions: dict[str, list[Function]] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.own_attributes: set[str] = set()
        self.text: dict[str, str] = {}
        self._bound: dict[ast.AST, dict[str, set[str]]] = {n: {} for n in self.nodes if isinstance(n, _SCOPES)}
        self._attributes: dict[str, set[str]] = {}
        self._paths: dict[ast.AST | None, frozenset[str]] | None = None
        self._scopes: dict[ast.AST, ast.AST] = {}
        self._outside = self._evaluated_outside()
        self._globals: dict[ast.AST, set[str]] = {}  # by scope
        for node in self.nodes:
            if isinstance(node, ast.Global):
                self._globals.setdefault(self._scope(node), set()).update(node.names)
        for node in self.nodes:
            self._bind(node)
        given = [node for node in self.nodes if isinstance(node, _GIVES)]
        for _ in range(_ROUNDS):
            for node in given:
                self._follow(node)
        self._paths = {}

    def children(self, node: ast.AST) -> list[ast.AST]:
        """Return the nodes directly below a node, without contexts, in the order of the file."""
        if (known := self._children.get(node)) is None:
            known = self._children[node] = _find_children(node)
        return known

    def walk(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield a node and all below it in the order of `ast.walk`, which takes ten times as long."""
        waiting, known = deque([node]), self._children
        while waiting:
            node = waiting.popleft()
            if below := known[node] if node in known else self.children(node):
                waiting.extend(below)
            yield node

    def paths(self, node: ast.AST | None) -> frozenset[str]:
        """Return the dotted paths that an expression may stand for, such as `numpy.load`; empty where unknown."""
        if self._paths is None:  # what names stand for is still being found out
            return self._find_paths(node)
        if (known := self._paths.get(node)) is None:
            known = self._paths[node] = self._find_paths(node)
        return known

    def _find_paths(self, node: ast.AST | None) -> frozenset[str]:  # noqa: PLR0911 - one case for each kind
        match node:
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.Attribute(value=value, attr=attribute):
                base = self.paths(value)
                return frozenset(f"{path}.{attribute}" for path in base) or frozenset(
                    self._attributes.get(attribute, ())
                )
            case ast.Call(func=ast.Name(id="getattr"), args=[target, name, *_]) if text := self.literal(name):
                return frozenset(f"{path}.{text}" for path in self.paths(target))
            case ast.Call(func=func):
                return frozenset(f"{path}()" for path in self.paths(func) if path.startswith(TASK))
            case ast.IfExp(body=one, orelse=other):
                return self.paths(one) | self.paths(other)
            case ast.BoolOp(values=values):
                return frozenset().union(*map(self.paths, values))
            case ast.NamedExpr(value=value):
                return self.paths(value)
            case _:
                return frozenset()

    def literal(self, node: ast.AST) -> str | None:
        """Return the text that an expression is known to be."""
        match node:
            case ast.Constant(value=str() as text):
                return text
            case ast.Name(id=name):
                return self.text.get(name)
            case _:
                return None

    def is_variable(self, node: ast.expr) -> bool:
        """Return whether a name is a variable of the file, rather than a function, a class, an import or a builtin."""
        if not isinstance(node, ast.Name) or node.id in self.definitions or node.id in self.classes:
            return False
        return self._home(node, node.id) is not None and not self.paths(node)

    def local_functions(self, func: ast.expr) -> list[Function]:
        """Return the functions of this file that a call of `func` may run; a class stands for its `__init__`."""
        match func:
            case ast.Name(id=name) if name in self.classes:
                return [n for n in self.classes[name].body if isinstance(n, _FUNCTIONS) and n.name == "__init__"]
            case ast.Name(id=name):
                return [d for d in self.definitions.get(name, []) if not isinstance(self.parents[d], ast.ClassDef)]
            case ast.Attribute(attr=name):
                return [d for d in self.definitions.get(name, []) if isinstance(self.parents[d], ast.ClassDef)]
            case _:
                return []

    def parameters_of(self, function: Function, call: ast.Call) -> list[tuple[str, ast.expr]]:
        """Return the parameters of a function of the file and what a call gives them, as far as it is plain to see."""
        names = [a.arg for a in [*function.args.posonlyargs, *function.args.args]]
        if isinstance(self.parents[function], ast.ClassDef) and names:
            names = names[1:]
        given = list(zip(names, call.args, strict=False))
        return given + [(k.arg, k.value) for k in call.keywords if k.arg is not None]

    def _name(self, node: ast.AST, name: str) -> frozenset[str]:
        home = self._home(node, name)
        found = frozenset(self._bound[home][name]) if home is not None else frozenset()
        # A binding of a module or a class can be deleted or skipped, and then the builtin shows through.
        if hasattr(builtins, name) and (home is None or isinstance(home, ast.Module | ast.ClassDef)):
            return found | {f"builtins.{name}"}
        return found

    def _scope(self, node: ast.AST) -> ast.AST:
        """Return the scope that `node` is evaluated in."""
        if (known := self._scopes.get(node)) is None:
            known = self._scopes[node] = self._find_scope(node)
        return known

    def _find_scope(self, node: ast.AST) -> ast.AST:
        while True:
            outside = node in self._outside
            node = self.parents.get(node, self.tree)
            while outside and not isinstance(node, _SCOPES):
                node = self.parents[node]
            if isinstance(node, _SCOPES) and not outside:
                return node

    def _home(self, node: ast.AST, name: str) -> ast.AST | None:
        scope, first = self._scope(node), True
        while True:
            if name in self._bound[scope] and (first or not isinstance(scope, ast.ClassDef)):
                return scope
            if isinstance(scope, ast.Module):
                return None
            scope, first = self._scope(scope), False

    def _evaluated_outside(self) -> set[ast.AST]:
        """Return the nodes below a scope that are evaluated in the scope around it, such as defaults."""
        outside: set[ast.AST] = set()
        for node in self.nodes:
            match node:
                case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args) | ast.Lambda(args=args):
                    outside.update(args.defaults)
                    outside.update(d for d in args.kw_defaults if d is not None)
                    outside.update(a.annotation for a in self.walk(args) if isinstance(a, ast.arg) and a.annotation)
                    outside.update(getattr(node, "decorator_list", []))
                case ast.ClassDef():
                    outside.update([*node.bases, *node.decorator_list, *(k.value for k in node.keywords)])
                case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                    outside.add(node.generators[0].iter)
                case _:
                    pass
        return outside

    def _bind(self, node: ast.AST) -> None:  # noqa: PLR0912 - one case for each kind
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                scope = self._scope(node)
                while isinstance(scope, _COMPREHENSIONS) and isinstance(self.parents[node], ast.NamedExpr):
                    scope = self._scope(scope)
                self._put(scope, name)
            case ast.arg(arg=name):
                self._put(self._scope(node), name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self.definitions.setdefault(name, []).append(node)
                self._put(self._scope(node), name)
                self._own(node, name)
            case ast.ClassDef(name=name):
                self.classes[name] = node
                self._put(self._scope(node), name)
            case ast.Import(names=aliases):
                for alias in aliases:
                    whole = alias.name if alias.asname else alias.name.split(".")[0]
                    self.modules.update((whole, alias.name))
                    self._put(self._scope(node), alias.asname or whole, whole)
            case ast.ImportFrom(module=module, names=aliases):
                for alias in aliases:
                    self._put(self._scope(node), alias.asname or alias.name, f"{module or ''}.{alias.name}")
            case ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name):
                self._put(self._scope(node), name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                self.own_attributes.add(name)
            case _:
                pass
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self._own(self.parents[node], node.id)

    def _own(self, node: ast.AST, name: str) -> None:
        if isinstance(self.parents.get(node), ast.ClassDef):
            self.own_attributes.add(name)

    def _put(self, scope: ast.AST, name: str, path: str | None = None) -> None:
        if name in self._globals.get(scope, ()):
            scope = self.tree
        self._bound[scope].setdefault(name, set()).update([path] if path else [])

    def _follow(self, node: ast.AST) -> None:
        """Carry what is known of a value to what it is assigned to."""
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._give(target, value)
                if isinstance(self.parents[node], ast.Module) and isinstance(targets[0], ast.Name):
                    self._remember_text(targets[0].id, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._give(target, value)
            case ast.NamedExpr(target=target, value=value):
                self._give(target, value)
            case ast.Call(func=func):
                for function in self.local_functions(func):
                    for name, value in self.parameters_of(function, node):
                        if name in self._bound[function]:
                            self._bound[function][name].update(self.paths(value))
            case _:
                pass

    def _remember_text(self, name: str, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            self.text[name] = value.value

    def _give(self, target: ast.expr, value: ast.expr) -> None:
        match target, value:
            case (ast.Tuple(elts=targets), ast.Tuple(elts=values)) if len(targets) == len(values):
                for one, other in zip(targets, values, strict=True):
                    self._give(one, other)
            case (ast.Name(id=name), _) if (home := self._home(target, name)) is not None:
                self._bound[home][name].update(path for path in self.paths(value) if path.count(".") < 9)
            case (ast.Attribute(value=ast.Name(id="self"), attr=name), _) if found := self.paths(value):
                self._attributes.setdefault(name, set()).update(found)
            case _:
                pass


def _find_children(node: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for name in node._fields:
        held = getattr(node, name, None)
        if isinstance(held, list):
            found += [one for one in held if isinstance(one, ast.AST)]
        elif isinstance(held, ast.AST) and name != "ctx":
            found.append(held)
    return found
