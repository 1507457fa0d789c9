"""A board that is opened once for several tests."""

from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import BrowserContext, Page

from tests import servers
from tests.browser.pages import BOARDS, Board, Pages

CHOSEN = "var-job=api&var-route=/api/orders"


@dataclass(frozen=True)
class Visit:
    """A board that has been opened."""

    board: Board
    page: Page
    pages: Pages

    @property
    def uid(self) -> str:
        return str(self.board["uid"])


def open_board(
    uid: str, context: BrowserContext, recorded: servers.MonitoringServer
) -> Iterator[Visit]:
    """Open a board, and close it in the end."""
    pages = Pages(f"{recorded.url}/user", recorded.folder / "site", context)
    yield Visit(BOARDS[uid], pages.open(uid, CHOSEN), pages)
    pages.close()
