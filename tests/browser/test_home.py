"""The home page: list of boards, alerts, errors."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser import accessibility, pictures
from tests.browser.pages import BOARDS, Pages

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_lists_every_board_with_its_description(
    pages: Pages, theme: str, tmp_path: Path, *, record: bool
) -> None:
    page = pages.new()
    page.goto(f"{pages.url}/?theme={theme}")
    main = page.get_by_role("main")
    for board in BOARDS.values():
        expect(
            main.get_by_role("link", name=f"{board['title']} {board['description']}")
        ).to_be_visible()
    expect(main.get_by_text("no alerts firing")).to_be_visible()
    pages.quiet(page)
    pictures.compare(page, f"home-{theme}", tmp_path, record=record)
    assert not accessibility.serious(page)
    main.get_by_role("link", name="Runtime").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runtime")


def test_an_unknown_board_is_an_error(pages: Pages) -> None:
    page = pages.new()
    page.goto(f"{pages.url}/d/svc-runtime/?refresh=")
    pages.settle(page)
    pages.follow(page, "/d/gone/", draws=False)
    expect(page.get_by_role("alert")).to_contain_text('Board "gone" not found: 404')
    errors, pages.errors = pages.errors, []
    assert all("404" in error for error in errors)
    page.keyboard.press("h")
    expect(page.get_by_role("heading", level=1)).to_have_text("Boards")


def test_a_missing_list_of_boards_is_an_error(pages: Pages) -> None:
    page = pages.new()
    page.route(re.compile("boards/index.json"), _refuse)
    page.goto(f"{pages.url}/")
    expect(page.get_by_role("alert")).to_contain_text("Failed to load the list of boards")
    errors, pages.errors = pages.errors, []
    assert all("503" in error for error in errors)


def _refuse(route: Route) -> None:
    route.fulfill(status=503, body="")
