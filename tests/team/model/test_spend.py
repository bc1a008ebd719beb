"""The spend file: durable, summed, and limits that are judged before a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from team.model.spend import SpendBook, SpendError, SpendLine, read_spend

if TYPE_CHECKING:
    from pathlib import Path

LINE = SpendLine(role="coder", trial=4, model="m", prompt_tokens=100, cached_tokens=40, completion_tokens=10, usd=0.5)


def test_a_resumed_run_goes_on_from_its_totals(tmp_path: Path) -> None:
    SpendBook(tmp_path).add(LINE)
    book = SpendBook(tmp_path)
    book.add(LINE.model_copy(update={"usd": None, "attempts": 3}))
    totals = SpendBook(tmp_path).totals()
    assert (totals.calls, totals.attempts, totals.tokens, totals.cached_tokens) == (2, 4, 220, 80)
    assert (totals.usd, totals.unpriced_tokens) == (0.5, 110)
    assert totals == book.totals()


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, kept: int) -> None:
    book = SpendBook(tmp_path)
    book.add(LINE)
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + whole[:kept])
    assert len(read_spend(tmp_path)) == 1  # a reader passes it over, and repairs nothing
    assert book.path.read_bytes() == whole + whole[:kept]
    SpendBook(tmp_path).add(LINE)
    assert book.path.read_bytes() == whole * 2


def test_a_last_line_that_lacks_only_its_end_is_kept(tmp_path: Path) -> None:
    book = SpendBook(tmp_path)
    book.add(LINE)
    book.path.write_bytes(book.path.read_bytes()[:-1])
    again = SpendBook(tmp_path)
    assert again.totals().calls == 1
    again.add(LINE)
    assert len(read_spend(tmp_path)) == 2


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    book = SpendBook(tmp_path)
    for _ in range(3):
        book.add(LINE)
    lines = book.path.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"prompt_tokens":100', b'"prompt_tokens":-1')
    book.path.write_bytes(b"\n".join(lines))
    with pytest.raises(SpendError, match="line 2 is damaged"):
        SpendBook(tmp_path)


def test_limits_are_reached_and_not_passed(tmp_path: Path) -> None:
    book = SpendBook(tmp_path)
    book.add(LINE)
    assert book.would_pass(90, None, max_tokens=200) == ""
    assert "110 of 200 tokens" in book.would_pass(91, None, max_tokens=200)
    assert book.would_pass(9, 0.5, max_cost=1.0) == ""
    assert "--max-cost" in book.would_pass(9, 0.5001, max_cost=1.0)
    assert "unknown" in book.would_pass(9, None, max_cost=1.0)
    book.add(SpendLine(role="coder", trial=4, model="m", unconfirmed_tokens=50, unconfirmed_usd=0.25))
    assert book.would_pass(40, None, max_tokens=200) == ""
    assert book.would_pass(41, None, max_tokens=200) != ""
    assert book.would_pass(1, 0.26, max_cost=1.0) != ""


def test_calls_side_by_side_cannot_pass_a_limit_together(tmp_path: Path) -> None:
    book = SpendBook(tmp_path)
    assert book.claim("a", 120, 0.5, max_tokens=200, max_cost=1.0) == ""
    assert "120 of 200 tokens" in book.claim("b", 120, 0.1, max_tokens=200, max_cost=1.0)
    assert book.claim("a", 60, 0.6, max_tokens=200, max_cost=1.0) == "", "another attempt replaces its claim"
    assert book.claim("b", 120, 0.4, max_tokens=200, max_cost=1.0) == ""
    assert "--max-cost" in book.claim("c", 1, 0.01, max_tokens=200, max_cost=1.0)
    book.add(LINE, claimed_by="b")  # it used 110 tokens, for 0.5
    assert book.claim("c", 30, 0.0, max_tokens=200) == ""
    assert book.claim("d", 1, 0.0, max_tokens=200) != ""
