"""The inbox's pages in a browser: readable by all, on a phone too."""

import threading
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from stack.inbox import server
from stack.inbox.pages import TABS
from tests.browser import accessibility
from tests.stack.inbox.test_archive import EVENT, SLACK
from tests.stack.inbox.test_server import MESSAGE

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

_LONG = "https://boards.example/d/svc-overview?var-job=" + "x" * 200


@pytest.fixture
def url() -> Iterator[str]:
    running = server.build(0, viewer="http://viewer.example/user")
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{running.server_port}"
    lines = f"Board: {_LONG}\n  <{_LONG}|Trace> <{_LONG}|Issue>"
    text = SLACK["attachments"][0] | {"text": lines}
    alert = MESSAGE["alerts"][0]
    alert = alert | {"annotations": alert["annotations"] | {"trace": _LONG, "error": _LONG}}
    httpx.post(f"{address}/", json=MESSAGE | {"alerts": [alert]}).raise_for_status()
    httpx.post(f"{address}/slack", json={"attachments": [text]}).raise_for_status()
    httpx.post(f"{address}/pagerduty", json=EVENT).raise_for_status()
    yield address
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 390), ("dark", 2560)])
def test_every_tab_is_readable(browser: Browser, url: str, theme: str, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if theme == "dark" else "light",
        bypass_csp=True,  # for axe: the pages allow no scripts
    )
    page = context.new_page()
    page.goto(url)
    for tab, title in TABS.items():
        page.get_by_role("link", name=title).click()
        page.wait_for_url(f"**show={tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        if tab in {"slack", "alerts"}:  # short, whatever its address
            trace = page.get_by_role("link", name="Trace", exact=True).bounding_box()
            assert trace
            assert trace["width"] < width / 2
        assert not accessibility.serious(page)
    context.close()
