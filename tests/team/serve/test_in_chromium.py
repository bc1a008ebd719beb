"""The live page in a real browser: it follows the run by itself, wants its token, and asks nobody but its server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from graph.context import Event
from graph.run_folder import RunFolder
from memory.journal import Journal
from team.now import announce
from tests.chromium import complaints, open_chromium, requested, wait_for
from tests.memory.builders import trial
from tests.team.report.runs import HOSTILE, journal_line, make_run
from tests.team.serve.test_serve import TOKEN, serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.browser


def test_the_page_follows_its_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", 8, hostile=True)
    with open_chromium() as browser, serving(run, "--token", TOKEN) as page:
        complaints(browser), requested(browser)
        browser.get(f"http://127.0.0.1:{page.port}/#token={TOKEN}")
        wait_for(browser, "document.documentElement.dataset.drawn === '1'")
        assert browser.execute_script("return location.hash") == ""
        browser.execute_script("teamReport.select(2)")
        with run.journal.open("ab") as journal:
            journal.write(journal_line(trial(8, 0.4, parent=0)))
        wait_for(browser, "teamReport.state.payload.trials.length === 9")
        wait_for(browser, "document.documentElement.dataset.drawn === '2'")
        assert browser.execute_script("return teamReport.state.selected") == 2
        assert HOSTILE in browser.execute_script("return document.getElementById('log').textContent")
        assert browser.execute_script("return window.hurt === undefined")
        browser.execute_script("document.getElementById('resume').disabled = false")
        assert browser.execute_script("return document.getElementById('pause').disabled")
        assert complaints(browser) == []
        assert {url.split("/")[2] for url in requested(browser)} == {f"127.0.0.1:{page.port}"}


def test_several_trials_at_work_are_listed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", 4, hostile=True)
    words = "return [...document.querySelectorAll('#at-work li')].map((one) => one.textContent)"
    with Journal(run.journal).lock(), announce(run) as announcer, open_chromium() as browser, serving(run) as page:
        browser.get(f"http://127.0.0.1:{page.port}/")
        announcer.listen(Event("node", 4, node="train", idea=trial(4, title=HOSTILE).idea))
        wait_for(browser, "document.getElementById('work').textContent.startsWith('trial 4: ')")
        assert browser.execute_script("return document.getElementById('at-work').hidden")
        for number in range(5, 20):
            announcer.listen(Event("node", number, node="code", idea=trial(number, title=f"idea {number}").idea))
        wait_for(browser, "document.getElementById('work').textContent === '16 trials'")
        listed = browser.execute_script(words)
        assert len(listed) == 13 and listed[0] == f"trial 4, starting: {HOSTILE}"
        assert listed[-2:] == ["trial 15, coder: idea 15", "and 4 more"]
        assert browser.execute_script("return window.hurt === undefined")
        assert "after these trials" in browser.execute_script("return document.getElementById('pause').textContent")
        announcer.end()
        wait_for(browser, "document.getElementById('at-work').hidden")


def test_without_the_token_it_shows_nothing_but_the_question(tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(make_run(tmp_path / "runs", 4).path, tmp_path / "other"))
    with open_chromium() as browser, serving(run, "--token", TOKEN) as page:
        browser.get(f"http://127.0.0.1:{page.port}/")
        wait_for(browser, "document.getElementById('token')")
        assert "tight-binding" not in browser.page_source
        browser.execute_script(f"document.getElementById('token').value = '{TOKEN}'")
        browser.execute_script("document.querySelector('#live form').requestSubmit()")
        wait_for(browser, "document.documentElement.dataset.drawn")
