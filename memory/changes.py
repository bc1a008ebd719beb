"""What a proposal changes, read from its words: which knob or thing, where, and to which value.

It owns the grammar of short descriptions such as `width 64 -> 96`, `GELU instead of SiLU`, `no dropout in the head` or
`deeper edge MLP (3 layers)`, and the question whether two of them are the same change. Words mean what the local
embedder says they mean (`memory.embedding`). What a description says of its own result is dropped before it is read.
It decides nothing: `memory.repeats` does.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from memory.embedding import CONCEPT_WEIGHT, WORD_WEIGHT, canonical_tokens, is_phrase

if TYPE_CHECKING:
    from collections.abc import Sequence

SAME_WORDS = 0.7  # weighted Jaccard of two changes that are the same; `benchmarks.repeat_pairs` says where it is from
HELD_WORDS = 0.85  # of a clause that only names what the base holds
MAX_CHARS = 300  # longer is no title, and the grammar takes time that grows with the square
_GENERIC_WEIGHT = 0.25

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_VALUE = rf"{_NUMBER}(?:\s?%|x\b|d\b|-d\b)?"
_TO = r"(?:->|=>|→|\bto\b)"
_WORDS = re.compile(r"[a-z]")

# In brackets after a space, these words tell of a run and not of a change.
_RESULT_WORDS = (
    r"\d+(?:\.\d+)?[km]?\s+(?:steps|params|parameters|seconds|epochs)|margin|improve\w*|compound\w*|slow\w*|faster|too|"
    r"overflow|nan|worse|better|lost|loses|won|gain\w*|failed|crash\w*|oom|denser|smaller graph"
)
_RESULTS = (
    re.compile(rf"(?:(?<=\s)|^)\([^()]*\b(?:{_RESULT_WORDS})\b[^()]*\)", re.IGNORECASE),
    re.compile(r"\b(?:sub-?margin|below (?:the )?margin|(?:tiny|small) (?:improvement|gain))\b.*$", re.IGNORECASE),
    re.compile(r"[\s:,;]+(?:nan|crash(?:ed)?|oom|diverged)\s*$", re.IGNORECASE),
)
# AngleRBF -> Angle RBF, CGConv -> CG Conv, dim120 -> dim 120
_PARTS = re.compile(
    r"(?<=[a-z])(?=[A-Z]{2})|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z][a-z])|(?<=[a-zA-Z]{2})(?=\d{2})"
)
_DETAIL = re.compile(r"(?:(?<=\s)|^)\(([^()]*)\)")
_CLAUSE = re.compile(rf"\s*\+\s*(?=[a-z])|\s+with\s+|\s+at\s+(?=[a-z_][\w.]*\s*=\s*{_NUMBER})|;\s*")
_PLACE = re.compile(r"\s+(?:in|on|onto|into|to|from|inside|within)\s+(?:the\s+|each\s+)?")
_EACH = re.compile(r"\b(?:in |of |at |for )?(?:each|every) (block|layer|conv\w*)\b")
_TITLE = re.compile(r"^(?P<title>[^:]*[a-z][^:]*): +(?P<rest>.*)$")
_INSTEAD = re.compile(r"^(?P<to>.+?)\s+(?:instead of|rather than|in place of|vs\.?|versus)\s+(?P<start>.+)$")
_REPLACE = re.compile(r"^(?:replace|swap)\s+(?P<start>.+?)\s+(?:with|by|for)\s+(?P<to>.+)$")
_ARROW = re.compile(rf"^(?P<start>[^\d].*?)\s*(?:->|=>|→)\s*(?P<to>(?!{_NUMBER}).*[a-z].*)$")
_SET = (
    re.compile(rf"^(?P<name>.*?)[\s:=,(]+(?P<start>{_VALUE})\s*{_TO}\s*(?P<value>{_VALUE})(?P<rest>.*)$"),
    re.compile(rf"^(?P<name>.*[a-z].*?)\s*(?P<sign>[/*])=\s*(?P<value>{_VALUE})(?P<rest>.*)$"),
    re.compile(rf"^(?P<name>.*[a-z].*?)\s*(?:=|\bto\b)\s*(?P<value>{_VALUE}|true\b|false\b|none\b)(?P<rest>.*)$"),
    re.compile(
        rf"^(?P<name>.*[a-z].*?)\s+(?P<value>{_VALUE})(?P<rest>(?:\s+(?:steps|epochs|a)\b)?\s*(?:$|\s(?=in|on)).*)$"
    ),
)
_SEVERAL = re.compile(rf"(?P<name>[a-z_](?:[\w.\- ]*?[\w])?)\s*(?:=\s*|\s)(?P<value>{_NUMBER})(?:,?\s+|$)")
_LAYERS = re.compile(r"\b(?P<n>\d+)[- ](?P<unit>hidden|layers?|linear layers?)(?:\s+layers?)?\b")
_NUMBERED = re.compile(r"(?<=[a-z]_)\d+\b")  # `DROPOUT_2` is another constant than `DROPOUT_1`
_COUNT_WORDS = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "twice": "2"}

_COMPARED = frozenset("deeper wider shallower narrower larger smaller longer shorter stronger weaker fewer".split())
_REMOVED = re.compile(r"^(?:remove[ds]?|removing|without|no|drop|disable|delete|omit|leave out)\s+")
_FILLER = (
    "add added adding adds use used using uses try tried set sets change changed put apply applied again also new now "
    "arch architecture style based stacked increase increased decrease decreased raise raised lower lowered reduce "
    "reduced halve double let make made info information only still per every here s"
)
_GENERIC = (
    "layer mlp network module embed embedding feature basis norm optimiser optimizer term function size rate value "
    "number count decay cap coefficient factor parameter step scheme schedule variant unit"
)
# Famous networks name the origin of a change more often than the change.
_ATTRIBUTED = "m3gnet megnet schnet cgcnn dimenet painn matformer comformer cogn gemnet nequip mace icgcnn physnet"
_SYMBOLS = {"k": "~knn", "d": "~width", "p": "~dropout"}  # one letter that is set to a number
_CONCEPT_PLACES = frozenset({"~conv", "~pooling", "~global-state"})
_LAYER = frozenset({"~depth"})  # `attention layer` is attention; only a bare `more layers` is about depth
_GENERIC_CONCEPTS = frozenset({"~activation"})


@dataclass(frozen=True)
class Change:
    """One thing that a proposal changes.

    Attributes:
        what: Canonical words of the thing or of the knob.
        where: Canonical words of the place, empty where none is named.
        value: What a knob is set to, or how many or how large; None where no number is given.
        start: The knob's value before, where it is said.
        is_knob: Whether `value` is set (`width = 96`) rather than told (`3 layers`).
        removed: Whether the thing is taken out.
        compared: Words such as `deeper`.
        exact: Whether it was read from code or ids, not from words.
    """

    what: frozenset[str]
    where: frozenset[str] = frozenset()
    value: float | str | None = None
    start: float | str | None = None
    is_knob: bool = False
    removed: bool = False
    compared: frozenset[str] = frozenset()
    exact: bool = False

    def is_same_thing(self, other: Change, least: float = SAME_WORDS) -> bool:
        """Return whether both change the same thing in the same place, whatever the value."""
        if self.exact != other.exact or (self.where and other.where and not self.where & other.where):
            return False
        if self.exact:
            return self.what == other.what  # a name, and no words that may overlap
        return _overlap(self.what, other.what) >= least or (
            bool(self.where) != bool(other.where)
            and _overlap(self.what | self.where, other.what | other.where) >= least
        )

    def is_same(self, other: Change, least: float = SAME_WORDS) -> bool:
        """Return whether both are the same change: the same thing, the same value, and both add or both remove.

        A value that only one of them gives separates a knob (which value was meant is unknown), not a description.
        """
        if self.removed != other.removed or not self.is_same_thing(other, least):
            return False
        if bool(self.compared) != bool(other.compared) or (self.compared and not self.compared & other.compared):
            return False
        if self.value is None or other.value is None:
            return self.value == other.value or not (self.is_knob or other.is_knob)
        return equal_values(self.value, other.value)

    def is_named_by(self, clause: Change) -> bool:
        """Return whether a clause of another description says no more than this change, with its value or without."""
        if clause.removed or clause.compared or not self.is_same_thing(clause, HELD_WORDS):
            return False
        return clause.value is None or (self.value is not None and equal_values(clause.value, self.value))


def are_same(one: Sequence[Change], other: Sequence[Change], least: float = SAME_WORDS) -> bool:
    """Return whether two proposals are the same changes, each with a partner of its own.

    Args:
        one: Changes of one proposal.
        other: Changes of another.
        least: Weighted Jaccard similarity of the words from which on two things are the same.
    """
    left = list(other)
    for change in one:
        partner = next((candidate for candidate in left if change.is_same(candidate, least)), None)
        if partner is None:
            return False
        left.remove(partner)
    return bool(one) and not left


def equal_values(one: float | str, other: float | str) -> bool:
    """Return whether two values are the same but for rounding."""
    if isinstance(one, str) or isinstance(other, str):
        return str(one) == str(other)
    return math.isclose(one, other, rel_tol=1e-9)


@lru_cache(maxsize=8192)
def read_changes(text: str) -> tuple[Change, ...]:
    """Return the changes that a short description proposes, in its order; empty where it has no word.

    Args:
        text: A title or a line of a journal, of which 300 characters are read. Figures of a result in it are ignored.
    """
    text = _proposed(text[:MAX_CHARS])
    details = " ".join(_DETAIL.findall(text))
    plain = re.sub(r"\s+", " ", _DETAIL.sub(" ", text)).strip()
    clauses = [plain] if _REPLACE.match(plain) else _CLAUSE.split(plain)
    return tuple(change for clause in clauses for change in _read_clause(clause, details) if change.what)


def _proposed(text: str) -> str:
    """Return the text without its results, in lower case, with words and numbers apart."""
    for pattern in _RESULTS:
        text = pattern.sub(" ", text)
    words = [word if _is_whole(word.strip("()[],.:;")) else _PARTS.sub(" ", word) for word in text.split()]
    text = " ".join(words).lower()
    text = _EACH.sub(r" per \1", text)
    if match := _TITLE.match(text):  # `Dropout in the head: HEAD_DROPOUT 0 to 0.1`, `DropEdge: drop edges at random`
        text = match["rest"] if any(pattern.match(match["rest"]) for pattern in _SET) else match["title"]
    text = re.sub(r"(?<=[a-z])-(?=(?:in|on|to|of)-)|(?<=\b(?:in|on|to|of))-(?=[a-z])|(?<=[a-z])-(?=[a-z])", " ", text)
    return re.sub(rf"\b({'|'.join(_COUNT_WORDS)})\b", lambda match: _COUNT_WORDS[match[1]], text)


def _is_whole(word: str) -> bool:
    """Return whether a word such as SiLU, set2set or M3GNet is a name that must not be cut up."""
    return word.lower() in _ATTRIBUTED.split() or is_phrase(word)


@lru_cache(maxsize=8192)
def _read_clause(clause: str, details: str) -> tuple[Change, ...]:
    clause = clause.strip(" .,;:")
    if not _WORDS.search(clause):
        return ()
    if several := _read_several(clause):
        return several
    removed = _REMOVED.match(clause)
    if removed:
        clause = clause[removed.end() :]
    for pattern in _SET:
        if match := pattern.match(clause):
            return (_read_knob(match, bool(removed)),)
    if removed:
        what, where = _split_place(clause)
        knob, place = _head([word for word in _heavy(clause) if word in what])
        return (Change(knob, where | place, removed=True),)
    for pattern in (_REPLACE, _INSTEAD, _ARROW):
        if match := pattern.match(clause):
            what, where = _split_place(match["to"])
            before, before_where = _split_place(match["start"])
            where |= before_where | frozenset(before & _CONCEPT_PLACES)
            return (_described(what, where, match["to"], details),)
    bare = _LAYERS.sub(" ", clause)
    what, where = _split_place(bare if _content(bare) else clause)
    return (_described(what, where, clause, details),)


def _read_several(clause: str) -> tuple[Change, ...]:
    """Return the knobs of a clause that is nothing but names and numbers by turns, two pairs at least."""
    pairs = list(_SEVERAL.finditer(clause))
    names = [match["name"].strip() for match in pairs]
    if len(pairs) < 2 or "".join(match[0] for match in pairs) != clause or {"to", "from", "and"} & set(names):
        return ()
    return tuple(_knob(match["name"], match["value"]) for match in pairs)


def _read_knob(match: re.Match[str], removed: bool) -> Change:
    groups = match.groupdict()
    change = _knob(groups["name"], groups["value"], groups.get("start"), groups.get("sign"))
    _, where = _split_place(f"x {groups['rest'].strip()}") if groups["rest"].strip() else (None, frozenset())
    is_off = change.value in ("false", "none") or (change.value == 0 and ("start" in groups or "=" in match[0]))
    if removed or is_off:
        change = replace(change, value=None, is_knob=False, removed=True)
    return replace(change, where=change.where | where)


def _knob(name: str, value: str, start: str | None = None, sign: str | None = None) -> Change:
    name = name.strip(" :=,(")
    thing, _, whole = name.partition(" of ")
    if (
        whole and len(_heavy(name)) > 1 and any(_weight(word) > _GENERIC_WEIGHT for word in _heavy(thing))
    ):  # width of the head: a width
        (words, where), place = _split_place(thing), _content(whole)
    else:
        (words, where), place = _split_place(name), frozenset()
    ordered = [word for word in _heavy(name) if word in words]
    if (last := name.split()[-1] if name else "") in _SYMBOLS:
        knob, place = frozenset({_SYMBOLS[last]}), words - {last, _SYMBOLS[last]}
    else:
        knob, qualifiers = _head(ordered)
        place |= qualifiers
    place |= frozenset(_NUMBERED.findall(name))
    number = _number(value)
    if sign == "/" and isinstance(number, float) and number:
        number = 1.0 / number
    before = 1.0 if sign else _number(start) if start else None
    return Change(knob, where | place, number, before, is_knob=True)


def _head(words: list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the knob among the words of its name, which is the last, and the words that say where."""
    listed = [word for word in words if _weight(word) > _GENERIC_WEIGHT]
    return (frozenset({listed[-1]}), frozenset(listed[:-1])) if listed else (frozenset(words), frozenset())


def _described(what: frozenset[str], where: frozenset[str], clause: str, details: str) -> Change:
    compared = frozenset(word for word in what if word in _COMPARED)
    what -= compared
    places = what & _CONCEPT_PLACES
    if any(_weight(word) > _GENERIC_WEIGHT for word in what - places - _LAYER):
        what, where = what - places - _LAYER, where | places
    return Change(what, where, _told(clause, details), compared=compared)


def _told(clause: str, details: str) -> float | None:
    """Return the number that goes with a description: layers (two hidden ones are three), else the first number."""
    for text in (clause, details):
        if layers := _LAYERS.search(text):
            return float(layers["n"]) + (1.0 if layers["unit"] == "hidden" else 0.0)
    first = re.search(rf"(?<![\w.])({_NUMBER})(?![\w.])|(?<![\w.])({_NUMBER})x\b", clause)
    if first is None and details:
        first = re.search(rf"=\s*({_NUMBER})()", details)
    return float(first[1] or first[2]) if first else None


def _split_place(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the words of the thing and the words of the place that follows a preposition."""
    what, *where = _PLACE.split(text)
    return _content(what), frozenset().union(*map(_content, where))


def _content(text: str) -> frozenset[str]:
    return frozenset(_heavy(text))


def _heavy(text: str) -> list[str]:
    """Return the canonical words of a text without numbers and fillers, in their order."""
    return [word for word in canonical_tokens(text) if not word[0].isdigit() and word not in _fillers()]


def _number(text: str) -> float | str:
    match = re.match(_NUMBER, text.strip())
    return float(match[0]) if match else text.strip()


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the weighted Jaccard similarity of two sets of words."""
    if one == other:
        return 1.0 if one else 0.0
    return sum(map(_weight, one & other)) / sum(map(_weight, one | other))


@lru_cache(maxsize=65_536)
def _weight(word: str) -> float:
    if word in _GENERIC_CONCEPTS or word in _stems(_GENERIC):
        return _GENERIC_WEIGHT
    if word in _stems(_ATTRIBUTED):
        return 2 * _GENERIC_WEIGHT
    return CONCEPT_WEIGHT if word[0] == "~" else WORD_WEIGHT


@lru_cache(maxsize=4)
def _stems(words: str) -> frozenset[str]:
    """Return words as `canonical_tokens` writes them, each alone and without those that name a concept."""
    return frozenset(token for word in words.split() for token in canonical_tokens(word) if token[0] != "~")


@lru_cache(maxsize=1)
def _fillers() -> frozenset[str]:
    return _stems(_FILLER)
