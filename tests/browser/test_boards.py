"""Tests of every board. Each is opened once: a test starts where the one before it ended."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, expect

from checks import completeness
from tests import servers
from tests.browser import accessibility, pictures, visits
from tests.browser.pages import BOARDS, PLOTS, panel, panels_of
from tests.browser.visits import Visit

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

_COLOURED = """panel => [...panel.querySelectorAll('canvas')].reduce((count, canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
        const rgb = [data[at], data[at + 1], data[at + 2]];
        if (data[at + 3] > 40 && Math.max(...rgb) - Math.min(...rgb) > 40) count += 1;
    }
    return count;
}, 0)"""
_LINKS = "links => links.map(link => link.href)"


@pytest.fixture(scope="module", params=BOARDS)
def opened(
    request: pytest.FixtureRequest, context: BrowserContext, recorded: servers.MonitoringServer
) -> Iterator[Visit]:
    yield from visits.open_board(request.param, context, recorded)


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


@pytest.mark.parametrize(
    ("width", "theme"),
    [
        (390, "light"),
        pytest.param(820, "dark", marks=pytest.mark.long),
        pytest.param(2560, "light", marks=pytest.mark.long),
    ],
)
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
