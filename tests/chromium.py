"""A real headless Chromium, as the distribution packages it, for tests that look at a page. It never asks a network."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome

BINARY = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SWITCHES = "--headless=new --disable-dev-shm-usage --disable-background-networking --no-first-run --hide-scrollbars"


@contextlib.contextmanager
def open_chromium(width: int = 1320, height: int = 1000) -> Iterator[Chrome]:
    """Yield a browser whose console and requests are recorded; skip the test where this machine has none."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (group dev)")
    if BINARY is None or DRIVER is None:
        pytest.skip("no Chromium with its driver here: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = BINARY
    for switch in (*SWITCHES.split(), f"--window-size={width},{height}"):
        options.add_argument(switch)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's own refuses to start as root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


def wait_for(browser: Chrome, script: str, seconds: float = 60) -> Any:
    """Return what a script returns once that is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := browser.execute_script(f"return {script}"):
            return found
        time.sleep(0.05)
    raise AssertionError(f"not true within {seconds} s: {script}; console: {complaints(browser)}")


def complaints(browser: Chrome) -> list[str]:
    """Return what the console holds of warnings and errors, and forget it."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] != "INFO"]  # type: ignore[no-untyped-call]


def requested(browser: Chrome) -> set[str]:
    """Return the addresses that were asked for since the last call, those inside the page left out."""
    found = set()
    for entry in browser.get_log("performance"):  # type: ignore[no-untyped-call]
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.add(message["params"]["request"]["url"])
    return {url for url in found if not url.startswith(("data:", "blob:"))}


def show(browser: Chrome, url: str) -> None:
    """Open a report and wait until it is drawn."""
    browser.get(url)
    wait_for(browser, "document.documentElement.dataset.drawn")
    wait_for(browser, "[...document.querySelectorAll('.figure[role]')].every((one) => one._fullLayout)")


def place_of(browser: Chrome, trial: int) -> tuple[float, float]:
    """Return where a trial's node is in the window."""
    script = """
        const node = document.getElementById('figure-ideas-0');
        node.scrollIntoView({block: 'center'});
        for (const trace of node._fullData) {
            const i = trace.customdata ? trace.customdata.indexOf(arguments[0]) : -1;
            if (i < 0) continue;
            const {xaxis, yaxis} = node._fullLayout, box = node.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.l2p(trace.x[i]), box.top + yaxis._offset + yaxis.l2p(trace.y[i])];
        }"""
    x, y = browser.execute_script(script, trial)
    return x, y


def click_at(browser: Chrome, x: float, y: float) -> None:
    """Move the mouse to a place of the window and click, as a person does."""
    common = {"x": x, "y": y, "button": "left", "clickCount": 1}
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **common})  # type: ignore[no-untyped-call]
        time.sleep(0.1)
