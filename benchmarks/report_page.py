"""How fast a report of 1,000 trials is: written, opened, and answering a person, in a real Chromium.

python -m benchmarks.report_page RUN_FOLDER
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from graph.run_folder import RunFolder
from team.report.build import Gatherer
from team.report.writer import write_report
from tests.chromium import click_at, open_chromium, place_of, show

WATCH = """
window.slow = [];
new PerformanceObserver((list) => { for (const e of list.getEntries()) window.slow.push([e.name, e.duration]); })
    .observe({type: 'event', durationThreshold: 16});
"""
STEP = """
const done = arguments[arguments.length - 1], begun = performance.now();
(new Function('return ' + arguments[0]))()();
requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun), 0));
"""


def main_thread_ms(browser: Any) -> float:
    """Return the CPU time of the page's main thread so far, which a busy machine does not lengthen."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")


def main() -> None:
    folder = RunFolder(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as place:
        gatherer, path = Gatherer(folder), Path(place) / "report.html"
        write_report(folder, path, gatherer)
        begun, cpu = time.monotonic(), time.process_time()
        write_report(folder, path, gatherer)
        print(f"written again in {time.monotonic() - begun:.2f} s ({time.process_time() - cpu:.2f} s of CPU)")
        print(f"{path.stat().st_size / 1e6:.2f} MB")
        with open_chromium() as browser:
            begun = time.monotonic()
            show(browser, path.as_uri())
            print(f"opened and drawn in {time.monotonic() - begun:.2f} s")
            time.sleep(2)
            browser.execute_script(WATCH)
            n = browser.execute_script("return teamReport.state.payload.trials.length")
            for trial in range(5, n, max(1, n // 12)):
                click_at(browser, *place_of(browser, trial))
                time.sleep(0.2)
            print(f"last chosen: {browser.execute_script('return teamReport.state.selected')}")
            slow = browser.execute_script("return window.slow")
            for kind in ("pointermove", "mousemove", "pointerdown", "pointerup", "click"):
                took = [duration for name, duration in slow if name == kind]
                if took:
                    print(
                        f"{kind}: median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms to the next frame"
                    )
            browser.set_script_timeout(30)
            browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
            steps = {
                "choose a trial": "() => teamReport.select(Math.floor(Math.random() * {n}))",
                "colour by axis": "() => document.querySelector('input[name=colour][value=axis]').click()",
                "crowding edges": "() => document.getElementById('crowding-edges').click()",
                "over hours": "() => document.querySelector('input[name=x][value=hours]').click()",
                "light or dark": "() => document.getElementById('theme').click()",
            }
            for name, step in steps.items():
                before = main_thread_ms(browser)
                wall = browser.execute_async_script(STEP, step.replace("{n}", str(n)))
                time.sleep(1)
                print(f"{name}: {wall:.0f} ms, the page worked {main_thread_ms(browser) - before:.0f} ms")


if __name__ == "__main__":
    main()
