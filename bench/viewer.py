"""The viewer: time to the first board, and growth of the heap while a board is open.

Against a running stack (`make demo`): `python -m bench.viewer --minutes 10`.
"""

import argparse
import gzip
import re
import statistics
import sys
import tempfile
import time
from typing import Any

from playwright.sync_api import Browser, BrowserType, Page, Route, sync_playwright

from stack.viewer import BUILT

CHROMIUM: Any = {
    "executable_path": "/usr/bin/chromium",
    "args": ["--no-sandbox", "--disable-gpu"],
}
_LIMIT_BYTES = 900_000
_LIMIT_SECONDS = 2.0
_WARMUP = 3
"""Visits until the browser caches compiled code."""
_LIMIT_GROWTH = 0.10
_IS_DRAWN = """() => {
    const panels = [...document.querySelectorAll('[data-viz-panel-key]')];
    const inView = panels.filter(panel => panel.getBoundingClientRect().top < innerHeight);
    return inView.length > 3 && inView.every(panel => panel.innerText.includes('\\n'))
        && document.querySelectorAll('.u-over').length > 2
        && !document.body.innerText.includes('Loading …');
}"""


def bundle() -> int:
    """Compressed bytes that the browser fetches before it draws anything."""
    found = re.search(
        r'<script type="module"[^>]* src="([^"]+)"', (BUILT / "index.html").read_text()
    )
    if not found:
        raise LookupError(f"{BUILT / 'index.html'} loads no module: build the viewer first")
    return len(gzip.compress((BUILT / found[1]).read_bytes()))


def first_board(chromium: BrowserType, url: str, rounds: int = 5) -> list[float]:
    """Seconds from opening the URL to a drawn overview.

    Files and compiled code are in the browser's disk cache; the browser is restarted each time.
    """
    with tempfile.TemporaryDirectory() as profile:
        taken = [_time_to_draw(chromium, url, profile) for _ in range(_WARMUP + rounds)]
    return taken[_WARMUP:]


def _time_to_draw(chromium: BrowserType, url: str, profile: str) -> float:
    context = chromium.launch_persistent_context(
        profile, **CHROMIUM, viewport={"width": 1440, "height": 900}
    )
    page = context.new_page()
    begun = time.perf_counter()
    page.goto(f"{url}/d/svc-overview/", wait_until="commit")
    page.wait_for_function(_IS_DRAWN)
    taken = time.perf_counter() - begun
    context.close()
    return taken


def soak(browser: Browser, url: str, minutes: float) -> list[float]:
    """Megabytes of live heap once a minute, while the overview refreshes every five seconds."""
    page = browser.new_page(viewport={"width": 1440, "height": 2600})
    page.route("**/boards/svc-overview.json", _allow_five_second_refresh)
    page.goto(f"{url}/d/svc-overview/?refresh=5s&from=now-15m")
    page.wait_for_function(_IS_DRAWN)
    page.wait_for_timeout(60_000)  # until caches are filled and code is compiled
    sizes = [_heap(page)]
    for _ in range(max(1, round(minutes))):
        page.wait_for_timeout(60_000)
        sizes.append(_heap(page))
    return sizes


def _allow_five_second_refresh(route: Route) -> None:
    """Boards offer ten seconds at least, and only offered intervals can be selected."""
    board = route.fetch().json()
    board["timepicker"]["refresh_intervals"] = ["5s"]
    route.fulfill(json=board)


def _heap(page: Page) -> float:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = float(session.send("Runtime.getHeapUsage")["usedSize"])
    session.detach()
    return used / 1e6


def main() -> int:
    """Measure and compare with the limits; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.viewer", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:9090/user")
    parser.add_argument(
        "--minutes", type=float, default=10, help="duration of the soak; 0 skips it"
    )
    options = parser.parse_args()
    size = bundle()
    print(f"bundle {size / 1000:.0f} kB compressed (limit {_LIMIT_BYTES / 1000:.0f} kB)")
    with sync_playwright() as playwright:
        taken = first_board(playwright.chromium, options.url)
        seconds = statistics.median(taken)
        print(
            f"first board drawn in {seconds:.2f} s"
            f" ({min(taken):.2f}-{max(taken):.2f}; limit {_LIMIT_SECONDS:g} s)"
        )
        good = size <= _LIMIT_BYTES and seconds <= _LIMIT_SECONDS
        if options.minutes > 0:
            browser = playwright.chromium.launch(**CHROMIUM)
            good &= _is_growth_within_limit(soak(browser, options.url, options.minutes))
            browser.close()
    return int(not good)


def _is_growth_within_limit(sizes: list[float]) -> bool:
    growth = sizes[-1] / sizes[0] - 1
    print("heap in MB:", ", ".join(f"{size:.1f}" for size in sizes))
    print(f"growth {growth:+.1%} over {len(sizes) - 1} min (limit {_LIMIT_GROWTH:+.0%})")
    return growth <= _LIMIT_GROWTH


if __name__ == "__main__":
    sys.exit(main())
