"""What the reading of predicted crystals knows inside one function of the file."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field


@dataclass
class Frame:
    """Names, or texts such as `self.x`, by what they are.

    Attributes:
        mixed: They hold predicted crystals.
        stacked: Their first axis counts parts that the file put together.
        single: They belong to one crystal of a loop over crystals.
        counters: They count in a loop.
        constants: Their values, where these are written down.
        returns: Whether the function returns predicted crystals.
    """

    mixed: set[str] = field(default_factory=set)
    stacked: set[str] = field(default_factory=set)
    single: set[str] = field(default_factory=set)
    counters: set[str] = field(default_factory=set)
    constants: dict[str, object] = field(default_factory=dict)
    returns: bool = False

    def holds(self, node: ast.expr) -> bool:
        """Return whether a name, or an attribute of one, holds predicted crystals."""
        while isinstance(node, ast.Attribute):
            if text_of(node) in self.mixed:
                return True
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.mixed


def text_of(node: ast.AST) -> str:
    """Return an expression as text; that of a name or an attribute of one at little cost."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=(ast.Name() | ast.Attribute()) as value, attr=name):
            return f"{text_of(value)}.{name}"
        case _:
            return ast.unparse(node)
