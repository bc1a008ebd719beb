"""The live page in a real browser: it follows the run by itself, wants its token, and asks nobody but its server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from graph.run_folder import RunFolder
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


def test_without_the_token_it_shows_nothing_but_the_question(tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(make_run(tmp_path / "runs", 4).path, tmp_path / "other"))
    with open_chromium() as browser, serving(run, "--token", TOKEN) as page:
        browser.get(f"http://127.0.0.1:{page.port}/")
        wait_for(browser, "document.getElementById('token')")
        assert "tight-binding" not in browser.page_source
        browser.execute_script(f"document.getElementById('token').value = '{TOKEN}'")
        browser.execute_script("document.querySelector('#live form').requestSubmit()")
        wait_for(browser, "document.documentElement.dataset.drawn")
