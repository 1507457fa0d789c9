"""What one can do on a board. Each is opened once: a test starts where the one before it ended."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests import servers
from tests.browser import accessibility, visits
from tests.browser.pages import PLOTS, Board, Pages, panel, panels_of, some_boards
from tests.browser.visits import CHOSEN, Visit

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

_SPAN = """() => {
    const query = new URLSearchParams(location.search);
    const at = key => Date.parse(query.get(key)) || Number(query.get(key));
    return at('to') - at('from');
}"""


@pytest.fixture(scope="module", params=some_boards("svc-overview", "svc-services"))
def opened(
    request: pytest.FixtureRequest, context: BrowserContext, recorded: servers.MonitoringServer
) -> Iterator[Visit]:
    yield from visits.open_board(request.param, context, recorded)


def test_no_serious_accessibility_violation_in_the_light_theme(visit: Visit) -> None:
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = visit.page.evaluate(background)
    visit.page.get_by_role("button", name="Theme: light").click()
    visit.page.wait_for_function(f"dark => {background} !== dark", arg=dark)
    expect(visit.page).to_have_url(re.compile("theme=light"))
    visit.pages.settle(visit.page)
    assert not accessibility.serious(visit.page)


def test_dragging_over_a_graph_zooms_all_of_them(visit: Visit) -> None:
    page = visit.page
    if not _graphs(visit.board):
        expect(page.locator(".u-over")).to_have_count(0)
        return  # the board of all services has none
    plot = page.locator(".u-over").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40, steps=5)
    before, address = page.evaluate(_SPAN), page.url
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.mouse.up()
    expect(page).not_to_have_url(address)
    visit.pages.settle(page)
    assert page.evaluate(_SPAN) == pytest.approx(before / 2, rel=0.1)
    assert sum("query_range" in url for url in requests) >= len(_graphs(visit.board))


def _graphs(board: Board) -> list[dict[str, Any]]:
    """Panels that one can drag over."""
    return [one for one in panels_of(board) if one["type"] in PLOTS]


def test_the_time_picker_sets_the_time(visit: Visit) -> None:
    page = visit.page
    page.get_by_test_id("data-testid TimePicker Open Button").click()
    page.get_by_text("Last 15 minutes").click()
    expect(page).to_have_url(re.compile("from=now-15m&.*to=now"))
    visit.pages.settle(page)
    assert bool(page.locator(".u-over").count()) == bool(_graphs(visit.board))


def test_another_value_of_a_variable_changes_the_panels(visit: Visit) -> None:
    """Of the last variable: on most boards the instance, on some only the service."""
    page = visit.page
    variable = visit.board["templating"]["list"][-1]
    if variable["type"] == "datasource":
        pytest.skip("the board of all services has nothing to choose")
    other = "shop" if variable["name"] == "job" else "api-2:8000"
    before = _panel_texts(page)
    choice = page.get_by_role("combobox").last
    choice.click()
    page.get_by_role("option", name=other, exact=True).click()
    page.keyboard.press("Tab")
    expect(page).to_have_url(re.compile(rf"var-{variable['name']}={re.escape(other)[:3]}"))
    visit.pages.settle(page)
    assert _panel_texts(page) != before


def _panel_texts(page: Page) -> list[str]:
    return page.locator("[data-viz-panel-key]").all_inner_texts()


def test_a_broken_query_affects_its_panel_only(visit: Visit) -> None:
    board = json.loads(json.dumps(visit.board)) | {"uid": f"broken-{visit.uid}"}
    board["panels"] = board["panels"][:5]
    broken = next(one for one in panels_of(board) if one.get("targets"))
    for target in broken["targets"]:
        target["expr"] = "sum(("
    file = visit.pages.site / "boards" / f"{board['uid']}.json"
    file.write_text(json.dumps(board))
    page = visit.page
    visit.pages.follow(page, Pages.path(board["uid"], CHOSEN))
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(panel(page, broken["id"]).get_by_role("alert")).to_contain_text("parse error")
    errors, visit.pages.errors = visit.pages.errors, []
    assert errors  # the browser logs each 400 response
    assert all("400" in error for error in errors)
