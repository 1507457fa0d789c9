"""The list of boards, and what is said where one cannot be shown."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser import accessibility, pictures
from tests.browser.pages import BOARDS, Pages

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]


@pytest.mark.parametrize("look", ["dark", "light"])
def test_it_lists_every_board_with_what_it_answers(
    pages: Pages, look: str, tmp_path: Path, *, record: bool
) -> None:
    page = pages.new()
    page.goto(f"{pages.url}/?theme={look}")
    main = page.get_by_role("main")
    for board in BOARDS.values():
        expect(
            main.get_by_role("link", name=f"{board['title']} {board['description']}")
        ).to_be_visible()
    expect(main.get_by_text("nothing fires")).to_be_visible()
    pages.quiet(page)
    pictures.compare(page, f"home-{look}", tmp_path, record=record)
    assert not accessibility.serious(page)
    main.get_by_role("link", name="Runtime").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runtime")


def test_a_board_that_is_not_there_is_told(pages: Pages) -> None:
    page = pages.new()
    page.goto(f"{pages.url}/d/svc-runtime/?refresh=")
    pages.settle(page)
    pages.follow(page, "/d/gone/", draws=False)
    expect(page.get_by_role("alert")).to_contain_text('There is no board "gone" here: 404')
    told, pages.complaints = pages.complaints, []
    assert all("404" in said for said in told)
    page.keyboard.press("h")
    expect(page.get_by_role("heading", level=1)).to_have_text("Boards")


def test_a_list_that_does_not_come_is_told(pages: Pages) -> None:
    page = pages.new()
    page.route(re.compile("boards/index.json"), _refuse)
    page.goto(f"{pages.url}/")
    expect(page.get_by_role("alert")).to_contain_text("The list of boards is missing")
    told, pages.complaints = pages.complaints, []
    assert all("503" in said for said in told)


def _refuse(route: Route) -> None:
    route.fulfill(status=503, body="")
