"""How a page starts: also where it cannot, in odd locales, and in the first hour."""

import re

import pytest
from playwright.sync_api import Route, expect

from tests.browser import accessibility, recording
from tests.browser.pages import Pages, named

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

_NO_LOCALE = """
Object.defineProperty(navigator, 'language', { value: 'C', configurable: true });
Object.defineProperty(navigator, 'languages', { value: ['C'], configurable: true });
"""


def test_a_page_whose_code_is_missing_says_so(pages: Pages) -> None:
    page = pages.new()
    page.route(re.compile("assets/index-.*js"), lambda route: route.fulfill(status=404, body=""))
    page.goto(f"{pages.url}/")
    box = page.get_by_role("alert")
    expect(box).to_contain_text("The boards cannot start")
    expect(box).to_contain_text(re.compile("Failed to load .*assets/index-.*js"))
    assert not accessibility.serious(page)
    errors, pages.errors = pages.errors, []
    assert all("404" in error for error in errors)


def test_a_page_that_fails_at_its_start_says_why(pages: Pages) -> None:
    page = pages.new()

    def spoil(route: Route) -> None:
        route.fulfill(body="not JSON", content_type="application/json")

    page.route(re.compile("settings.json"), spoil)
    page.goto(f"{pages.url}/")
    expect(page.get_by_role("alert")).to_contain_text("SyntaxError")
    pages.errors.clear()


def test_it_starts_without_a_locale(pages: Pages) -> None:
    page = pages.new()
    page.add_init_script(_NO_LOCALE)
    page.goto(f"{pages.url}{Pages.path('svc-runtime')}")
    pages.settle(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Runtime")
    assert page.locator(".u-over").count() > 0


@pytest.mark.parametrize(
    ("now", "opens_on"),
    [(recording.END - recording.SECONDS + 1200, "now-15m"), (recording.END, "now-1h")],
    ids=["the first hour", "later"],
)
def test_a_board_opens_on_what_there_is(pages: Pages, now: int, opens_on: str) -> None:
    page = pages.new()
    page.clock.set_fixed_time(now)
    page.goto(f"{pages.url}/d/svc-runtime/?refresh=&var-job=api")
    pages.settle(page)
    expect(page).to_have_url(re.compile(f"from={opens_on}&"))


def test_the_ground_is_that_of_the_theme_beyond_the_first_screen(pages: Pages) -> None:
    page = pages.open("svc-overview", size={"width": 1440, "height": 500})
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Theme: light").click()
    page.wait_for_function(f"dark => {ground} !== dark", arg=dark)
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    shown = page.evaluate(ground)
    assert min(map(int, re.findall(r"\d+", shown)[:3])) > 200, shown


def test_the_time_zone_is_shown_and_switched(pages: Pages) -> None:
    page = pages.open("svc-overview")
    zones = page.get_by_test_id("time zone")
    expect(zones.first).to_have_text("UTC")
    page.get_by_role("button", name=re.compile("^UTC: show local time")).click()
    expect(page).to_have_url(re.compile("timezone=browser"))
    expect(zones.first).to_have_text("local")
    expect(page.get_by_role("button", name=re.compile("^Local, UTC"))).to_be_visible()


def test_a_legend_has_the_colours_of_its_lines(pages: Pages) -> None:
    page = pages.open("svc-overview")
    panel = named(page, "svc-overview", "Cache hit ratio")
    colours = panel.get_by_test_id("legend-mark").evaluate_all(
        "marks => marks.map(mark => getComputedStyle(mark).borderTopColor)"
    )
    assert len(set(colours)) > 2
    drawn = panel.locator("canvas").evaluate_all(_COLOURS)
    for colour in colours:
        assert min(_distance(colour, one) for one in drawn) < 60, colour


_COLOURS = """canvases => [...new Set(canvases.flatMap(canvas => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const seen = [];
    for (let at = 0; at < data.length; at += 4)
        if (data[at + 3] > 200) seen.push(`${data[at]},${data[at + 1]},${data[at + 2]}`);
    return [...new Set(seen)];
}))]"""


def _distance(one: str, other: str) -> int:
    pairs = zip(re.findall(r"\d+", one)[:3], re.findall(r"\d+", other)[:3], strict=True)
    return sum(abs(int(a) - int(b)) for a, b in pairs)
