"""Where the predicted crystals flow (L5): each is predicted by itself, as if it were the only one.

What comes from `finish_training()`, or to the function of `predict()`, is followed through assignments and through
the functions of the file. A mean, a deviation, a quantile or a second moment over its first axis mixes crystals, and so
does batch norm without its running averages. Fine are: an axis within a crystal, a crystal at a time in a loop, the
first axis of what was stacked (members of an ensemble), what stands under `if self.training` or is only printed, and
statistics kept from the training crystals.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from team.review.finding import Finding
from team.review.frame import Frame, text_of
from team.review.names import TASK, Function

if TYPE_CHECKING:
    from collections.abc import Iterator

    from team.review.names import Names

_STATISTICS = frozenset(
    "mean std var median quantile percentile nanmean nanstd nanvar nanmedian nanquantile average std_mean var_mean "
    "aminmax".split()
)
_ALWAYS = frozenset("lstsq polyfit cov corrcoef pca_lowrank svd_lowrank".split())
_RANKS = frozenset("argsort sort topk kthvalue histogram searchsorted".split())
_EXTREMES = frozenset("min max amin amax nanmin nanmax norm ptp".split())
_QUANTILES = frozenset("quantile percentile nanquantile".split())
_STACKS = frozenset("stack array asarray zeros empty zeros_like empty_like".split())
_KEEPS = frozenset("len print range isinstance type id hasattr".split())
_SOURCE = "finish_training"


def findings(names: Names) -> Iterator[Finding]:
    """Yield where predicted crystals are compared with each other."""
    flow = _Flow(names)
    flow.run(names.tree.body, Frame())
    yield from flow.found
    for node in names.nodes:
        match node:
            case ast.Call(keywords=keywords):
                given = {k.arg: k.value.value for k in keywords if isinstance(k.value, ast.Constant)}
                if given.get("track_running_stats") is False:
                    yield Finding(node.lineno, "L5", "batch norm without running averages mixes the predicted crystals")
                elif any(path.endswith(".batch_norm") for path in names.paths(node.func)) and given.get("training"):
                    yield Finding(node.lineno, "L5", "batch norm that always trains mixes the predicted crystals")
            case ast.Attribute(attr="track_running_stats", ctx=ast.Store()):
                yield Finding(node.lineno, "L5", "batch norm without running averages mixes the predicted crystals")
            case _:
                pass


class _Flow:
    """Runs the file over what is known of its values: once from the top, and into functions that get crystals."""

    def __init__(self, names: Names):
        self.names = names
        self.found: list[Finding] = []
        self._done: dict[object, bool] = {}
        self._batch_loops = 0
        self._submitted = {
            argument.id
            for node in names.nodes
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "submit"
            for argument in node.args
            if isinstance(argument, ast.Name)
        }
        self._finishers = {
            node
            for functions in names.definitions.values()
            for node in functions
            if any(isinstance(n, ast.Attribute) and (n.attr == _SOURCE or self._predicts(n)) for n in names.walk(node))
        }
        calls = {
            node: {f for n in names.walk(node) if isinstance(n, ast.Call) for f in names.local_functions(n.func)}
            for functions in names.definitions.values()
            for node in functions
        }
        while more := {node for node, called in calls.items() if called & self._finishers} - self._finishers:
            self._finishers |= more  # whoever calls one of them is one

    def run(self, body: list[ast.stmt], frame: Frame) -> None:
        """Read statements in order."""
        for statement in body:
            self._statement(statement, frame)

    def _statement(self, node: ast.stmt, frame: Frame) -> None:  # noqa: PLR0912 - one case for each kind
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                pass
            case ast.ClassDef(body=body):
                self.run(body, frame)
            case ast.Assign(targets=targets, value=value):
                self._assign(targets, value, frame)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign([target], value, frame)
            case ast.AugAssign(target=target, op=op, value=value):
                both = ast.copy_location(ast.BinOp(target, op, value), node)
                if self._value(both, frame):
                    self._mark(target, frame)
            case ast.Return(value=value):
                frame.returns = (value is not None and self._value(value, frame)) or frame.returns
            case ast.If(test=test, body=body, orelse=orelse):
                self._value(test, frame)
                taken = self._taken(test, frame)
                self.run(body if taken is not False else [], frame)
                self.run(orelse if taken is not True else [], frame)
            case ast.For(target=target, iter=values, body=body, orelse=orelse):
                self._loop(target, values, frame)
                self.run([*body, *body, *orelse], frame)  # twice: what one round leaves, the next one meets
            case _:
                for child in self.names.children(node):
                    if isinstance(child, ast.stmt):
                        self._statement(child, frame)
                    elif isinstance(child, ast.withitem):
                        mixed = self._value(child.context_expr, frame)
                        if mixed and child.optional_vars is not None:
                            self._mark(child.optional_vars, frame)
                    elif isinstance(child, ast.ExceptHandler | ast.match_case):
                        self.run(child.body, frame)
                    elif isinstance(child, ast.expr):
                        self._value(child, frame)

    def _assign(self, targets: list[ast.expr], value: ast.expr, frame: Frame) -> None:
        mixed = self._value(value, frame)
        for target in targets:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
                for one, other in zip(target.elts, value.elts, strict=True):
                    self._assign([one], other, frame)
                continue
            text = text_of(target)
            if isinstance(target, ast.Name):
                frame.mixed.discard(text)
                frame.stacked.discard(text)
                frame.single.discard(text)
                frame.constants.pop(text, None)
            if mixed:
                self._mark(target, frame)
            if self._is_stacked(value, frame):
                frame.stacked.add(text)
            if self._is_single(value, frame):
                frame.single.update(n.id for n in self.names.walk(target) if isinstance(n, ast.Name))

    def _mark(self, target: ast.expr, frame: Frame) -> None:
        match target:
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self._mark(element, frame)
            case ast.Starred(value=value) | ast.Subscript(value=value):
                self._mark(value, frame)
            case _:
                frame.mixed.add(text_of(target))

    def _loop(self, target: ast.expr, values: ast.expr, frame: Frame) -> None:
        if self._value(values, frame):
            self._mark(target, frame)
        names = {n.id for n in self.names.walk(target) if isinstance(n, ast.Name)}
        text = text_of(values)
        in_batches = any(word in text for word in ("split(", "chunk(", "batch", "Loader"))
        if text.startswith(("range(", "enumerate(")):
            frame.counters |= names
        if not in_batches and self._value(values, frame) and not self._is_stacked(values, frame):
            frame.single |= names

    def _value(self, node: ast.AST, frame: Frame) -> bool:  # noqa: PLR0911 - one case for each kind
        """Return whether an expression holds predicted crystals; what is wrong in it is noted on the way."""
        match node:
            case ast.Constant() | ast.Lambda():
                return False
            case ast.Name() | ast.Attribute() if frame.holds(node):
                return True
            case ast.JoinedStr():
                return False  # a text is no prediction
            case ast.Call(func=ast.Name(id="print")):
                return False
            case ast.Call():
                return self._call(node, frame)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                taken = self._taken(test, frame)
                branches = [b for b, skip in ((body, taken is False), (orelse, taken is True)) if not skip]
                return any([self._value(part, frame) for part in branches])
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                for generator in node.generators:
                    self._loop(generator.target, generator.iter, frame)
                parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
                return any([self._value(part, frame) for part in parts])
            case ast.BinOp(left=left, op=op, right=right):
                mixed = any([self._value(left, frame), self._value(right, frame)])
                if mixed:
                    self._arithmetic(left, op, right, frame)
                return mixed
            case ast.NamedExpr(target=target, value=value):
                self._assign([target], value, frame)
                return self._value(target, frame)
            case _:
                return any([self._value(child, frame) for child in self.names.children(node)])

    def _call(self, call: ast.Call, frame: Frame) -> bool:
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        given = [self._value(argument, frame) for argument in arguments]
        method = isinstance(call.func, ast.Attribute)
        on = isinstance(call.func, ast.Attribute) and self._value(call.func.value, frame)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else text_of(call.func)
        if name == _SOURCE and method:
            return True
        if self._predicts(call.func):
            for argument in call.args:
                self._asked(argument, frame)
            return False
        if not method and name in _KEEPS:
            return False
        if name in ("append", "extend", "add_", "copy_") and any(given) and isinstance(call.func, ast.Attribute):
            self._mark(call.func.value, frame)
        if on or any(given):
            self._statistic(call, name, on=on, frame=frame)
        functions = self.names.local_functions(call.func)
        if not functions and (on or any(given)) and not self.names.paths(call.func):
            is_model = self.names.is_variable(call.func) or text_of(call.func).startswith("self.")
            functions = self.names.definitions.get("forward", []) if is_model else []
        inner = [
            self._enter(function, call, on=on, frame=frame)
            for function in functions
            if on or any(given) or function in self._finishers
        ]
        return on or any(given) or any(inner)

    def _enter(self, function: Function, call: ast.Call, *, on: bool, frame: Frame) -> bool:
        """Read a function with what a call gives it, and return whether its result holds predicted crystals."""
        inner = Frame()
        plain = [*function.args.posonlyargs, *function.args.args]
        defaults = zip(plain[len(plain) - len(function.args.defaults) :], function.args.defaults, strict=True)
        keyword_defaults = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        for argument, default in [*defaults, *keyword_defaults]:
            if isinstance(default, ast.Constant):
                inner.constants[argument.arg] = default.value
        for name, value in self.names.parameters_of(function, call):
            inner.constants.pop(name, None)
            if isinstance(value, ast.Constant):
                inner.constants[name] = value.value
            elif isinstance(value, ast.Name) and value.id in frame.constants:
                inner.constants[name] = frame.constants[value.id]
            if self._value(value, frame):
                inner.mixed.add(name)
            if self._is_single(value, frame):
                inner.single.add(name)
            if self._is_stacked(value, frame):
                inner.stacked.add(name)
        if on and plain:
            inner.mixed.add(plain[0].arg)
        return self._read(function, inner)

    def _predicts(self, function: ast.expr) -> bool:
        """Return whether this is `task.predict`, which asks a function for the predictions."""
        return any(path.startswith(TASK) and path.endswith(".predict") for path in self.names.paths(function))

    def _asked(self, argument: ast.expr, frame: Frame) -> None:
        """Read a function that `task.predict` calls with the predicted crystals."""
        given = 0
        if isinstance(argument, ast.Call) and argument.args:  # functools.partial
            given = len(argument.args) - 1
            argument = argument.args[0]
        match argument:
            case ast.Lambda(args=parameters, body=body):
                frame.mixed.update(a.arg for a in parameters.args[given:])
                self._value(body, frame)
                return
            case _:
                pass
        for function in self.names.local_functions(argument):
            given += isinstance(self.names.parents[function], ast.ClassDef)
            plain = [*function.args.posonlyargs, *function.args.args]
            self._submitted |= {
                n.value.id
                for n in self.names.walk(function)
                if isinstance(n, ast.Return) and isinstance(n.value, ast.Name)
            }
            self._read(function, Frame(mixed={a.arg for a in plain[given : given + 1]}))

    def _read(self, function: Function, inner: Frame) -> bool:
        """Read the body of a function once for each thing that is known at its start."""
        state = (frozenset(inner.mixed), frozenset(inner.single), frozenset(inner.stacked))
        key = (function, state, repr(sorted(inner.constants.items(), key=str)))
        if key not in self._done:
            self._done[key] = bool(inner.mixed)  # for a function that calls itself
            self.run(function.body, inner)
            self._done[key] = inner.returns
        return self._done[key]

    def _taken(self, test: ast.expr, frame: Frame) -> bool | None:  # noqa: PLR0911 - one case for each kind
        """Return which way a condition goes while predicting, None where it cannot be read."""
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                taken = self._taken(operand, frame)
                return None if taken is None else not taken
            case ast.Attribute(attr="training"):
                return False
            case ast.Name(id=name) if name in frame.constants:
                return bool(frame.constants[name])
            case ast.Compare(left=ast.Name(id=name), ops=[ast.Is() | ast.IsNot() as op], comparators=[right]):
                if isinstance(right, ast.Constant) and right.value is None and self._is_parameter(test, name):
                    is_none = name in frame.constants and frame.constants[name] is None
                    return is_none if isinstance(op, ast.Is) else not is_none
                return None
            case ast.BoolOp(op=op, values=values):
                ways = [self._taken(value, frame) for value in values]
                decided = isinstance(op, ast.Or)
                return decided if decided in ways else None
            case _:
                return None

    def _is_parameter(self, node: ast.AST, name: str) -> bool:
        while not isinstance(node, ast.FunctionDef | ast.Module):
            node = self.names.parents[node]
        return isinstance(node, ast.FunctionDef) and any(
            isinstance(a, ast.arg) and a.arg == name for a in self.names.walk(node.args)
        )

    def _statistic(self, call: ast.Call, name: str, *, on: bool, frame: Frame) -> None:
        of_module = bool(self.names.paths(call.func))
        if of_module and not call.args:
            return
        if not of_module and not on:
            return
        data = call.args[0] if of_module else call.func.value  # type: ignore[attr-defined]
        rest = call.args[1:] if of_module else call.args
        if not self._value(data, frame) or self._is_single(data, frame):
            return
        if name in _RANKS and isinstance(data, ast.Name) and data.id in self._submitted:
            self._note(call, f"{name}() ranks the predictions of all crystals")
        elif name in _ALWAYS:
            self._note(call, f"{name}() mixes the predicted crystals")
        elif name in _STATISTICS and self._mixes(call, rest[name in _QUANTILES :], data, frame):
            self._note(call, f"{name}() over the predicted crystals: keep the training crystals' own")

    def _arithmetic(self, left: ast.expr, op: ast.operator, right: ast.expr, frame: Frame) -> None:
        if isinstance(op, ast.Sub | ast.Div):
            for side in (left, right):
                if not isinstance(side, ast.Call) or not isinstance(side.func, ast.Attribute):
                    continue
                function, above = side.func, self.names.parents.get(self.names.parents.get(side, side))
                if function.attr not in _EXTREMES or (isinstance(above, ast.Call) and "exp" in text_of(above.func)):
                    continue
                module = bool(self.names.paths(function))
                data = side.args[0] if module and side.args else function.value
                rest = side.args[1:] if module else side.args
                alone = not self._value(data, frame) or self._is_single(data, frame)
                if not alone and self._mixes(side, rest, data, frame):
                    self._note(side, f"{function.attr}() over the predicted crystals: keep the training crystals'")
        elif isinstance(op, ast.MatMult):
            turned = isinstance(left, ast.Attribute) and left.attr == "T"
            turned = turned or (isinstance(left, ast.Call) and text_of(left.func).endswith(".t"))
            if turned and self._value(left, frame) and not self._is_single(left, frame):
                self._note(left, "a product that sums over the predicted crystals")

    def _mixes(self, call: ast.Call, rest: list[ast.expr], data: ast.expr, frame: Frame) -> bool:
        """Return whether a statistic runs over the first axis."""
        axis = next((k.value for k in call.keywords if k.arg in ("dim", "axis")), rest[0] if rest else None)
        if axis is None or (isinstance(axis, ast.Constant) and axis.value is None):
            return True
        axes = axis.elts if isinstance(axis, ast.Tuple | ast.List) else [axis]
        over_first = any(isinstance(a, ast.Constant) and a.value == 0 for a in axes)
        return over_first and not self._is_stacked(data, frame)

    def _is_stacked(self, node: ast.expr, frame: Frame) -> bool:
        """Return whether the first axis of a value counts parts that the file put together, not crystals."""
        match node:
            case ast.List() | ast.ListComp() | ast.Tuple():
                return True
            case ast.Name() | ast.Attribute() if text_of(node) in frame.stacked:
                return True
            case ast.Call(func=ast.Attribute(attr=name)) if name in _STACKS and self.names.paths(node.func):
                return True
            case ast.Call(func=ast.Attribute(value=value)):
                return self._is_stacked(value, frame)
            case _:
                return False

    def _is_single(self, node: ast.expr, frame: Frame) -> bool:
        """Return whether a value belongs to one crystal of a loop over crystals."""
        for child in self.names.walk(node):
            if isinstance(child, ast.Name) and child.id in frame.single:
                return True
            if isinstance(child, ast.Subscript) and frame.holds(child.value):
                index = child.slice.elts[0] if isinstance(child.slice, ast.Tuple) else child.slice
                if any(isinstance(n, ast.Name) and n.id in frame.counters for n in self.names.walk(index)):
                    return True
        return False

    def _note(self, node: ast.expr, reason: str) -> None:
        self.found.append(Finding(node.lineno, "L5", reason))
