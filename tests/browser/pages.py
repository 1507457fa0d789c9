"""Opens pages of the viewer, finds panels in them, and collects errors."""

import json
import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    ViewportSize,
)

from stack import viewer
from tests.browser import recording

Board = dict[str, Any]
BOARDS: dict[str, Board] = {
    board["uid"]: board
    for board in (json.loads(file.read_text()) for file in sorted(viewer.BOARDS.glob("*.json")))
}
PLOTS = {"timeseries", "heatmap", "state-timeline"}
_TIMEOUT_SECONDS = 30.0
_LOADING = "document.body.innerText.includes('Loading …')"
_IS_AT = "address => location.pathname === new URL(address).pathname"


def some_boards(*uids: str) -> list[Any]:
    """All boards as parameters of a test; only these of `make test`, all of `make test-long`."""
    return [pytest.param(uid, marks=() if uid in uids else pytest.mark.long) for uid in BOARDS]


def panels_of(board: Board) -> list[dict[str, Any]]:
    """Every panel, those in collapsed rows included."""
    found: list[dict[str, Any]] = []
    for panel in board["panels"]:
        found += panel.get("panels", []) if panel["type"] == "row" else [panel]
    return found


def panel(page: Page, panel_id: int) -> Locator:
    """The panel with this id."""
    return page.locator(f'[data-viz-panel-key="panel-{panel_id}"]')


def named(page: Page, uid: str, title: str) -> Locator:
    """The panel of a board with this title."""
    found = next(one for one in panels_of(BOARDS[uid]) if one["title"] == title)
    return panel(page, found["id"])


def menu_of(panel: Locator) -> Locator:
    """The button that opens a panel's menu."""
    return panel.get_by_role("button", name=re.compile("^Menu"))


def choose_in_menu(panel: Locator, item: str) -> None:
    """Click an item of a panel's menu."""
    panel.hover()
    menu_of(panel).click()
    panel.page.get_by_role("menuitem", name=item).click()


@dataclass
class Pages:
    """Opens pages of the viewer, and collects their errors.

    Attributes:
        url: The URL of the viewer.
        site: The folder that it is served from.
        errors: Console errors and failed requests of the pages.
    """

    url: str
    site: Path
    context: BrowserContext
    errors: list[str] = field(default_factory=list)
    _others: list[BrowserContext] = field(default_factory=list)
    _pending: set[Request] = field(default_factory=set)

    def new(self) -> Page:
        """An empty page whose clock is fixed at the end of the recording."""
        self.context.clock.set_fixed_time(recording.END)
        return self.observed(self.context.new_page())

    def running(self, since: float | None = None) -> Page:
        """An empty page with a running clock: the real one, or a fake one from a given time."""
        browser = self.context.browser
        assert browser
        context = browser.new_context(viewport={"width": 1440, "height": 2600}, timezone_id="UTC")
        self._others.append(context)
        if since is not None:
            context.clock.install(time=since)
        return self.observed(context.new_page())

    def observed(self, page: Page) -> Page:
        """The page, whose errors are collected from now on."""
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._on_console)
        page.on("response", self._on_response)
        page.on("request", self._on_request)
        page.on("requestfinished", self._on_request_end)
        page.on("requestfailed", self._on_request_end)
        return page

    def _on_request(self, request: Request) -> None:
        self._pending.add(request)

    def _on_request_end(self, request: Request) -> None:
        self._pending.discard(request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)

    def _on_response(self, response: Response) -> None:
        if response.status >= HTTPStatus.BAD_REQUEST:
            self.errors.append(f"{response.status} {response.url}")

    def open(self, uid: str, query: str = "", *, size: ViewportSize | None = None) -> Page:
        """A board at the time of the recording, with all panels rendered."""
        page = self.new()
        if size:
            page.set_viewport_size(size)
        page.goto(f"{self.url}{self.path(uid, query)}")
        self.settle(page)
        return page

    @staticmethod
    def times() -> str:
        """The time range of the recording, as search parameters."""
        return f"from={(recording.END - 3000) * 1000}&to={recording.END * 1000}"

    @staticmethod
    def path(uid: str, query: str = "") -> str:
        """The path of a board at the time of the recording."""
        return f"/d/{uid}/?{Pages.times()}&refresh=&theme=dark&{query}"

    def follow(self, page: Page, path: str, *, draws: bool = True) -> None:
        """Follow a link within the page, without a page load."""
        page.evaluate(
            """href => {
                const link = Object.assign(document.createElement('a'), { href });
                document.body.append(link);
                link.click();
                link.remove();
            }""",
            f"{self.url}{path}",
        )
        page.wait_for_function(_IS_AT, arg=f"{self.url}{path}")
        if draws:
            self.settle(page)

    def settle(self, page: Page) -> None:
        """Wait until every panel of a board has its data."""
        page.locator("[data-viz-panel-key]").first.wait_for()
        self.quiet(page)

    def quiet(self, page: Page) -> None:
        """Wait until no requests have been pending for a moment."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        quiet = 0
        while quiet < 3:
            page.wait_for_timeout(60)
            quiet = 0 if self._pending or page.evaluate(_LOADING) else quiet + 1
            if time.monotonic() > deadline:
                pending = [request.url for request in self._pending]
                raise TimeoutError(f"{page.url} is still loading: {pending}")

    def close(self) -> None:
        """Close the pages; none may have logged errors."""
        for page in self.context.pages:
            page.close()
        for context in self._others:
            context.close()
        self.assert_no_errors()

    def assert_no_errors(self) -> None:
        """Assert that no errors were collected."""
        errors, self.errors = self.errors, []
        assert not errors, errors
