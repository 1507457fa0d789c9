"""Tests of every board. Each is opened once: a test starts where the one before it ended."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from checks import completeness
from tests import servers
from tests.browser import accessibility, pictures
from tests.browser.pages import BOARDS, PLOTS, Board, Pages, panel, panels_of

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

_CHOSEN = "var-job=api&var-route=/api/orders"
_COLOURED = """panel => [...panel.querySelectorAll('canvas')].reduce((count, canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
        const rgb = [data[at], data[at + 1], data[at + 2]];
        if (data[at + 3] > 40 && Math.max(...rgb) - Math.min(...rgb) > 40) count += 1;
    }
    return count;
}, 0)"""
_SPAN = """() => {
    const query = new URLSearchParams(location.search);
    const at = key => Date.parse(query.get(key)) || Number(query.get(key));
    return at('to') - at('from');
}"""
_LINKS = "links => links.map(link => link.href)"


@dataclass(frozen=True)
class Visit:
    """A board that has been opened."""

    board: Board
    page: Page
    pages: Pages

    @property
    def uid(self) -> str:
        return str(self.board["uid"])


@pytest.fixture(scope="module", params=BOARDS)
def opened(
    request: pytest.FixtureRequest, context: BrowserContext, recorded: servers.MonitoringServer
) -> Iterator[Visit]:
    pages = Pages(f"{recorded.url}/user", recorded.folder / "site", context)
    page = pages.open(request.param, _CHOSEN)
    yield Visit(BOARDS[request.param], page, pages)
    pages.close()


@pytest.fixture
def visit(opened: Visit) -> Iterator[Visit]:
    """An open board; no errors may be logged during a test."""
    yield opened
    opened.pages.assert_no_errors()


def test_every_panel_has_drawn_something(visit: Visit) -> None:
    empty = []
    for drawn in panels_of(visit.board):
        found = panel(visit.page, drawn["id"])
        expect(found).to_be_visible()
        expect(found.get_by_role("alert")).to_have_count(0)
        if drawn["type"] == "alertlist":
            continue  # of now, not of the recording: it has a test of its own
        statuses = found.get_by_role("status").all_inner_texts()
        if statuses or (drawn["type"] in PLOTS and found.evaluate(_COLOURED) < 20):
            empty.append((drawn["title"], statuses))
    assert not empty


def test_it_looks_like_its_picture(visit: Visit, tmp_path: Path, *, record: bool) -> None:
    pictures.compare(visit.page, visit.uid, tmp_path, record=record)
    if record:
        (pictures.FOLDER / f"{visit.uid}.txt").write_text(completeness.panels(visit.board))


def test_no_serious_accessibility_violation(visit: Visit) -> None:
    assert not accessibility.serious(visit.page)


def test_every_link_leads_to_a_board_at_the_same_time(visit: Visit) -> None:
    """And of the same service, but in the table of all services of the one in the row."""
    main = visit.page.get_by_role("main").locator("a[href*='/d/']")
    texts, links = main.all_inner_texts(), main.evaluate_all(_LINKS)
    nav = visit.page.get_by_role("navigation").locator("a[href*='/d/']").evaluate_all(_LINKS)
    assert len(nav) == len(BOARDS)
    jobs = texts if visit.uid == "svc-services" else ["api"] * len(links)
    if visit.uid == "svc-services":
        assert sorted(jobs) == ["api", "shop"]
    here = parse_qs(urlsplit(visit.page.url).query)
    for link, job in zip(links + nav, jobs + ["api"] * len(nav), strict=True):
        parts = urlsplit(link)
        found = re.fullmatch(r"/user/d/([^/]+)/?", parts.path)
        assert found, link
        assert found[1] in BOARDS
        query = parse_qs(parts.query)
        assert {key: query.get(key) for key in ("from", "to")} == {
            key: here[key] for key in ("from", "to")
        }, link
        assert query["var-job"] == [job], link


def test_fingerprints_lead_to_their_statement_on_the_page_of_the_service(visit: Visit) -> None:
    links = visit.page.locator("a[href*='/vitals/bottlenecks']").evaluate_all(_LINKS)
    assert bool(links) == (visit.uid == "svc-db")
    for link in links:
        found = re.fullmatch(
            r"http://api-\d:8000/vitals/bottlenecks\?statement=([0-9a-f]{16})#([0-9a-f]{16})", link
        )
        assert found, link
        assert found[1] == found[2]


def test_no_serious_accessibility_violation_in_the_light_theme(visit: Visit) -> None:
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = visit.page.evaluate(background)
    visit.page.get_by_role("button", name="Theme: light").click()
    visit.page.wait_for_function(f"dark => {background} !== dark", arg=dark)
    expect(visit.page).to_have_url(re.compile("theme=light"))
    visit.pages.settle(visit.page)
    assert not accessibility.serious(visit.page)


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (820, "dark"), (2560, "light")])
def test_every_width_is_readable(visit: Visit, width: int, theme: str) -> None:
    """Contrast depends on the theme, names and places on the width: not all pairs are tried."""
    page = visit.page
    before = page.viewport_size
    assert before
    page.set_viewport_size({"width": width, "height": before["height"]})
    other = page.get_by_role("button", name=f"Theme: {theme}")
    if other.count():
        other.click()
    visit.pages.settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not accessibility.serious(page)
    page.set_viewport_size(before)
    visit.pages.settle(page)


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
    visit.pages.follow(page, Pages.path(board["uid"], _CHOSEN))
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(panel(page, broken["id"]).get_by_role("alert")).to_contain_text("parse error")
    errors, visit.pages.errors = visit.pages.errors, []
    assert errors  # the browser logs each 400 response
    assert all("400" in error for error in errors)
