"""The order in which a file calls the task (L7), what it trains before and after (L5, L7), and what it swallows (L8).

The file is read as it would run: from the top, into the functions it calls, both branches of an `if`, a loop once.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from team.review.finding import Finding
from team.review.names import TASK, Function

if TYPE_CHECKING:
    from collections.abc import Iterator

    from team.review.names import Names

PROTOCOL = ("open", "start_training", "finish_training", "submit")
_BROAD = frozenset({"builtins.BaseException", "builtins.Exception"})


@dataclass(frozen=True)
class Event:
    """What matters to the protocol: a call of `PROTOCOL`, or step, gradient, train, eval, update_bn, timed, forward."""

    kind: str
    line: int
    in_loop: bool = False


class Calls:
    """The events of a file, in the order in which they would happen."""

    def __init__(self, names: Names):
        self.names = names
        self._known: dict[Function, tuple[Event, ...]] = {}
        self._open: set[Function] = set()

    def of(self, *nodes: ast.AST, in_loop: bool = False) -> list[Event]:
        """Return the events of statements and expressions, and of the functions they call."""
        return [event for node in nodes for event in self._visit(node, in_loop)]

    def _visit(self, node: ast.AST, loop: bool) -> list[Event]:  # noqa: PLR0911 - one case for each kind
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                return []
            case ast.If(test=test, body=body, orelse=orelse) | ast.IfExp(test=test, body=body, orelse=orelse):
                one, other = (self.of(*(b if isinstance(b, list) else [b]), in_loop=loop) for b in (body, orelse))
                same = [e.kind for e in one] == [e.kind for e in other]
                return self.of(test, in_loop=loop) + (one if same else one + other)
            case ast.For(iter=before, body=body, orelse=orelse):
                return self.of(before, in_loop=loop) + self.of(*body, in_loop=True) + self.of(*orelse, in_loop=loop)
            case ast.While(test=test, body=body, orelse=orelse):
                timed = [Event("timed", node.lineno)] if self._reads_clock(test) else []
                return timed + self.of(test, *body, in_loop=True) + self.of(*orelse, in_loop=loop)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self.of(*self.names.children(node), in_loop=True)
            case ast.Call():
                return self.of(*self.names.children(node), in_loop=loop) + self._call(node, loop)
            case _:
                return self.of(*self.names.children(node), in_loop=loop)

    def _call(self, call: ast.Call, loop: bool) -> list[Event]:
        kind = self._kind(call)
        if kind == "predict":  # the clock stops, the function is asked, and its predictions are handed in
            asked = [event for argument in call.args for event in self._asked(argument)]
            return [Event("finish_training", call.lineno, loop), *asked, Event("submit", call.lineno, loop)]
        found = [Event(kind, call.lineno, loop)] if kind else []
        if kind not in PROTOCOL:
            for function in self.names.local_functions(call.func):
                found += [replace(event, in_loop=event.in_loop or loop) for event in self._body(function)]
        return found

    def _asked(self, argument: ast.expr) -> list[Event]:
        if isinstance(argument, ast.Call) and argument.args:  # functools.partial
            argument = argument.args[0]
        if isinstance(argument, ast.Lambda):
            return self.of(argument.body)
        return [event for function in self.names.local_functions(argument) for event in self._body(function)]

    def _body(self, function: Function) -> tuple[Event, ...]:
        if function in self._open:  # it calls itself
            return ()
        if function not in self._known:
            self._open.add(function)
            self._known[function] = tuple(self.of(*function.body))
            self._open.remove(function)
        return self._known[function]

    def _kind(self, call: ast.Call) -> str:  # noqa: PLR0911 - one case for each kind
        paths = self.names.paths(call.func)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        for path in paths:
            if path.startswith(TASK) and path.rsplit(".", 1)[-1] in (*PROTOCOL, "predict"):
                return path.rsplit(".", 1)[-1]
        if name in PROTOCOL[1:] and not paths and name not in self.names.definitions:
            return name
        if paths & {"torch.autograd.grad", "torch.autograd.backward"} or name == "backward":
            return "gradient"
        if any(path.endswith(".update_bn") for path in paths):
            return "update_bn"
        if name in ("step", "fit", "partial_fit") and not paths:
            return "step"
        if name == "eval" or (name == "train" and call.args and _constant(call.args[0]) is False):
            return "eval"
        if name == "train" and (not call.args or _constant(call.args[0]) is True) and not self._is_dropout(call):
            return "train"
        return "forward" if self.names.is_variable(call.func) else ""

    def _reads_clock(self, test: ast.expr) -> bool:
        calls = [node for node in self.names.walk(test) if isinstance(node, ast.Call)]
        return any(path.startswith("time.") for call in calls for path in self.names.paths(call.func))

    def _is_dropout(self, call: ast.Call) -> bool:
        """Return whether `.train()` stands where its object is known to be a dropout layer."""
        node: ast.AST = call
        while node in self.names.parents:
            node = self.names.parents[node]
            if isinstance(node, ast.If) and "isinstance" in (test := ast.unparse(node.test)) and "Dropout" in test:
                return True
        return False


def findings(calls: Calls) -> Iterator[Finding]:
    """Yield what is wrong with the order of calls, with training outside the clock, and with errors swallowed."""
    events = calls.of(*calls.names.tree.body)
    yield from _protocol([event for event in events if event.kind in PROTOCOL])
    yield from _outside_the_clock(events)
    for node in calls.names.nodes:
        if isinstance(node, ast.Try):
            yield from _swallowed(node, calls)
        elif isinstance(node, ast.With):
            yield from _suppressed(node, calls)


def _protocol(events: list[Event]) -> Iterator[Finding]:
    missing = [kind for kind in PROTOCOL if kind not in (event.kind for event in events)]
    if missing:
        reason = f"the file never calls {', '.join(missing)} where it can be read (predict() is the last two)"
        yield Finding(1, "L7", reason)
    reached = -1
    seen: set[str] = set()
    for event in events:
        place = PROTOCOL.index(event.kind)
        if event.in_loop:
            yield Finding(event.line, "L7", f"{event.kind}() stands in a loop: it is called once")
        if event.kind in seen:
            yield Finding(event.line, "L7", f"{event.kind}() is called again: it is called once")
        elif place < reached:
            yield Finding(event.line, "L7", f"{event.kind}() comes after {PROTOCOL[reached]}(): keep the order")
        seen.add(event.kind)
        reached = max(reached, place)


def _outside_the_clock(events: list[Event]) -> Iterator[Finding]:
    phase, training = "", 0
    for event in events:
        match phase, event.kind:
            case _, "open" | "start_training" | "finish_training" | "submit":
                phase, training = event.kind, 0
            case "open", "step":
                reason = "a training step before start_training(): the clock does not run yet, and no label is known"
                yield Finding(event.line, "L7", reason)
            case "open", "gradient":
                yield Finding(event.line, "L7", "a gradient before start_training(): a warm-up at most", blocking=False)
            case "finish_training" | "submit", "step" | "gradient" | "update_bn":
                reason = "training goes on after finish_training(): the predicted crystals are for predicting"
                yield Finding(event.line, "L5", reason)
            case "finish_training" | "submit", "timed":
                yield Finding(event.line, "L7", "a loop by the clock after finish_training(): that time is no budget")
            case "finish_training" | "submit", "train":
                training = event.line
            case _, "eval":
                training = 0
            case _, "forward" if training:
                reason = "training mode after finish_training(): batch norm would learn from the predicted crystals"
                yield Finding(training, "L5", reason)
            case _:
                pass


def _swallowed(node: ast.Try, calls: Calls) -> Iterator[Finding]:
    protocol = any(event.kind in PROTOCOL for event in calls.of(*node.body))
    for handler in node.handlers:
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        bare = handler.type is None or any("builtins.BaseException" in calls.names.paths(kind) for kind in caught)
        broad = bare or any(calls.names.paths(kind) & _BROAD for kind in caught)
        refused = broad or any(path.endswith("ProtocolError") for kind in caught for path in calls.names.paths(kind))
        raises = any(isinstance(child, ast.Raise) for child in calls.names.walk(handler))
        if protocol and refused and not raises:
            reason = "errors of the protocol are swallowed: a trial that fails must be seen to fail"
            yield Finding(handler.lineno, "L8", reason)
        elif bare and not raises:
            yield Finding(handler.lineno, "L8", "a handler that hides every error: name the one meant", blocking=False)


def _suppressed(node: ast.With, calls: Calls) -> Iterator[Finding]:
    for item in node.items:
        call = item.context_expr
        if isinstance(call, ast.Call) and "contextlib.suppress" in calls.names.paths(call.func):
            broad = any(calls.names.paths(kind) & _BROAD for kind in call.args)
            if broad and any(event.kind in PROTOCOL for event in calls.of(*node.body)):
                yield Finding(node.lineno, "L8", "errors of the protocol are suppressed")


def _constant(node: ast.expr) -> bool | None:
    return bool(node.value) if isinstance(node, ast.Constant) else None
