"""The viewer, built, over a Prometheus that holds a fixed hour; and Debian's Chromium."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    Route,
    ViewportSize,
    sync_playwright,
)

from stack import account, site, viewer
from stack.installation import CHECKOUT
from tests import servers

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
      - record: app_build_info
        expr: vector(1)
        labels: {job: api}
      - alert: AlwaysHere
        expr: vector(1)
        labels: {job: api, severity: page}
        annotations: {summary: Something is wrong, board: svc-db}
"""
TRACES = "http://traces.invalid/trace/{trace}"


def _beside(name: str) -> ModuleType:
    """Import a module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


recording = _beside("recording")


@dataclass
class Pages:
    """Opens pages of the viewer, and remembers what went wrong in them.

    Attributes:
        url: Where the viewer is.
        site: The folder that it is served from.
        complaints: What pages said on their consoles or did not get.
    """

    url: str
    site: Path
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    def new(self, now: float | None = recording.END) -> Page:
        """An empty page whose clock stands at the end of the recording, or runs if None."""
        page = self.context.new_page()
        if now is not None:
            page.clock.set_fixed_time(now)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)
        page.on("response", self._see)
        return page

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.complaints.append(said.text)

    def _see(self, got: Response) -> None:
        if got.status >= HTTPStatus.BAD_REQUEST:
            self.complaints.append(f"{got.status} {got.url}")

    def open(self, uid: str, query: str = "", *, size: ViewportSize | None = None) -> Page:
        """A board at the time of the recording, all its panels drawn."""
        page = self.new()
        if size:
            page.set_viewport_size(size)
        times = f"from={(recording.END - 3000) * 1000}&to={recording.END * 1000}"
        page.goto(f"{self.url}/d/{uid}/?{times}&refresh=&theme=dark&{query}")
        self.settle(page)
        return page

    @staticmethod
    def settle(page: Page) -> None:
        """Wait until every panel has its answer."""
        page.locator("[data-viz-panel-key]").first.wait_for()
        page.wait_for_load_state("networkidle")
        page.get_by_text("Loading …").first.wait_for(state="detached")


@pytest.fixture(scope="session")
def built() -> Path:
    """The viewer, built unless it is already."""
    if not viewer.is_fresh():
        viewer.build()
    return viewer.BUILT


@pytest.fixture(scope="session")
def recorded(built: Path) -> Iterator[servers.Watcher]:
    """A Prometheus with the fixed hour in it, which serves the viewer.

    It must not write: a sample of today would make it rearrange the old blocks while we add some.
    """
    watcher = servers.start_prometheus({}, [SITE_FLAG, "--storage.tsdb.retention.time=100y"])
    watcher.stop()
    data = watcher.folder / "data"
    _publish(built, watcher)
    recording.write_raw(data)
    for _ in range(recording.PASSES):
        _restart(watcher, data)
        recording.write_recorded(data, CHECKOUT / "prometheus" / "rules", watcher.url)
        watcher.stop()
    _restart(watcher, data)
    yield watcher
    watcher.close()


@pytest.fixture
def firing(built: Path) -> Iterator[servers.Watcher]:
    """A Prometheus in which an alert fires now, which serves the viewer too."""
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": ["firing.yml"]}
    watcher = servers.start_prometheus(config, [SITE_FLAG])
    _publish(built, watcher)
    (watcher.folder / "firing.yml").write_text(FIRING)
    watcher.reload()
    yield watcher
    watcher.close()


def _publish(built: Path, watcher: servers.Watcher) -> None:
    settings = {"scrapeSeconds": 30, "traceUrl": TRACES}
    site.publish(built, viewer.BOARDS, watcher.folder / "site", settings)
    _own(watcher.folder)


def _own(folder: Path) -> None:
    if servant := account.servant():
        servant.own(folder)


def _restart(watcher: servers.Watcher, data: Path) -> None:
    _own(data)
    watcher.start()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; for one module, because other tests want the event loop that it holds."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def pages(browser: Browser, recorded: servers.Watcher) -> Iterator[Pages]:
    """Pages of one person, so tall that all panels are drawn; none may complain."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 2600}, timezone_id="UTC", reduced_motion="reduce"
    )
    opened = Pages(f"{recorded.url}/user", recorded.folder / "site", context)
    yield opened
    context.close()
    assert not opened.complaints


@pytest.fixture
def answer() -> Callable[[str], Callable[[Route], None]]:
    """Answer a request with a text."""
    return lambda text: lambda route: route.fulfill(body=text, content_type="application/json")
