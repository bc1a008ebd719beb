"""What the scripted model says: `Playbook` plays the four roles from what their prompts offer, `Recording` replays.

A script sees a request and nothing else: no file of a run, no other request. It is no model: it reads lines that the
prompts of `team/prompts` hold, and draws where several would do.
"""

from __future__ import annotations

import ast
import json
import random
import re
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graph.errors import RunError
from team.scripted.chat import Reply, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from team.scripted.chat import ChatRequest

_TRIAL = re.compile(r"(?:PLAN for|CHOICE for|plan for|idea of) trial (\d+)")
_OPTION = re.compile(r"^(\d+)\. (.+)$", re.MULTILINE)
_CROWDING = re.compile(r"crowding (\d\.\d+)", re.IGNORECASE)
_GAINS = re.compile(r"gains here ([+-]\d+\.\d+) on average of (\d+), best ([+-]\d+\.\d+)")
_WISH = re.compile(r"wishes: (.+)")
_OPEN = re.compile(r"^- ([a-z0-9-]+) \(open\): (.+)$", re.MULTILINE)
_KNOB = re.compile(r"knob ([A-Z][A-Z0-9_]*), now (.+?), worth a trial: (\[.*?\])")
_PLAN_AXIS = re.compile(r"\bon (A[1-6])\b")
_CONSTANT = re.compile(r"\b([A-Z][A-Z0-9_]*) = (\d+(?:\.\d+)?(?:e-?\d+)?)(?=[,\s]|$)")
_BLOCK = re.compile(r"^<{7} SEARCH\n.*?^>{7} REPLACE$", re.MULTILINE | re.DOTALL)
_DATA = re.compile(r"<data>\n(.*?)\n</data>", re.DOTALL)
_STEP = re.compile(r"\b([A-Z][A-Z0-9_]*):? (?:from )?(\S+) to (\S+?)[.\s]")
_SUSPECT = re.compile(r"^\+.*\b(open\(|subprocess|socket|requests|urllib|os\.environ|__import__|pickle)", re.MULTILINE)
_WORTH = {"measured on this task": 1.0, "plausible": 0.6, "neutral": 0.3, "risky": 0.1, "one's own": -0.5}
MAX_PROPOSALS = 3


class ScriptError(RunError):
    """A recording that cannot be used; the message names the line and the mend."""


class Script(Protocol):
    """Answers requests; the same request with the same number gets the same answer."""

    def reply(self, request: ChatRequest) -> Reply:
        """Return the answer."""


class Playbook:
    """Plays the roles: sensible choices among what a prompt offers, drawn from the seed and the prompt.

    Args:
        seed: Of the draws.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._roles: dict[Role, Callable[[ChatRequest, random.Random], Any]] = {
            "strategist": _choose,
            "scout": _propose,
            "coder": _edit,
            "reviewer": _review,
        }

    def reply(self, request: ChatRequest) -> Reply:
        """Return the answer of the role that asks."""
        # Scores differ from run to run in their last digits: the trial decides the draw, and not the whole prompt.
        trial = found[1] if (found := _TRIAL.search(request.prompt)) else "0"
        draw = random.Random(f"{self._seed}/{request.role}/{trial}/{len(request.messages)}")
        play = self._roles.get(request.role)
        said = play(request, draw) if play else "I play a strategist, a scout, a coder and a reviewer, and no one else."
        return Reply(said if isinstance(said, str) else json.dumps(_filled(said, request.schema), ensure_ascii=False))


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role | None = None
    text: str | None = None
    answer: dict[str, Any] | None = None
    finish: str = Field("stop", pattern="^(stop|length|content_filter)$")
    refusal: str | None = None


class Recording:
    """Replays recorded answers: a role's own lines in order, else those of no role; when all are said, from the start.

    A line is a JSON object: `{"role": "coder", "text": "..."}` or `{"role": "scout", "answer": {...}}`; `role` may be
    left out, and `finish` and `refusal` are as in a chat completion.

    Args:
        path: A file of such lines.

    Raises:
        ScriptError: It cannot be read, is empty, or a line is none of these.
    """

    def __init__(self, path: Path) -> None:
        self._lines: dict[Role | None, list[_Line]] = defaultdict(list)
        self._said: dict[Role | None, int] = defaultdict(int)
        self._threads = threading.Lock()
        try:
            texts = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ScriptError(f"{path} cannot be read ({error}): name a file of JSON lines") from error
        for number, text in enumerate(texts, start=1):
            if not text.strip():
                continue
            try:
                line = _Line.model_validate_json(text)
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                field = ".".join(map(str, fault["loc"])) or "the line"
                raise ScriptError(f"{path}, line {number}: {field}: {fault['msg']}") from error
            if (line.text is None) == (line.answer is None) and line.refusal is None:
                raise ScriptError(f"{path}, line {number}: give either text or answer")
            self._lines[line.role].append(line)
        if not self._lines:
            raise ScriptError(f"{path} holds no answer: give it a line for each")

    def reply(self, request: ChatRequest) -> Reply:
        """Return the next answer for the role that asks; empty where the recording has none for it."""
        role = request.role if self._lines.get(request.role) else None
        lines = self._lines.get(role, [])
        if not lines:
            return Reply("")
        with self._threads:
            line = lines[self._said[role] % len(lines)]
            self._said[role] += 1
        text = (
            line.text if line.text is not None else json.dumps(line.answer, ensure_ascii=False) if line.answer else ""
        )
        return Reply(text, line.finish, line.refusal)  # type: ignore[arg-type]


def _choose(request: ChatRequest, draw: random.Random) -> dict[str, Any]:
    """Choose a numbered line: what is known to help, what gained, what is not crowded, what is wished for."""
    asked = request.last
    wish = _WISH.search(asked)
    wished = set(re.findall(r"[a-z]{4,}", wish[1].lower())) if wish else set()
    body = asked[max(asked.rfind("The options:"), asked.rfind("The proposals:"), 0) :]
    best: tuple[float, int, str] = (float("-inf"), 1, "")
    for number, line in _OPTION.findall(body):
        worth = max((value for words, value in _WORTH.items() if words in line), default=0.5)
        crowding = _CROWDING.search(line)
        worth -= float(crowding[1]) if crowding else 0.3
        if gains := _GAINS.search(line):
            worth += 0.5 if float(gains[1]) > 0 else -0.2
        worth += 2.0 * bool(wished & set(re.findall(r"[a-z]{4,}", line.lower())))
        worth += draw.uniform(0.0, 0.5)
        best = max(best, (worth, int(number), line))
    kind = "It is what was wished for" if wished and best[0] > 1.5 else "It promises most for how little it was tried"
    return {"option": best[1], "why": f"{kind}: {best[2][:120]}"}


def _propose(request: ChatRequest, draw: random.Random) -> dict[str, Any]:
    """Propose open entries of the catalogue; where there are none, a step of a constant."""
    asked = request.messages[1][1] if len(request.messages) > 1 else request.last
    axis = _PLAN_AXIS.search(asked[asked.rfind("The plan for trial") :])
    named = axis[1] if axis else "A6"
    proposals = []
    entries = _OPEN.findall(asked)
    for technique, rest in draw.sample(entries, min(MAX_PROPOSALS, len(entries))):
        title, source, *more = [part.strip() for part in rest.split(";")]
        knob = _KNOB.search(rest)
        value = None
        if knob:
            values = [value for value in ast.literal_eval(knob[3]) if repr(value) != knob[2]]
            value = draw.choice(values) if values else None
        proposals.append(_proposal(technique, value, named, title, more[1] if len(more) > 1 else title, source))
    if not proposals and (constants := _CONSTANT.findall(asked)):
        name, text = draw.choice(constants)
        now = ast.literal_eval(text)
        step = max(1, now // 2) if isinstance(now, int) else now / 2
        value = draw.choice([now - step, now + step]) if now > 1 else now + step
        why = f"{name} {now!r} to {value!r} . The seed's value was never compared with another."
        proposals.append(_proposal(None, None, named, f"{name} {now!r} to {value!r}", why, "own"))
    return {"proposals": proposals}


def _proposal(technique: str | None, value: object, axis: str, title: str, why: str, source: str) -> dict[str, Any]:
    return {
        "technique": technique,
        "value": value,
        "axis": axis,
        "title": title,
        "hypothesis": why,
        "source": source,
        "expected_effect": "a lower error, by about 1 %",
        "cost": "small",
        "conflicts": [],
    }


def _edit(request: ChatRequest, draw: random.Random) -> str:
    """Repeat the tested edit that the question offers, or make the step of a constant that the idea names."""
    asked = request.messages[1][1] if len(request.messages) > 1 else request.last
    source = next(iter(_DATA.findall(asked)), "")
    behind = asked[asked.rfind("</data>") :]
    if blocks := _BLOCK.findall(behind):
        return "This carries out the idea:\n\n" + "\n\n".join(blocks) + "\n"
    for name, _, value in _STEP.findall(f"{behind}\n"):
        lines = [line for line in source.split("\n") if line.startswith(f"{name} = ")]
        if len(lines) == 1 and source.split("\n").count(lines[0]) == 1:
            changed = re.sub(rf"^{name} = [^\s#]+", f"{name} = {value}", lines[0])
            return f"<<<<<<< SEARCH\n{lines[0]}\n=======\n{changed}\n>>>>>>> REPLACE\n"
    return "I know no edit for this idea."


def _review(request: ChatRequest, draw: random.Random) -> dict[str, Any]:
    """Approve what changes something and reaches for nothing outside the task."""
    diff = next(iter(_DATA.findall(request.last)), "")
    if suspect := _SUSPECT.search(diff):
        line = suspect[0][1:].strip()[:80]
        return {"kind": "reject", "does_what_it_says": False, "reasons": [f"It reaches outside the task: {line}"]}
    if not re.search(r"^[+-](?![+-])", diff, re.MULTILINE):
        return {"kind": "revise", "does_what_it_says": False, "reasons": ["The change is empty."]}
    return {"kind": "approve", "does_what_it_says": True, "reasons": []}


def _filled(answer: dict[str, Any], schema: dict[str, Any] | None) -> dict[str, Any]:
    """Return the answer with what the schema demands beside it, and without what it does not know."""
    if not schema or "properties" not in schema:
        return answer
    known = {name: value for name, value in answer.items() if name in schema["properties"]}
    for name in schema.get("required", ()):
        known.setdefault(name, _least(schema["properties"].get(name, {})))
    return known


def _least(schema: dict[str, Any]) -> Any:
    """Return the simplest value of a schema's type."""
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return None if {"type": "null"} in schema["anyOf"] else _least(schema["anyOf"][0])
    least = {"string": "none", "integer": 0, "number": 0.0, "boolean": True, "array": [], "object": {}}
    return least.get(str(schema.get("type")))
