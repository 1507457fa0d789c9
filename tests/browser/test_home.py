"""The home page: list of boards, alerts, errors."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser import accessibility, pictures
from tests.browser.pages import BOARDS, Pages

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_lists_every_service_and_board(
    pages: Pages, theme: str, tmp_path: Path, *, record: bool
) -> None:
    page = pages.new()
    page.goto(f"{pages.url}/?theme={theme}&{Pages.times()}")
    main = page.get_by_role("main")
    for uid, board in BOARDS.items():
        if uid != "svc-services":
            entry = main.get_by_role("link", name=f"{board['title']} {board['description']}")
            expect(entry).to_be_visible()
    pages.settle(page)
    services = main.get_by_role("grid").get_by_role("row")
    expect(services.nth(1)).to_contain_text("api")  # the worst first: it has firing alerts
    expect(services.nth(2)).to_contain_text("shop")
    pictures.compare(page, f"home-{theme}", tmp_path, record=record)
    assert not accessibility.serious(page)
    main.get_by_role("link", name="Runtime").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runtime")


def test_a_service_is_one_click_from_its_board(pages: Pages) -> None:
    page = pages.new()
    page.goto(f"{pages.url}/?{Pages.times()}")
    page.get_by_role("main").get_by_role("link", name="shop", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Service overview")
    expect(page).to_have_url(re.compile("var-job=shop"))


def test_an_unknown_board_is_an_error(pages: Pages) -> None:
    page = pages.new()
    page.goto(f"{pages.url}/d/svc-runtime/?refresh=")
    pages.settle(page)
    pages.follow(page, "/d/gone/", draws=False)
    expect(page.get_by_role("alert")).to_contain_text('Board "gone" not found: 404')
    errors, pages.errors = pages.errors, []
    assert all("404" in error for error in errors)
    page.keyboard.press("h")
    expect(page.get_by_role("heading", level=1)).to_have_text("Services")


def test_a_missing_list_of_boards_is_an_error(pages: Pages) -> None:
    page = pages.new()
    page.route(re.compile("boards/index.json"), _refuse)
    page.goto(f"{pages.url}/")
    expect(page.get_by_role("alert")).to_contain_text("Failed to load the list of boards")
    errors, pages.errors = pages.errors, []
    assert all("503" in error for error in errors)


def _refuse(route: Route) -> None:
    route.fulfill(status=503, body="")
