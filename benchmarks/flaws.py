"""The flaws of form that coders' answers have, each as a function that makes one of an edit; None where it cannot.

Each takes the file, the edit that is meant, and what is random, and returns an answer.
"""

from __future__ import annotations

import html
import itertools
import json
import random
import re
from collections.abc import Callable

from memory.edits import Edit, apply_edits, format_edits, unified_diff

Flaw = Callable[[str, tuple[Edit, ...], random.Random], str | None]


def plain(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """No flaw."""
    return format_edits(edits)


def prose_and_fences(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """Each block in a fence of its own, with talk between them in two languages."""
    parts = [
        f"{i}. Zuerst `{e.search.strip()[:20]}`:\n\n```python\n{format_edits([e])}```\n" for i, e in enumerate(edits)
    ]
    return "Sure — this is the change 🙂\n\n" + "\n".join(parts) + "\nThat should do it!\n"


def windows_line_ends(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """Windows line ends throughout."""
    return format_edits(edits).replace("\n", "\r\n")


def byte_order_mark(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """A byte order mark, and zero-width spaces at line ends."""
    return "\ufeff" + format_edits(edits).replace("\n=======", "\u200b\n=======")


def trailing_white_space(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """White space at the ends of the lines of SEARCH."""
    return format_edits([Edit("\n".join(f"{line}  " for line in e.search.split("\n")), e.replace) for e in edits])


def whole_file(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """The whole file in a fence."""
    return f"Here is the file:\n```python\n{apply_edits(source, edits)}```\nIt trains as before.\n"


def whole_file_windows(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """The whole file with Windows line ends."""
    return whole_file(source, edits, draw).replace("\n", "\r\n")


def whole_file_with_fences_inside(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """The whole file in a fence, with a fence in its docstring."""
    text = apply_edits(source, edits).replace('"""\n', '\n\n```python\npython train.py\n```\n"""\n', 1)
    return f"```python\n{text}```\n"


def snippet_then_whole_file(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """A fenced extract first, then the whole file."""
    return (
        f"The heart of it:\n```python\n{edits[0].replace}\n```\nThe file:\n```python\n{apply_edits(source, edits)}```\n"
    )


def whole_file_in_a_list(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """The whole file in a fence that is indented below a bullet."""
    lines = ["```python", *apply_edits(source, edits).rstrip("\n").split("\n"), "```"]
    return "- The new file:\n\n" + "\n".join(f"  {line}" for line in lines) + "\n"


def dedented(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """SEARCH and REPLACE four spaces too far left."""
    return _shifted(edits, -4, search=True, replace=True)


def overindented(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """SEARCH and REPLACE four spaces too far right."""
    return _shifted(edits, 4, search=True, replace=True)


def replace_dedented(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """REPLACE alone four spaces too far left."""
    return _shifted(edits, -4, search=False, replace=True)


def last_line_dedented(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """The last line of REPLACE alone four spaces too far left."""
    at = next(
        (i for i, e in enumerate(edits) if "\n" in e.replace and e.replace.split("\n")[-1].startswith("    ")), None
    )
    if at is None:
        return None
    *first, last = edits[at].replace.split("\n")
    return format_edits([*edits[:at], Edit(edits[at].search, "\n".join([*first, last[4:]])), *edits[at + 1 :]])


def tabs(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """Tabs in place of four spaces."""
    text = format_edits(edits)
    return text.replace("    ", "\t") if "    " in text else None


def elided_search(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """SEARCH over several lines, of which those in the middle are `# ...`."""
    wide = _widened(source, edits[0], 3)
    first, last = wide.search.split("\n")[0], wide.search.split("\n")[-1]
    mark = draw.choice(["# ...", "    # ... existing code ...", "# rest of the block"])
    return format_edits([Edit(f"{first}\n{mark}\n{last}", wide.replace), *edits[1:]])


def elided_replace(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """SEARCH over several lines, and a REPLACE that ends in a comment for what is unchanged."""
    wide = _widened(source, edits[0], 3)
    kept = edits[0].replace.split("\n") or [""]
    indent = " " * (len(kept[-1]) - len(kept[-1].lstrip()))
    mark = draw.choice(["# ... rest unchanged", "# (existing code stays the same)", "# … unchanged …", "..."])
    head = wide.replace.split("\n")[0]
    return format_edits([Edit(wide.search, f"{head}\n{edits[0].replace}\n{indent}{mark}"), *edits[1:]])


def elided_whole_file(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """The whole file with one function left out behind a comment."""
    text = apply_edits(source, edits)
    name = draw.choice(["def gather", "def standardise", "class Gaussians", "def update_average"])
    start = text.index(f"\n{name}")
    stop = text.index("\n\n\n", start)
    mark = draw.choice([f"# ... {name.split()[1]} as before ...", "# (unchanged)", "# ... existing code ..."])
    return f"```python\n{text[:start]}\n{mark}{text[stop:]}```\n"


def left_out_silently(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """The whole file with one function that others call left out, and not a word of it."""
    text = apply_edits(source, edits)
    start = text.index(f"\n{draw.choice(['def gather', 'def standardise', 'class Gaussians', 'def update_average'])}")
    return f"```python\n{text[:start]}{text[text.index(chr(10) * 3, start) :]}```\n"


def duplicate_anchor(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """An anchor that occurs more than once in the file."""
    lines = source.split("\n")
    for edit in edits:
        start = lines.index(edit.search.split("\n")[0]) if edit.search.split("\n")[0] in lines else 0
        above = [line for line in lines[max(0, start - 12) : start] if line.strip() and lines.count(line) > 1]
        if above:
            return format_edits([Edit(above[-1], f"{above[-1]}\n{edit.replace}"), *(e for e in edits if e is not edit)])
    return None


def overlapping(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """Two blocks that share a line."""
    wide = _widened(source, edits[0], 1)
    return format_edits([wide, *edits])


def given_twice(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """Every block twice, as answers have it that first plan and then write."""
    return f"I plan:\n{format_edits(edits)}\nSo the edit is:\n{format_edits(edits)}"


def two_ways(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """The edit, and another one for the same lines as an alternative."""
    other = [Edit(e.search, f"{e.search}\n{_indent_of(e.search)}pass") for e in edits[:1]]
    return f"Option A:\n{format_edits(edits)}\nOption B:\n{format_edits(other)}"


def difference(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """A unified diff."""
    return f"```diff\n{unified_diff(source, apply_edits(source, edits))}```\n"


def extract(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """Only the new lines, in a fence."""
    return "Add this:\n```python\n" + "\n\n".join(e.replace for e in edits) + "\n```\n"


def changed_part(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """Only the changed function or class, whole and in a fence."""
    before, after = source.split("\n"), apply_edits(source, edits).split("\n")
    at = next((i for i, (one, two) in enumerate(itertools.zip_longest(before, after)) if one != two), 0)
    tops = [i for i, line in enumerate(after) if re.match(r"(class|def) ", line)]
    start = max((i for i in tops if i <= at), default=None)
    if start is None:
        return None
    stop = min(
        (i for i in range(start + 1, len(after)) if after[i] and not after[i].startswith((" ", "@"))),
        default=len(after),
    )
    return "```python\n" + "\n".join(after[start:stop]) + "\n```\n"


def cut_off(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """Blocks that end in the middle of the last one."""
    text = format_edits(edits)
    return text[: text.rindex("=======") + 12]


def cut_off_file(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """A whole file that ends before its end."""
    lines = apply_edits(source, edits).split("\n")
    return "```python\n" + "\n".join(lines[: -draw.randint(8, 40)])


def other_markers(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """Markers that are nearly right."""
    old, new = draw.choice(
        [("<<<<<<< SEARCH", "<<<<<<< ORIGINAL"), (">>>>>>> REPLACE", ">>>>>> REPLACE"), ("=======", "=====")]
    )
    return format_edits(edits).replace(old, new)


def indented_markers(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """Blocks below a bullet, markers and lines indented alike."""
    return "\n".join(f"   {line}" for line in format_edits(edits).split("\n"))


def merge_conflict(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """Two dividers in a block: old, new, and old again."""
    text = format_edits(edits)
    return text.replace("=======\n", f"=======\n{edits[0].search}\n=======\n", 1)


def line_numbers(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """SEARCH with the line numbers of an error message."""
    numbered = [
        Edit("\n".join(f"{40 + i:5d} | {t}" for i, t in enumerate(e.search.split("\n"))), e.replace) for e in edits
    ]
    return format_edits(numbered)


def typeset(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """SEARCH with no-break spaces."""
    return (
        format_edits([Edit(e.search.replace(" ", "\u00a0"), e.replace) for e in edits])
        if any(" " in e.search for e in edits)
        else format_edits([Edit(f"\u00a0{e.search}", e.replace) for e in edits])
    )


def paraphrased(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """SEARCH as the model remembers it: without the comment, or with other spaces around signs."""

    def recalled(text: str) -> str:
        without = re.sub(r"  # .*", "", text)
        return without if without != text else re.sub(r" ([=+*]) ", r"\1", text)

    changed = [Edit(recalled(e.search), e.replace) for e in edits]
    return format_edits(changed) if any(a.search != b.search for a, b in zip(edits, changed, strict=True)) else None


def invented(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """SEARCH for a line that the file does not have."""
    line = draw.choice(["        self.embedding = nn.Embedding(100, hidden)", "LR = 1e-3", "    optimizer.zero_grad()"])
    return format_edits([Edit(line, f"{line}\n{edits[0].replace}"), *edits[1:]])


def escaped(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str | None:
    """Code escaped as for a web page."""
    parts = [Edit(html.escape(e.search), html.escape(e.replace)) for e in edits]
    return format_edits(parts) if any(a != b for a, b in zip(edits, parts, strict=True)) else None


def fences_in_blocks(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """A fence inside SEARCH and inside REPLACE."""
    return format_edits([Edit(f"```python\n{e.search}\n```", f"```python\n{e.replace}\n```") for e in edits])


def json_string(source: str, edits: tuple[Edit, ...], draw: random.Random) -> str:
    """The blocks as a JSON string."""
    return json.dumps({"edit": format_edits(edits)})


def _shifted(edits: tuple[Edit, ...], by: int, *, search: bool, replace: bool) -> str | None:
    def moved(text: str) -> str:
        return "\n".join(
            (" " * by + line if by > 0 else line[-by:]) if line.strip() else line for line in text.split("\n")
        )

    if by < 0 and not all(e.search.startswith("    ") and e.replace for e in edits):
        return None
    return format_edits(
        [Edit(moved(e.search) if search else e.search, moved(e.replace) if replace else e.replace) for e in edits]
    )


def _widened(source: str, edit: Edit, n: int) -> Edit:
    """Return the edit with `n` lines of the file above it in both parts."""
    lines = source.split("\n")
    search = edit.search.split("\n")
    at = next(i for i in range(len(lines)) if lines[i : i + len(search)] == search)
    above = lines[max(0, at - n) : at]
    return Edit("\n".join([*above, *search]), "\n".join([*above, edit.replace]))


def _indent_of(text: str) -> str:
    return " " * (len(text) - len(text.lstrip(" ")))


FLAWS: tuple[Flaw, ...] = (
    plain, prose_and_fences, windows_line_ends, byte_order_mark, trailing_white_space, whole_file, whole_file_windows,
    whole_file_with_fences_inside, snippet_then_whole_file, whole_file_in_a_list, dedented, overindented,
    replace_dedented, last_line_dedented, tabs, elided_search, elided_replace, elided_whole_file, left_out_silently,
    duplicate_anchor, overlapping, given_twice, two_ways, difference, extract, changed_part, cut_off, cut_off_file,
    other_markers, indented_markers, merge_conflict, line_numbers, typeset, paraphrased, invented, escaped,
    fences_in_blocks, json_string,
)  # fmt: skip
