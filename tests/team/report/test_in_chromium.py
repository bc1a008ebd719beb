"""The report in a real browser: silent console, no request, clicks and keys answered, hostile text inert."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from team.report.writer import write_report
from tests.chromium import click_at, complaints, open_chromium, place_of, requested, show, wait_for
from tests.team.report.runs import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver import Chrome

    from graph.run_folder import RunFolder

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with open_chromium() as chrome:
        yield chrome


@pytest.fixture
def hostile(browser: Chrome, hostile_run: RunFolder, tmp_path: Path) -> str:
    return write_report(hostile_run, tmp_path / "report.html").as_uri()


def side(browser: Chrome) -> str:
    return str(browser.execute_script("return document.getElementById('side').textContent"))


def test_it_opens_silently_and_asks_nobody(browser: Chrome, hostile: str) -> None:
    complaints(browser), requested(browser)
    show(browser, hostile)
    assert browser.execute_script("return document.querySelectorAll('.js-plotly-plot').length") >= 8
    assert complaints(browser) == []
    assert requested(browser) == {hostile}


def test_what_a_trial_says_stays_text(browser: Chrome, hostile: str) -> None:
    show(browser, hostile)
    for trial in range(24):
        browser.execute_script(f"teamReport.select({trial})")
    browser.execute_script("document.getElementById('all-trials').open = true")
    wait_for(browser, "document.querySelectorAll('#all-trials tbody tr').length === 24")
    assert HOSTILE in side(browser)
    assert browser.execute_script("return window.hurt === undefined && document.images.length === 0")
    links = browser.execute_script("return [...document.querySelectorAll('#side a')].map((a) => a.href)")
    assert links == ["https://arxiv.org/abs/1706.05098"]


def test_markup_that_got_in_would_do_nothing(browser: Chrome, hostile: str) -> None:
    show(browser, hostile)
    browser.execute_script("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hurt=1\">')")
    browser.execute_script(
        "const s = document.createElement('script'); s.text = 'window.hurt=1'; document.body.append(s)"
    )
    asked = "fetch('https://example.com/').then(() => 'sent', () => 'refused').then((word) => { window.told = word; })"
    browser.execute_script(asked)
    assert wait_for(browser, "window.told") == "refused"
    assert browser.execute_script("return window.hurt === undefined")
    complaints(browser)  # the policy said so in the console


def test_a_click_on_a_node_shows_its_trial(browser: Chrome, hostile: str) -> None:
    show(browser, hostile)
    click_at(browser, *place_of(browser, 5))
    wait_for(browser, "teamReport.state.selected === 5")
    told = side(browser)
    assert told.startswith("Trial 5: ") and "End of the log" in told and "Change" in told
    assert browser.execute_script("return document.getElementById('ring').style.display") == "block"


def test_keys_walk_through_the_graph(browser: Chrome, hostile: str) -> None:
    show(browser, hostile)
    browser.execute_script("teamReport.select(3); document.getElementById('figure-ideas-0').focus()")
    parent = browser.execute_script("return teamReport.state.rows.get(3).parent")
    for key, expected in (("ArrowRight", 4), ("ArrowLeft", 3), ("ArrowUp", parent), ("End", 23), ("Home", 0)):
        for kind in ("keyDown", "keyUp"):
            browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": key})
        assert browser.execute_script("return teamReport.state.selected") == expected, key


def test_tab_reaches_every_control(browser: Chrome, hostile: str) -> None:
    show(browser, hostile)
    browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    reached = set()
    for _ in range(60):
        for kind in ("rawKeyDown", "keyUp"):
            browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": "Tab", "windowsVirtualKeyCode": 9})
        reached.add(browser.execute_script("const a = document.activeElement; return a.id || a.name || a.tagName"))
    assert {"theme", "figure-ideas-0", "side", "crowding-edges", "colour", "x", "SUMMARY"} <= reached


def test_light_and_dark_follow_the_system_and_the_button(browser: Chrome, hostile: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    tick = "getComputedStyle(document.querySelector('#figure-progress-0 .xtick text')).fill"
    seen = {}
    for scheme in ("light", "dark"):
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        show(browser, hostile)
        seen[scheme] = browser.execute_script(f"return [{ground}, {tick}]")
    assert seen["light"] == ["rgb(245, 246, 248)", "rgb(87, 96, 106)"]
    assert seen["dark"] == ["rgb(14, 17, 22)", "rgb(155, 165, 176)"]
    browser.execute_script("document.getElementById('theme').click()")
    assert browser.execute_script(f"return [{ground}, {tick}]") == seen["light"]
    browser.execute_script("localStorage.clear()")


def test_the_axis_of_progress_can_be_hours(browser: Chrome, hostile: str) -> None:
    show(browser, hostile)
    browser.execute_script("document.querySelector('input[name=x][value=hours]').click()")
    last = wait_for(browser, "document.getElementById('figure-progress-0')._fullData[0].x.at(-1)")
    assert last == pytest.approx(24 * 27 / 3600, rel=1e-3)


def test_it_prints(browser: Chrome, hostile: str) -> None:
    show(browser, hostile)
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})["data"]
    assert len(pdf) > 100_000
    assert complaints(browser) == []


def test_a_thousand_trials_answer(browser: Chrome, long_run: RunFolder, tmp_path: Path) -> None:
    show(browser, write_report(long_run, tmp_path / "long.html").as_uri())
    assert browser.execute_script("return document.querySelectorAll('#figure-ideas-0 .point').length") == 1_000
    browser.execute_script("document.querySelector('input[name=colour][value=axis]').click()")
    fill = "getComputedStyle(document.querySelector('#figure-ideas-0 .point[data-axis=A2]')).fill"
    assert browser.execute_script(f"return {fill}") == "rgb(208, 105, 10)"
    browser.execute_script("teamReport.select(998)")
    assert side(browser).startswith("Trial 998: ")
    assert complaints(browser) == []
