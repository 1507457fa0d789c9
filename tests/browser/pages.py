"""Opens pages of the viewer, finds panels in them, and remembers what went wrong."""

import json
import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

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
_PATIENCE = 30.0
_LOADING = "document.body.innerText.includes('Loading …')"
_IS_AT = "address => location.pathname === new URL(address).pathname"


def panels_of(board: Board) -> list[dict[str, Any]]:
    """Every panel, also those in folded rows."""
    found: list[dict[str, Any]] = []
    for panel in board["panels"]:
        found += panel.get("panels", []) if panel["type"] == "row" else [panel]
    return found


def panel(page: Page, panel_id: int) -> Locator:
    """The panel of a number, as long as it is in the page."""
    return page.locator(f'[data-viz-panel-key="panel-{panel_id}"]')


def named(page: Page, uid: str, title: str) -> Locator:
    """The panel of a board that has this title."""
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
    _others: list[BrowserContext] = field(default_factory=list)
    _under_way: set[Request] = field(default_factory=set)

    def new(self) -> Page:
        """An empty page whose clock stands at the end of the recording."""
        self.context.clock.set_fixed_time(recording.END)
        return self._hearing(self.context.new_page())

    def running(self, since: float | None = None) -> Page:
        """An empty page whose clock runs: the true one, or one of ours since a moment."""
        browser = self.context.browser
        assert browser
        context = browser.new_context(viewport={"width": 1440, "height": 2600}, timezone_id="UTC")
        self._others.append(context)
        if since is not None:
            context.clock.install(time=since)
        return self._hearing(context.new_page())

    def _hearing(self, page: Page) -> Page:
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)
        page.on("response", self._see)
        page.on("request", self._ask)
        page.on("requestfinished", self._get)
        page.on("requestfailed", self._get)
        return page

    def _ask(self, request: Request) -> None:
        self._under_way.add(request)

    def _get(self, request: Request) -> None:
        self._under_way.discard(request)

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
        page.goto(f"{self.url}{self.path(uid, query)}")
        self.settle(page)
        return page

    @staticmethod
    def path(uid: str, query: str = "") -> str:
        """The path of a board at the time of the recording."""
        times = f"from={(recording.END - 3000) * 1000}&to={recording.END * 1000}"
        return f"/d/{uid}/?{times}&refresh=&theme=dark&{query}"

    def follow(self, page: Page, path: str, *, draws: bool = True) -> None:
        """Go to a place as a link in the page would, without loading everything again."""
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
        """Wait until every panel of a board has its answer."""
        page.locator("[data-viz-panel-key]").first.wait_for()
        self.quiet(page)

    def quiet(self, page: Page) -> None:
        """Wait until nothing has been asked for a moment."""
        deadline = time.monotonic() + _PATIENCE
        quiet = 0
        while quiet < 3:
            page.wait_for_timeout(60)
            quiet = 0 if self._under_way or page.evaluate(_LOADING) else quiet + 1
            if time.monotonic() > deadline:
                asked = [request.url for request in self._under_way]
                raise TimeoutError(f"{page.url} is still loading: {asked}")

    def close(self) -> None:
        """Close the pages; none may have complained."""
        for page in self.context.pages:
            page.close()
        for context in self._others:
            context.close()
        self.silent()

    def silent(self) -> None:
        """Nothing was complained of until now."""
        complaints, self.complaints = self.complaints, []
        assert not complaints, complaints
