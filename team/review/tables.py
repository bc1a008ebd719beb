"""Tables of answers in the source (L4): large literals, packed data, and anything keyed by chemical formulas."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from evaluation_locked.crystals import SYMBOLS
from team.review.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from team.review.names import Names

MAX_CONSTANTS = 1500  # in one literal; twelve properties of 118 elements have 1,416
MAX_CONSTANTS_OF_FILE = 6000
MAX_TEXT = 8000  # characters in one literal
MAX_TEXT_OF_FILE = 40_000
MAX_DECODED_TEXT = 2000
MAX_INTEGER_BITS = 128
MAX_FORMULAS = 12
MAX_COMPOSITION_KEYS = 40
MAX_BRANCHES = 60
MAX_NUMBER_KEYS = 30  # keys of dictionaries in the whole file that are no atomic number and no space group
LAST_SPACE_GROUP = 230
_DIGITS = re.compile(r"\d{100}")

_FORMULA = re.compile(r"(?:[A-Z][a-z]?(?:\d*\.?\d+)?){2,}")
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_ELEMENTS = frozenset(SYMBOLS[1:])
_UNPACKS_ALWAYS = ("base64", "zlib", "bz2", "lzma", "binascii", "gzip", "codecs", "zstandard")
_UNPACKS = frozenset({"json.loads", "ast.literal_eval", "numpy.frombuffer", "numpy.fromstring", "torch.frombuffer"})


def findings(names: Names) -> Iterator[Finding]:
    """Yield literals that may hold answers rather than properties of elements."""
    constants, texts = 0, 0
    for node in names.nodes:
        match node:
            case ast.List() | ast.Tuple() | ast.Set() | ast.Dict():
                yield from _collection(node, names)
            case ast.Constant(value=str() | bytes() as text):
                texts += len(text)
                yield from _text(node, text)
            case ast.Constant(value=int(number)):
                constants += 1
                if number.bit_length() > MAX_INTEGER_BITS:
                    yield Finding(node.lineno, "L4", f"an integer of {number.bit_length()} bits may pack a table")
            case ast.Constant(value=float() | complex()):
                constants += 1
            case ast.Call():
                yield from _call(node, names)
            case _:
                pass
    yield from _branches(names)
    yield from _number_keys(names)
    if constants > MAX_CONSTANTS_OF_FILE or texts > MAX_TEXT_OF_FILE:
        reason = f"the file holds {constants} numbers and {texts} characters of text: data is no part of train.py"
        yield Finding(1, "L4", reason)


def is_formula(text: object) -> bool:
    """Return whether a value reads as a chemical formula of at least two elements, such as `SiO2`."""
    if not isinstance(text, str) or not _FORMULA.fullmatch(text):
        return False
    elements = _ELEMENT.findall(text)
    return len(set(elements)) >= 2 and _ELEMENTS.issuperset(elements)


def _collection(node: ast.List | ast.Tuple | ast.Set | ast.Dict, names: Names) -> Iterator[Finding]:
    size = sum(isinstance(child, ast.Constant) for child in names.walk(node))
    if size > MAX_CONSTANTS:
        reason = f"a literal of {size} constants may be a table of answers; {MAX_CONSTANTS} are allowed"
        yield Finding(node.lineno, "L4", reason)
    keys = [key for key in node.keys if key is not None] if isinstance(node, ast.Dict) else node.elts
    # Rows of a list of pairs are keyed by what stands first in them.
    first = [key.elts[0] if isinstance(key, ast.Tuple | ast.List) and key.elts else key for key in keys]
    formulas = sum(isinstance(key, ast.Constant) and is_formula(key.value) for key in first)
    if formulas >= MAX_FORMULAS:
        yield Finding(node.lineno, "L4", f"a table of {formulas} chemical formulas: properties of elements are fine")
    if isinstance(node, ast.Dict):
        compositions = sum(isinstance(key, ast.Tuple | ast.Call | ast.BinOp) for key in keys)
        if compositions >= MAX_COMPOSITION_KEYS:
            yield Finding(node.lineno, "L4", f"a table with {compositions} keys of several parts, as compositions are")


def _text(node: ast.Constant, text: str | bytes) -> Iterator[Finding]:
    if len(text) > MAX_TEXT:
        yield Finding(node.lineno, "L4", f"a text of {len(text)} characters may be a table of answers")
    elif isinstance(text, str) and _DIGITS.search(text):
        yield Finding(node.lineno, "L4", "a text of digits may pack a table of answers")
    elif isinstance(text, str) and len(text) > 60:
        formulas = {word for word in re.findall(r"[A-Za-z0-9.]+", text) if is_formula(word)}
        if len(formulas) >= 2 * MAX_FORMULAS:
            yield Finding(node.lineno, "L4", f"a text that names {len(formulas)} chemical formulas")


def _call(node: ast.Call, names: Names) -> Iterator[Finding]:
    function = names.paths(node.func)
    data = _data(node.args[0], names) if node.args else None
    if any(path.startswith(f"{packer}.") for path in function for packer in _UNPACKS_ALWAYS):
        yield Finding(node.lineno, "L4", f"{ast.unparse(node.func)} unpacks data: write a table of elements out")
    unpacks = bool(function & _UNPACKS) or (isinstance(node.func, ast.Attribute) and node.func.attr == "fromhex")
    if unpacks and isinstance(data, str | bytes) and len(data) > MAX_DECODED_TEXT:
        yield Finding(node.lineno, "L4", f"{len(data)} characters of packed data: write a table of elements out")
    formulas = sum(keyword.arg is not None and is_formula(keyword.arg) for keyword in node.keywords)
    if formulas >= MAX_FORMULAS:
        yield Finding(node.lineno, "L4", f"a table of {formulas} chemical formulas: properties of elements are fine")


def _data(node: ast.expr, names: Names) -> object:
    """Return the text or bytes that an expression is known to be."""
    return node.value if isinstance(node, ast.Constant) else names.literal(node)


def _branches(names: Names) -> Iterator[Finding]:
    """Yield tables that are written as comparisons, wherever they stand."""
    compared: list[ast.Constant] = []
    for node in names.nodes:
        match node:
            case ast.Compare(ops=[ast.Eq()], comparators=[ast.Constant() as right]):
                compared.append(right)
            case ast.Compare(left=ast.Constant() as left, ops=[ast.Eq()]):
                compared.append(left)
            case ast.match_case(pattern=ast.MatchValue(value=ast.Constant() as value)):
                compared.append(value)
            case ast.Assign(targets=[ast.Subscript(slice=ast.Constant() as key)]):
                compared += [key] if is_formula(key.value) else []
            case _:
                pass
    formulas = [node.lineno for node in compared if is_formula(node.value)]
    constants = [node.lineno for node in compared]
    if len(formulas) >= MAX_FORMULAS:
        yield Finding(min(formulas), "L4", f"{len(formulas)} branches on chemical formulas are a table of answers")
    elif len(constants) >= MAX_BRANCHES:
        yield Finding(min(constants), "L4", f"{len(constants)} branches on constants may be a table of answers")


def _number_keys(names: Names) -> Iterator[Finding]:
    """Yield dictionaries keyed by numbers that name neither an element nor a space group, in one piece or in many."""
    dictionaries = [node for node in names.nodes if isinstance(node, ast.Dict)]
    keys = [
        key
        for node in dictionaries
        for key in node.keys
        if isinstance(key, ast.Constant)
        and (isinstance(key.value, float) or (isinstance(key.value, int) and key.value > LAST_SPACE_GROUP))
    ]
    if len(keys) >= MAX_NUMBER_KEYS:
        yield Finding(keys[0].lineno, "L4", f"{len(keys)} keys that are measured numbers: a table of answers")
