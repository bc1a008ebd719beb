"""Several trials at work: what is known of them after mixed events, in lines as they come, and on small screens."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from graph.context import Event
from memory.history import History
from memory.journal import Journal
from team.at_work import doing
from team.display import Display, LiveDisplay
from team.now import announce, follow, read_now
from tests.memory.builders import decision, trial
from tests.team.runs import write_run

if TYPE_CHECKING:
    from pathlib import Path

    from graph.context import NodeName
    from graph.run_folder import RunFolder
    from team.now import AtWork


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path, [trial(number, 0.5) for number in range(20)], trials=60)


def idea(number: int, title: str = "") -> Event:
    return Event("idea", number, idea=trial(number, title=title or f"idea of {number}").idea)


def trained(number: int, node: NodeName = "train") -> list[Event]:
    return [Event("node", number, node="choose"), idea(number), Event("node", number, node=node)]


def after(*events: Event) -> tuple[AtWork, ...]:
    at_work: tuple[AtWork, ...] = ()
    for event in events:
        at_work = follow(at_work, event)
    return at_work


def drawn(run: RunFolder, events: list[Event], columns: int, lines: int = 24, trials: int = 20) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=columns, height=lines, force_terminal=True, color_system=None, highlight=False)
    display = LiveDisplay(run.read_config(), console)
    display.history = History(Journal(run.journal).read()[:trials])
    for event in events:
        display.listen(event)
    console.print(display)
    return out.getvalue().splitlines()


def test_trials_come_and_go_by_their_own_events() -> None:
    events = [
        Event("node", 5, node="strategise"),
        Event("node", 4, node="code", text="a-model"),
        idea(5, "wider"),
        Event("phase", 5, phase="training"),
    ]
    at_work = after(*events)
    assert [(t.number, t.node, t.phase, t.title, t.player) for t in at_work] == [
        (4, "code", "", "", "a-model"),
        (5, "strategise", "training", "wider", ""),
    ]
    left = after(*events, Event("record", 5, entry=trial(5)))
    assert [t.number for t in left] == [4]
    assert follow(left, Event("over", 4, text="nothing is left to try")) == ()
    assert follow((), Event("phase", 7, phase="training")) == (), "what is recorded does not come back"


def test_a_decision_about_an_earlier_trial_takes_none_from_work() -> None:
    at_work = after(*trained(5))
    assert follow(at_work, Event("record", 5, entry=decision(5, "kept"))) == at_work


def test_a_trial_that_is_trained_waits_for_the_one_before_that_trains() -> None:
    at_work = after(*trained(3, "judge"), *trained(4), *trained(5, "judge"), *trained(6, "judge"), *trained(7, "code"))
    assert [doing(one, at_work) for one in at_work] == ["judge", "starting", "waits for 4", "waits for 4", "coder"]


def test_lines_say_which_trial_they_are_about_where_the_line_above_does_not(run: RunFolder) -> None:
    out = io.StringIO()
    display = Display(run.read_config(), Console(file=out, soft_wrap=True, width=200))
    for event in [
        *trained(20),
        *trained(21),
        Event("record", 21, entry=trial(21, 0.41)),
        *trained(22),
        Event("note", 22, text="coder: HTTP 429"),
        Event("record", 20, entry=trial(20, 0.42)),
        Event("record", 22, entry=trial(22, 0.43)),
        Event("note", 23, text="nobody is beside it"),
    ]:
        display.listen(event)
    heads = [line.partition("explore")[0].partition(" discarded")[0] for line in out.getvalue().splitlines()]
    assert heads == [
        "  20  ",
        "  21  ",
        "      0.4100",
        "  22  ",
        "trial 22: coder: HTTP 429",
        "  20  0.4200",
        "  22  0.4300",
        "nobody is beside it",
    ]


def test_one_trial_is_drawn_with_its_bar_and_clock(run: RunFolder) -> None:
    events = [*trained(20), Event("phase", 20, phase="training")]
    (line,) = (line for line in drawn(run, events, columns=90) if "trial 20" in line)
    assert line.startswith("│ trial 20  trial idea of 20") and line.endswith("training 0/5 s │")
    assert any("no trial at work" in line for line in drawn(run, [], columns=90))
    assert any("starting" in line for line in drawn(run, [], columns=90, trials=0))


@pytest.mark.parametrize("columns", [80, 50])
@pytest.mark.parametrize("n_recorded", [0, 2, 20])
@pytest.mark.parametrize("n", [2, 4, 30])
def test_all_trials_are_told_and_the_screen_is_not_left(run: RunFolder, n: int, n_recorded: int, columns: int) -> None:
    events = [event for number in range(20, 20 + n) for event in trained(number)]
    events += [Event("phase", number, phase="training") for number in range(20, 20 + n, 2)]
    lines = drawn(run, events, columns, trials=n_recorded)
    assert len(lines) <= 24 and all(len(line) == columns for line in lines)
    told = [line for line in lines if " training " in line or " starting " in line]
    rest = [line for line in told if " more: " in line]
    shown = len(told) - len(rest)
    assert shown == n or f"and {n - shown} more: " in rest[0]
    assert shown == min(n, 4) or shown >= 7
    assert "idea of 20" in told[0] and "training 0/5 s" in told[0]
    if n_recorded == 20:
        assert sum("discarded" in line for line in lines) >= 7


def test_events_from_many_threads_leave_none_behind(run: RunFolder) -> None:
    out = io.StringIO()
    display = Display(run.read_config(), Console(file=out, soft_wrap=True, width=200))
    with announce(run) as announcer:

        def play(first: int) -> None:
            for number in range(first, first + 10):
                for event in [*trained(number), Event("record", number, entry=trial(number, 0.4))]:
                    announcer.listen(event)
                    display.listen(event)

        players = [threading.Thread(target=play, args=(100 * at,)) for at in range(1, 9)]
        for player in players:
            player.start()
        for player in players:
            player.join()
        now = read_now(run)
        assert now is not None and now.at_work == () and display.at_work == ()
    assert out.getvalue().count("0.4000 discarded") == 80
