"""Fixtures: the built viewer on a Prometheus with a fixed hour of data; Debian's Chromium."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Route, expect, sync_playwright

from alerts.rule_files import recording_depths
from export import static_site
from stack import viewer
from stack.installation import service_user
from stack.installation.paths import CHECKOUT
from tests import servers
from tests.browser import recording
from tests.browser.pages import Pages
from tests.browser.visits import Visit

FLAGS = [
    "--no-sandbox",  # Chromium refuses root otherwise; it opens nothing but our own pages
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
]
SITE_FLAG = "--web.user-assets=../site"
"""Beside the data, which is where Prometheus runs."""
FIRING = """
groups:
  - name: now
    rules:
      - record: vitals_workers  # which the boards offer the jobs of
        expr: vector(1)
        labels: {job: api}
      - alert: AlwaysHere
        expr: vector(1)
        labels: {job: api, severity: page}
        annotations: {summary: Something is wrong, board: svc-db}
"""
INHIBITED_RULE = """
groups:
  - name: held back
    rules:
      - alert: HeldBack
        expr: vector(1)
        labels: {job: api, severity: ticket}
"""
INHIBITING_CONFIG = {
    "route": {"receiver": "nobody", "group_wait": "1s", "group_interval": "1s"},
    "receivers": [{"name": "nobody"}],
    "inhibit_rules": [
        {
            "source_matchers": ["severity=page"],
            "target_matchers": ["severity=ticket"],
            "equal": ["job"],
        }
    ],
}
TRACES = "http://traces.invalid/trace/{trace}"


expect.set_options(timeout=15_000)
"""Browsers are slow where much else runs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Only known if this folder is given: `python -m pytest tests/browser --record`."""
    parser.addoption("--record", action="store_true", help="replace the pictures of the boards")


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> bool:
    """Whether pictures are replaced instead of compared."""
    return bool(request.config.getoption("--record", default=False))


@pytest.fixture
def visit(opened: Visit) -> Iterator[Visit]:
    """An open board; no errors may be logged during a test."""
    yield opened
    opened.pages.assert_no_errors()


@pytest.fixture(scope="session")
def built() -> Path:
    """The built viewer."""
    viewer.build()
    return viewer.BUILT


@pytest.fixture(scope="session")
def recorded(built: Path) -> Iterator[servers.MonitoringServer]:
    """A Prometheus with the fixed hour of data, which serves the viewer.

    It must not scrape: a current sample would make it compact the old blocks while we add some.
    """
    watcher = servers.start_prometheus({}, [SITE_FLAG, "--storage.tsdb.retention.time=100y"])
    watcher.stop()
    data = watcher.folder / "data"
    publish(built, watcher)
    recording.write_raw(data)
    depths = recording_depths()
    for depth in range(1, 1 + max(depths.values())):
        _restart(watcher, data)
        records = {record for record, its_depth in depths.items() if its_depth == depth}
        recording.write_recorded(data, CHECKOUT / "prometheus" / "rules", watcher.url, records)
        watcher.stop()
    _restart(watcher, data)
    yield watcher
    watcher.close()


@pytest.fixture
def firing(built: Path) -> Iterator[servers.MonitoringServer]:
    """A Prometheus with a firing alert, which serves the viewer too."""
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": ["firing.yml"]}
    watcher = servers.start_prometheus(config, [SITE_FLAG, "--rules.alert.resend-delay=1s"])
    publish(built, watcher)
    (watcher.folder / "firing.yml").write_text(FIRING)
    watcher.reload()
    yield watcher
    watcher.close()


@pytest.fixture
def delivering(firing: servers.MonitoringServer) -> Iterator[servers.MonitoringServer]:
    """An Alertmanager that receives that alert, and one that it inhibits."""
    manager = servers.start_alertmanager(INHIBITING_CONFIG)
    config = {
        "global": {"evaluation_interval": "1s"},
        "rule_files": ["firing.yml", "held.yml"],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager.port}"]}]}]
        },
    }
    (firing.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (firing.folder / "held.yml").write_text(INHIBITED_RULE)
    own(firing.folder)
    firing.reload()
    yield manager
    manager.close()


def publish(built: Path, watcher: servers.MonitoringServer) -> None:
    """Publish the viewer for a Prometheus that runs with `SITE_FLAG`."""
    settings = {"scrapeSeconds": 30, "traceUrl": TRACES}
    static_site.publish(built, viewer.BOARDS, viewer.RUNBOOKS, watcher.folder / "site", settings)
    own(watcher.folder)


def own(folder: Path) -> None:
    if user := service_user.default_user():
        user.chown(folder)


def _restart(watcher: servers.MonitoringServer, data: Path) -> None:
    own(data)
    watcher.start()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; for one module, because other tests want the event loop that it holds."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser context, so tall that all panels are rendered."""
    opened = browser.new_context(
        viewport={"width": 1440, "height": 2600}, timezone_id="UTC", reduced_motion="reduce"
    )
    yield opened
    opened.close()


@pytest.fixture
def pages(context: BrowserContext, recorded: servers.MonitoringServer) -> Iterator[Pages]:
    """Pages of one test; none may log errors."""
    opened = Pages(f"{recorded.url}/user", recorded.folder / "site", context)
    yield opened
    opened.close()


@pytest.fixture
def answer() -> Callable[[str], Callable[[Route], None]]:
    """Fulfil a request with a text."""
    return lambda text: lambda route: route.fulfill(body=text, content_type="application/json")
