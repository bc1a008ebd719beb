"""Edits: exact, refused where they are ambiguous, and reversible."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.edits import (
    Edit,
    EditError,
    apply_edits,
    format_edits,
    inverse,
    knobs,
    normalised,
    parse_edits,
    set_knob,
    unified_diff,
)

SOURCE = '''"""A file."""

WIDTH = 64  # channels
RATE = 1e-3
NAMES = ("a", "b")
STEPS: int = 5


def train(x):
    """Double it."""
    # twice
    y = 2 * x
    return y


def test(x):
    y = 3 * x
    return y
'''


def test_blocks_are_found_amid_prose_and_fences() -> None:
    text = """I would widen it.
```python
<<<<<<< SEARCH
WIDTH = 64  # channels
=======
WIDTH = 96  # channels
>>>>>>> REPLACE
```
and drop this:
<<<<<<< SEARCH
    # twice
=======
>>>>>>> REPLACE
"""
    edits = parse_edits(text.replace("\n", "\r\n"))
    assert edits == (Edit("WIDTH = 64  # channels", "WIDTH = 96  # channels"), Edit("    # twice", ""))
    assert parse_edits(format_edits(edits)) == edits
    result = apply_edits(SOURCE, edits)
    assert "WIDTH = 96  # channels\nRATE" in result
    assert '    """Double it."""\n    y = 2 * x\n' in result
    assert parse_edits("nothing to change") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<<<<<<< SEARCH\na\n=======\nb\n", "edit block 1 is not closed"),
        ("<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n", r"edit block 1 \(line 3\) ends without"),
        ("<<<<<<< SEARCH\n\n=======\nb\n>>>>>>> REPLACE\n", r"edit block 1 \(line 3\) has an empty SEARCH"),
        ("<<<<<<< SEARCH\na\n=======\nb\n<<<<<<< SEARCH\n", r"edit block 1 \(line 5\) opens inside another"),
    ],
)
def test_malformed_blocks_are_refused(text: str, message: str) -> None:
    with pytest.raises(EditError, match=message):
        parse_edits(text)


def test_lines_that_are_absent_are_answered_with_the_closest() -> None:
    edits = [Edit("RATE = 1e-3", "RATE = 2e-3"), Edit("    y = 2 * x + 1\n    return y", "    return 0")]
    with pytest.raises(EditError) as caught:
        apply_edits(SOURCE, edits)
    assert str(caught.value).startswith("edit block 2 matches 0 times")
    assert str(caught.value).endswith("   12 |     y = 2 * x\n   13 |     return y")


def test_lines_that_occur_twice_are_refused_with_their_places() -> None:
    with pytest.raises(EditError, match="edit block 1 matches 2 times, at lines 13, 18"):
        apply_edits(SOURCE, [Edit("    return y", "    return 0")])


def test_part_of_a_line_is_no_match() -> None:
    with pytest.raises(EditError, match="matches 0 times"):
        apply_edits(SOURCE, [Edit("WIDTH = 64", "WIDTH = 96")])


def test_a_later_edit_sees_what_the_earlier_left() -> None:
    edits = [Edit("RATE = 1e-3", "RATE = 2e-3"), Edit("RATE = 2e-3", "RATE = 3e-3")]
    assert knobs(apply_edits(SOURCE, edits))["RATE"] == 3e-3


def test_a_result_that_does_not_compile_is_shown() -> None:
    with pytest.raises(EditError, match=r"(?s)does not compile: .* at line 12\n.*   12 \|     y = 2 \*\( x"):
        apply_edits(SOURCE, [Edit("    y = 2 * x", "    y = 2 *( x")])
    with pytest.raises(EditError, match="'return' outside function"):
        apply_edits(SOURCE, [Edit("RATE = 1e-3", "return 1")])


def test_knobs_are_the_literal_constants() -> None:
    assert knobs(SOURCE) == {"WIDTH": 64, "RATE": 1e-3, "NAMES": ("a", "b"), "STEPS": 5}
    assert knobs("A = B = 3\nlower = 4\nC = max(1, 2)\nD = -1.5\n") == {"D": -1.5}


def test_setting_a_knob_keeps_its_comment() -> None:
    edit = set_knob(SOURCE, "WIDTH", 96)
    assert edit == Edit("WIDTH = 64  # channels", "WIDTH = 96  # channels")
    assert apply_edits(apply_edits(SOURCE, [edit]), [inverse(edit)]) == SOURCE
    assert knobs(apply_edits(SOURCE, [set_knob(SOURCE, "STEPS", 7)]))["STEPS"] == 7
    assert set_knob('UNIT = "µm"  # length\n', "UNIT", "nm").replace == "UNIT = 'nm'  # length"


@pytest.mark.parametrize("source", [SOURCE, SOURCE + "WIDTH = 3\n"])
def test_a_knob_must_exist_once(source: str) -> None:
    name = "DEPTH" if source == SOURCE else "WIDTH"
    with pytest.raises(EditError, match=rf"the knob {name} [02] times.*its knobs are WIDTH = .*, RATE = 0.001"):
        set_knob(source, name, 2)


def test_a_knob_over_several_lines_is_refused() -> None:
    with pytest.raises(EditError, match="must be on a line of its own"):
        set_knob("SIZES = (\n    1,\n    2,\n)\n", "SIZES", (3,))


def test_a_deletion_has_no_inverse() -> None:
    with pytest.raises(EditError, match="no inverse"):
        inverse(Edit("RATE = 1e-3", ""))


def test_normalised_ignores_what_does_not_train() -> None:
    restyled = SOURCE.replace('    """Double it."""\n    # twice\n', "\n").replace('"a", "b"', "'a',    'b'")
    assert restyled != SOURCE
    assert normalised(restyled) == normalised(SOURCE)
    assert normalised(SOURCE.replace("2 * x", "2.0 * x")) != normalised(SOURCE)
    assert normalised('def f():\n    """Only words."""\nif f:\n    "words"\n') == "def f():\n    pass\nif f:\n    pass"
    with pytest.raises(EditError, match="does not compile"):
        normalised("def f(:\n")


def test_unified_diff_shows_the_change() -> None:
    after = SOURCE.replace("RATE = 1e-3", "RATE = 2e-3")
    assert "--- a/train.py\n+++ b/train.py\n" in unified_diff(SOURCE, after)
    assert "\n-RATE = 1e-3\n+RATE = 2e-3\n" in unified_diff(SOURCE, after)
    assert unified_diff(SOURCE, SOURCE) == ""


LINE = st.text(alphabet=string.ascii_letters + " =+_", min_size=1, max_size=12).filter(lambda t: t.strip())


@given(st.lists(st.tuples(LINE, st.lists(LINE, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_blocks_survive_writing_and_reading(parts: list[tuple[str, list[str]]]) -> None:
    edits = tuple(Edit(search, "\n".join(replace)) for search, replace in parts)
    assert parse_edits(format_edits(edits)) == edits


@given(st.integers(0, 5), st.integers(-1000, 1000))
def test_an_edit_and_its_inverse_restore_the_file(at: int, value: int) -> None:
    source = "".join(f"X{i} = {i}\n" for i in range(6))
    edit = set_knob(source, f"X{at}", value)
    assert apply_edits(apply_edits(source, [edit]), [inverse(edit)]) == source
