"""A coder's answer becomes the file that it means, or is refused with the lines that it is about."""

from __future__ import annotations

import re

import pytest

from benchmarks.coder_answers import N_ANSWERS, read_answers
from memory.answers import apply_answer
from memory.edits import EditError

SOURCE = '''"""A file."""

import math

WIDTH = 64  # channels
RATE = 1e-3


def scale(x):
    """Scale it."""
    y = 2 * x
    return y


class Layer:
    def __init__(self):
        self.gain = 1.0
        self.bias = 0.0

    def forward(self, x):
        y = self.gain * scale(x) + self.bias
        return y

    def back(self, x):
        y = x - self.bias
        return y


def main():
    print(Layer().forward(math.pi))


if __name__ == "__main__":
    main()
'''


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


WIDER = block("WIDTH = 64  # channels", "WIDTH = 96  # channels")


@pytest.mark.parametrize(
    "answer",
    [
        WIDER,
        f"Of course!\n```python\n{WIDER}```\n",
        WIDER.replace("\n", "\r\n"),
        "\ufeff" + WIDER.replace("channels\n=", "channels  \u200b\n="),
        f"```python\n{SOURCE.replace('64', '96')}```",
        f"```\n{SOURCE.replace('64', '96').replace('A file.', 'A file. ```')}```\nso:\n```\nWIDTH = 96\n```\n",
        SOURCE.replace("64", "96"),
    ],
)
def test_an_answer_that_means_one_thing_is_applied(answer: str) -> None:
    result = apply_answer(SOURCE, answer)
    assert "WIDTH = 96  # channels\nRATE = 1e-3\n" in result
    assert result.count("\n") >= SOURCE.count("\n")


@pytest.mark.parametrize(
    ("answer", "message", "line"),
    [
        ("", "holds no edit", None),
        ("I would widen it.", "holds no edit", None),
        (block("        return y", "        return -y"), "matches 2 times", 26),
        (block("y = 2 * x", "y = 3 * x"), "matches 0 times", 11),
        (block("def scale(x):\n    # ...\n    return y", "def scale(x):\n    return x"), "'# ...' in SEARCH", 9),
        (block("    y = 2 * x", "    y = 3 * x\n    # rest of the function unchanged"), "in REPLACE stands for", 11),
        (block("        self.bias = 0.0", "    self.bias = 1.0"), "SEARCH starts 8 spaces in, and REPLACE 4", 18),
        (block("        self.bias = 0.0", "        self.bias = 0.0\n    self.more = 1.0"), "nothing defines self", 19),
        (block("RATE = 1e-3", "RATE = 2e-3") + block("RATE = 1e-3", "RATE = 3e-3"), "both stand for line 6", 6),
        (WIDER.replace("<<<<<<< SEARCH", "<<<<<<< ORIGINAL"), "nearly a marker", 5),
        (WIDER.replace("=======\n", "=======\nWIDTH = 64\n=======\n"), "second '======='", 5),
        (WIDER.rpartition(">>>>")[0], "not closed", 5),
        (WIDER.replace("96", "64"), "leaves the code as it is", 5),
        (block("WIDTH = 64  # channels", "WIDTH = HALF * 2"), "nothing defines HALF", 5),
        ("```diff\n--- a/train.py\n+++ b/train.py\n@@ -5 +5 @@\n-WIDTH = 64  # channels\n+WIDTH = 96\n```", "diff", 5),
        ("```python\ndef scale(x):\n    return 3 * x\n```", "a part of the file", 34),
        (f"```python\n{SOURCE.replace('    y = 2 * x', '    # ... as before')}```", "stands for lines", 9),
        (f"```python\n{SOURCE[:200]}", "not closed", None),
        (
            f"```python\n{SOURCE.replace(SOURCE[SOURCE.index('def scale') : SOURCE.index('class')], '')}```",
            "uses scale",
            9,
        ),
        (f"```\n{SOURCE.replace('64', '96')}```\nor\n```\n{SOURCE.replace('64', '48')}```", "2 whole files", None),
    ],
)
def test_an_answer_that_is_not_plain_is_refused_with_its_lines(answer: str, message: str, line: int | None) -> None:
    with pytest.raises(EditError) as caught:
        apply_answer(SOURCE, answer)
    assert message in str(caught.value)
    named = [int(n) for n in re.findall(r"^ *(\d+) \| ", str(caught.value), re.MULTILINE)]
    assert named, "the coder is shown lines of the file"
    assert line is None or line in named


def test_what_comments_say_is_the_authors_business() -> None:
    honest = block(
        "    y = 2 * x", "    # the rest mass stays, the same for all; see other elements\n    y = 3 * x[..., None]"
    )
    assert "3 * x[..., None]" in apply_answer(SOURCE, honest)


def test_none_of_the_recorded_answers_applies_wrongly() -> None:
    found = read_answers()
    assert found["answers"] == N_ANSWERS == 200
    assert found["applied_wrongly"] == 0
    assert found["applied_as_meant"] >= 60
    assert found["refused_naming_lines"] == found["refused"]
    assert set(found["by_flaw"]["whole_file"]) == set(found["by_flaw"]["windows_line_ends"]) == {"as meant"}
