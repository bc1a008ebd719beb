"""What the offline strategist makes of a person's wish: modes, axes, techniques and trials that its words name.

Words are compared with the playbook by the local embedder, and two texts meet only where they share a word or a synonym
of one: hashed vectors alone are near each other by chance. What follows "no", "avoid" or "less" up to the next comma or
"but" is kept away from. A wish that names nothing of these changes nothing, and the plan says so.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memory.embedding import LocalEmbedder, canonical_tokens
from memory.records import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from memory.person import Wish
    from memory.records import Idea
    from memory.techniques import Technique

MIN_SIMILARITY, MIN_OF_BEST = 0.25, 0.7  # "smaller batches" is at 0.78 to batch size; 0.32 occurs by chance
MAX_SHOWN = 60  # characters of a wish that a plan repeats

_MODES = {  # the simplest move that the offline team has is to take something out
    "explore": r"explor\w*|something new|new techniques?",
    "refine": r"refin\w*|tun(?:e|ing)|knobs?|constants?",
    "combine": r"combin\w*|join\w*|together",
    "ablate": r"ablat\w*|simpl\w*|tak(?:e|ing) out|remov\w*",
    "replicate": r"replicat\w*|repeat\w*|train(?:ed)?\s+again|once more",
}
_AXES = {
    "A1": r"a1|connectivity",
    "A2": r"a2|geometr\w*|angles?",
    "A3": r"a3|features?",
    "A4": r"a4|architectures?",
    "A5": r"a5|readout",
    "A6": r"a6|optimi[sz]\w*",
}
_TRIAL = re.compile(r"\btrials?\s+(\d+)")
_NEGATION = re.compile(
    r"\b(?:no|not|don'?t|never|avoid|without|less|fewer|stop|enough|leave)\b(.*?)(?=[,;.!?]|\bbut\b|\brather\b|\binstead\b|$)"
)


@dataclass
class Named:
    """What some words name; empty where they name nothing known."""

    modes: list[str] = field(default_factory=list)
    axes: list[str] = field(default_factory=list)
    techniques: list[str] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.modes or self.axes or self.techniques or self.trials)

    def __str__(self) -> str:
        axes = [f"{axis} {AXES[axis]}" for axis in self.axes]
        return ", ".join([*self.techniques, *self.modes, *axes, *(f"trial {number}" for number in self.trials)])


def understand(text: str, techniques: Mapping[str, Technique]) -> tuple[Named, Named]:
    """Return what a wish asks for, and what it wants to be kept away from."""
    text = text.lower()
    against = " . ".join(_NEGATION.findall(text))
    return _named(_NEGATION.sub(" ", text), techniques), _named(against, techniques)


def narrow(offers: Sequence[Idea], wish: Wish, techniques: Mapping[str, Technique]) -> tuple[list[Idea], str]:
    """Return the offers that a wish leaves, and a sentence on what became of it.

    What the wish names is asked of the offers one after another, techniques first; what would leave none is passed over
    and said. So the result is empty only where `offers` is.
    """
    wanted, avoided = understand(wish.text, techniques)
    asked = f"a person's wish {wish.k} ({shown(wish)})"
    if not wanted and not avoided:
        known = "a mode, an axis, a technique of the playbook or a trial"
        return list(offers), f"{asked} names nothing that the offline team knows: name {known}"
    left = list(offers)
    met: list[str] = []
    unmet: list[str] = []
    for named, sign in ((wanted, True), (avoided, False)):
        for one, holds in _conditions(named, techniques):
            found = [idea for idea in left if holds(idea) is sign]
            say = str(one) if sign else f"no {one}"
            if found:
                left = found
            (met if found else unmet).append(say)
    told = f"{asked}: {', '.join(met) or 'nothing of it can be met'}"
    if unmet and met:
        told += f"; no untried move for {', '.join(unmet)}"
    elif unmet:
        told += f", no untried move for {', '.join(unmet)}"
    return left, told


def shown(wish: Wish) -> str:
    """Return a wish in quotes, shortened where it is long."""
    return repr(wish.text if len(wish.text) <= MAX_SHOWN else f"{wish.text[:MAX_SHOWN].rstrip()}...")


def nearest_techniques(words: str, techniques: Mapping[str, Technique], n: int = 3) -> list[str]:
    """Return the ids of techniques most like an id that is not known, or like some words."""
    close = difflib.get_close_matches(words.lower(), techniques, n=n, cutoff=0.6)
    return close or named_techniques(words, techniques)[:n]


def named_techniques(words: str, techniques: Mapping[str, Technique]) -> list[str]:
    """Return the ids of the techniques that some words name, the most similar first."""
    exact = [name for name in techniques if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words)]
    if exact and any("-" in name or words.strip() == name for name in exact):
        return exact
    tokens = set(canonical_tokens(words))
    if not tokens or not techniques:
        return []
    texts = {name: f"{t.title}. {t.id}. {t.family}" for name, t in techniques.items()}
    query, *vectors = LocalEmbedder()([words, *texts.values()])
    similar = {
        name: float(vector @ query)
        for (name, text), vector in zip(texts.items(), vectors, strict=True)
        if tokens & set(canonical_tokens(text))
    }
    bar = max(MIN_SIMILARITY, MIN_OF_BEST * max(similar.values(), default=0.0))
    return sorted((name for name, value in similar.items() if value >= bar), key=lambda name: -similar[name])


def _named(words: str, techniques: Mapping[str, Technique]) -> Named:
    if not words.strip():
        return Named()
    without_trials = _TRIAL.sub(" ", words)
    modes, rest = _find(_MODES, without_trials)
    axes, rest = _find(_AXES, rest)
    trials = [int(number) for number in _TRIAL.findall(words)]
    return Named(modes, axes, named_techniques(rest, techniques), trials)


def _find(patterns: Mapping[str, str], words: str) -> tuple[list[str], str]:
    """Return the names whose pattern occurs, and the words without them."""
    found = [name for name, pattern in patterns.items() if re.search(rf"\b(?:{pattern})\b", words)]
    for name in found:
        words = re.sub(rf"\b(?:{patterns[name]})\b", " ", words)
    return found, words


def _conditions(named: Named, techniques: Mapping[str, Technique]) -> Iterable[tuple[Named, Callable[[Idea], bool]]]:
    """Yield each kind of thing that was named, with what an offer must be to have it."""
    if named.techniques:
        wanted = set(named.techniques)
        yield (
            Named(techniques=named.techniques),
            lambda idea: bool(wanted & {*idea.techniques, *idea.removed}),
        )
    if named.modes:
        modes = {*named.modes, *(["simplify"] if "ablate" in named.modes else [])}
        yield Named(modes=named.modes), lambda idea: idea.mode in modes
    if named.axes:
        wanted_axes = set(named.axes)

        def touches(idea: Idea) -> bool:
            known = (techniques[name].axis for name in (*idea.techniques, *idea.removed) if name in techniques)
            return bool(wanted_axes & {idea.axis, *known})

        yield Named(axes=named.axes), touches
    if named.trials:
        yield Named(trials=named.trials), lambda idea: idea.parent in named.trials
