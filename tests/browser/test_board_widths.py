"""Boards on a telephone, a tablet, a desk and a large screen, in both themes."""

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from tests import servers
from tests.browser import accessibility
from tests.browser.pages import BOARDS, Pages
from tests.browser.visits import CHOSEN

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.long]

WIDTHS = (390, 820, 1440, 2560)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("uid", BOARDS)
def test_boards_are_accessible_and_fit_at_every_width(
    uid: str,
    theme: str,
    context: BrowserContext,
    recorded: servers.MonitoringServer,
    tmp_path: Path,
) -> None:
    pages = Pages(f"{recorded.url}/user", recorded.folder / "site", context)
    page = pages.open(uid, f"{CHOSEN}&theme={theme}")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 2600})
        pages.settle(page)
        page.screenshot(path=tmp_path / f"{uid}-{theme}-{width}.png")
        assert not accessibility.serious(page), width
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0, f"it scrolls sideways at {width} px"
    pages.assert_no_errors()
    pages.close()
