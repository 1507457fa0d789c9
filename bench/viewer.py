"""How fast the first board is drawn, and whether it stays small while it is watched.

Against a running stack (`make demo`): `python -m bench.viewer --minutes 10`.
"""

import argparse
import statistics
import sys
import tempfile
import time
from typing import Any

from playwright.sync_api import Browser, BrowserType, Page, sync_playwright

CHROMIUM: Any = {
    "executable_path": "/usr/bin/chromium",
    "args": ["--no-sandbox", "--disable-gpu"],
}
_LIMIT_SECONDS = 2.0
_LIMIT_GROWTH = 0.10
_DRAWN = """() => {
    const panels = [...document.querySelectorAll('[data-viz-panel-key]')];
    const inView = panels.filter(panel => panel.getBoundingClientRect().top < innerHeight);
    return inView.length > 3 && inView.every(panel => panel.innerText.includes('\\n'))
        && document.querySelectorAll('.u-over').length > 2
        && !document.body.innerText.includes('Loading …');
}"""


def first_board(chromium: BrowserType, url: str, rounds: int = 5) -> float:
    """Median seconds from an address to a drawn overview, with the files on the browser's disk."""
    taken = []
    with tempfile.TemporaryDirectory() as profile:
        context = chromium.launch_persistent_context(
            profile, **CHROMIUM, viewport={"width": 1440, "height": 900}
        )
        for _ in range(rounds + 1):
            page = context.new_page()
            begun = time.perf_counter()
            page.goto(f"{url}/d/svc-overview/", wait_until="commit")
            page.wait_for_function(_DRAWN)
            taken.append(time.perf_counter() - begun)
            page.close()
        context.close()
    return statistics.median(taken[1:])


def soak(browser: Browser, url: str, minutes: float) -> list[float]:
    """Megabytes of live heap once a minute, while the overview asks anew every five seconds."""
    page = browser.new_page(viewport={"width": 1440, "height": 2600})
    page.goto(f"{url}/d/svc-overview/?refresh=5s&from=now-15m")
    page.wait_for_function(_DRAWN)
    page.wait_for_timeout(60_000)  # caches fill, code is compiled
    sizes = [_heap(page)]
    for _ in range(max(1, round(minutes))):
        page.wait_for_timeout(60_000)
        sizes.append(_heap(page))
    return sizes


def _heap(page: Page) -> float:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = float(session.send("Runtime.getHeapUsage")["usedSize"])
    session.detach()
    return used / 1e6


def main() -> int:
    """Measure and judge; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.viewer", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:9090/user")
    parser.add_argument("--minutes", type=float, default=10)
    asked = parser.parse_args()
    with sync_playwright() as playwright:
        seconds = first_board(playwright.chromium, asked.url)
        print(f"first board drawn in {seconds:.2f} s (limit {_LIMIT_SECONDS:g} s)")
        browser = playwright.chromium.launch(**CHROMIUM)
        sizes = soak(browser, asked.url, asked.minutes)
        browser.close()
    growth = sizes[-1] / sizes[0] - 1
    print("heap in MB:", ", ".join(f"{size:.1f}" for size in sizes))
    print(f"growth {growth:+.1%} over {len(sizes) - 1} min (limit {_LIMIT_GROWTH:+.0%})")
    return int(seconds > _LIMIT_SECONDS or growth > _LIMIT_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
