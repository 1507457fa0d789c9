"""The pages of traces and logs, on the real store."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute, expect

from export import static_site
from stack import viewer
from tests import servers
from tests.browser import accessibility, telemetry
from tests.browser.conftest import SITE_FLAG, own
from tests.browser.pages import Pages
from tests.browser.telemetry import ISSUE, MILLISECOND, Telemetry
from tests.stack.store.storing import storing

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

SPANS = 10_000


@pytest.fixture(scope="module")
def running(built: Path) -> Iterator[Telemetry]:
    def publish(server: servers.MonitoringServer, store: str, tracker: str) -> None:
        settings = {"storeUrl": store, "issuesUrl": tracker}
        folder = server.folder / "site"
        static_site.publish(built, viewer.BOARDS, viewer.RUNBOOKS, folder, settings)
        own(server.folder)

    with telemetry.start(publish, SITE_FLAG, spans=SPANS) as started:
        yield started


@pytest.fixture(scope="module")
def desk(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, timezone_id="UTC", reduced_motion="reduce"
    )
    yield context
    context.close()


@pytest.fixture
def site(running: Telemetry, desk: BrowserContext) -> Iterator[Pages]:
    """Pages of one test; none may log errors."""
    opened = Pages(running.viewer, running.prometheus.folder / "site", desk)
    yield opened
    opened.close()


def visit(site: Pages, path: str) -> Page:
    page = site.observed(site.context.new_page())
    page.goto(f"{site.url}/{path}")
    page.get_by_role("heading", level=1).wait_for()
    return page


def test_a_search_leads_to_the_cause_of_a_failed_request(running: Telemetry, site: Pages) -> None:
    page = visit(site, "traces/?theme=dark")
    traces = page.get_by_role("list", name="Traces").get_by_role("listitem")
    expect(traces).to_have_count(6)
    expect(page.get_by_role("img", name="6 traces, 1 with errors")).to_be_visible()
    page.get_by_label("Status").fill("error")
    page.get_by_label("Text or attributes").fill("user.id=u-42 zerodivision")
    page.keyboard.press("Enter")
    expect(traces).to_have_count(1)
    assert parse_qs(urlsplit(page.url).query)["status"] == ["error"]
    expect(traces).to_contain_text(re.compile(r"shop GET /orders/\{id\}.*500.*N\+1.*34 spans"))
    expect(traces).to_contain_text("400 ms")
    traces.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Trace")
    expect(page.get_by_text(f"Id{running.failing.id}")).to_be_visible()
    details = page.get_by_test_id("details")
    expect(details).to_contain_text("ZeroDivisionError")
    expect(details.get_by_role("region", name="Stack")).to_contain_text("repository.py")
    expect(details.get_by_role("link", name="Issue")).to_have_attribute(
        "href", re.compile(f"/issues/\\?id={ISSUE}$")
    )
    expect(details).to_contain_text("The event loop was blocked for 120 ms")
    expect(details).to_contain_text("shop/orders/report.py:12 in render")
    logs = page.get_by_role("region", name="Logs of the trace")
    expect(logs.get_by_role("listitem")).to_contain_text(["order 42 is read", "unhandled"])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_parts_of_a_request_are_a_bar_and_its_table(
    running: Telemetry, site: Pages, theme: str
) -> None:
    page = visit(site, f"traces/?id={running.failing.id}&theme={theme}")
    parts = page.get_by_role("region", name="Where the time went")
    bar = parts.get_by_role(
        "img", name="endpoint 50 %, HTTP calls 38 %, queries 12 %, middleware 0.9 %"
    )
    expect(bar).to_be_visible()
    expect(parts.get_by_role("row")).to_contain_text(
        ["Part", "endpoint200 ms50 %", "HTTP calls150 ms38 %", "queries46.5 ms", "middleware"]
    )
    segments = bar.locator("[data-part]")
    widths = [each.bounding_box() for each in segments.all()]
    assert [box["width"] for box in widths if box] == sorted(
        (box["width"] for box in widths if box), reverse=True
    )
    parts.get_by_role("button", name="endpoint").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    chosen = parts.get_by_role("button", name="HTTP calls")
    expect(chosen).to_have_attribute("aria-pressed", "true")
    expect(bar.locator("[data-part=http_call]")).to_have_css("opacity", "1")
    expect(bar.locator("[data-part=endpoint]")).to_have_css("opacity", "0.25")
    page.keyboard.press("Enter")
    expect(bar.locator("[data-part=endpoint]")).to_have_css("opacity", "1")


def test_a_waterfall_folds_repeated_queries_and_is_used_by_keyboard(
    running: Telemetry, site: Pages
) -> None:
    page = visit(site, f"traces/?id={running.failing.id}")
    rows = page.get_by_role("treeitem")
    expect(rows).to_have_count(4)
    folded = page.get_by_role("treeitem", name="shop: 31 \u00d7 SELECT items 46.5 ms")
    expect(folded).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_role("treeitem", name="payments: POST /charge 130 ms")).to_be_visible()
    page.get_by_role("tree").focus()
    page.keyboard.press("ArrowDown")
    expect(folded).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("treeitem", name=re.compile("^shop: SELECT items"))).to_have_count(31)
    page.keyboard.press("ArrowRight")
    details = page.get_by_test_id("details")
    expect(details.get_by_role("region", name="Statement")).to_have_text(
        "SELECT id, name\nFROM items\nWHERE order_id = $1\nORDER BY id"
    )
    expect(details).to_contain_text("shop/orders/repository.py:38 in items_of")
    expect(details).to_contain_text("Rows3")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(rows).to_have_count(4)
    page.keyboard.press("/")
    page.keyboard.type("charge")
    expect(page.get_by_text("1 of 34 spans")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("treeitem", selected=True)).to_contain_text("POST /charge")
    page.keyboard.press("Escape")
    expect(page.get_by_role("tree")).to_be_focused()
    page.reload()
    expect(page.get_by_role("treeitem", selected=True)).to_contain_text("POST /charge")


def test_a_trace_of_ten_thousand_spans_renders_only_the_rows_in_sight(
    running: Telemetry, site: Pages
) -> None:
    page = visit(site, f"traces/?id={running.large.id}")
    rows = page.get_by_role("treeitem")
    expect(rows.first).to_have_attribute("aria-setsize", str(SPANS))
    assert rows.count() < 100
    page.get_by_role("tree").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("treeitem", selected=True)).to_contain_text(f"row {SPANS - 2}")
    assert rows.count() < 100
    page.keyboard.press("Home")
    expect(page.get_by_role("treeitem", selected=True)).to_contain_text("import")


def test_an_example_is_the_newest_trace_that_was_kept_for_a_reason(
    running: Telemetry, site: Pages
) -> None:
    example = "traces/example/?service=shop&route=%2Forders%2F%7Bid%7D"
    page = visit(site, f"{example}&reason=n_plus_one&from=now-30m&to=now")
    expect(page).to_have_url(re.compile(rf"/traces/\?id={running.failing.id}&span="))
    expect(page.get_by_role("tree")).to_be_visible()
    page = visit(site, f"{example}&reason=objective")
    expect(page.get_by_role("status")).to_contain_text("No kept trace matches")
    page.get_by_role("link", name="All traces of the time").click()
    expect(page.get_by_role("list", name="Traces").get_by_role("listitem")).to_have_count(1)


def test_log_lines_are_found_counted_and_lead_to_their_trace(
    running: Telemetry, site: Pages
) -> None:
    page = visit(site, "logs/?service=shop")
    lines = page.get_by_role("list", name="Lines", exact=True).get_by_role("listitem")
    expect(lines).to_have_count(31)
    expect(page.get_by_role("img", name="Lines over time: 1 error, 30 info")).to_be_visible()
    page.get_by_label("Level, or").fill("warn")
    page.keyboard.press("Enter")
    expect(lines).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(lines.get_by_role("region", name="Stack")).to_contain_text("ZeroDivisionError")
    expect(lines.get_by_role("row", name="http_route")).to_contain_text("/orders/{id}")
    lines.get_by_role("button", name="Context").click()
    expect(lines.get_by_role("region", name="Context")).to_contain_text("order 42 is read")
    lines.get_by_role("link", name="Trace").click()
    expect(page.get_by_role("treeitem", selected=True)).to_contain_text("GET /orders/{id}")
    assert running.failing.id in page.url


@pytest.mark.parametrize("way", ["WebSocket", "polling"])
def test_lines_and_traces_appear_as_they_arrive(running: Telemetry, site: Pages, way: str) -> None:
    page = site.observed(site.context.new_page())
    if way == "polling":

        def refuse(socket: WebSocketRoute) -> None:
            socket.close()

        page.route_web_socket(re.compile("/tail"), refuse)
    page.goto(f"{site.url}/logs/?q=arrives+by+{way}")
    page.get_by_text("No line matches").wait_for()
    page.keyboard.press("l")
    status = {"WebSocket": "Live: new lines appear", "polling": "every two seconds"}[way]
    expect(page.get_by_role("status").filter(has_text=status)).to_be_visible()
    running.log(telemetry.line(time.time_ns(), f"arrives by {way}", level="WARN"))
    lines = page.get_by_role("list", name="Lines", exact=True).get_by_role("listitem")
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text(f"warnshoparrives by {way}")
    if way == "WebSocket":
        return
    page.goto(f"{site.url}/traces/?route=/products&minDuration=70ms&live=true&from=now-15m&to=now")
    page.get_by_text("No trace matches").wait_for()
    running.send(telemetry.quick_order(time.time_ns() - 100 * MILLISECOND, took=77))
    expect(page.get_by_role("list", name="Traces")).to_contain_text("77 ms")


def test_an_issue_is_found_resolved_and_reopened(running: Telemetry, site: Pages) -> None:
    page = visit(site, "issues/")
    issues = page.get_by_role("list", name="Issues").get_by_role("listitem")
    expect(issues).to_have_count(1, timeout=60_000)  # when the issue tracker has read the minute
    expect(issues).to_contain_text("open")
    expect(issues).to_contain_text("ZeroDivisionError")
    expect(issues.get_by_role("img", name="1 in the last 24 hours")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"issues/\\?id={ISSUE}$"))
    expect(page.get_by_role("region", name="Stack")).to_contain_text("repository.py")
    expect(page.locator("pre").first).to_have_text(
        "/srv/shop/orders/repository.py:41 in total\n    return sum(prices) / len(prices)"
    )
    state = page.get_by_role("status")
    page.get_by_role("button", name="Resolve").click()
    expect(state).to_contain_text("resolved")
    expect(page.get_by_role("button", name="Resolve")).to_have_count(0)
    page.get_by_role("button", name="Ignore").click()
    expect(state).to_contain_text("ignored")
    page.get_by_role("button", name="Reopen").click()
    expect(state).to_contain_text("open")
    assert not accessibility.serious(page)
    page.get_by_role("link", name="Logs of its last day").click()
    expect(page.get_by_role("list", name="Lines", exact=True)).to_contain_text("unhandled")
    page.go_back()
    page.get_by_role("table").first.get_by_role("link").click()
    expect(page.get_by_role("tree")).to_be_visible()
    assert running.failing.id in page.url


def test_what_is_missing_is_said(running: Telemetry, site: Pages) -> None:
    page = visit(site, f"traces/?id={'0' * 31}1")
    expect(page.get_by_role("status")).to_contain_text("The store has no trace 0000")
    site.quiet(page)
    site.errors.clear()
    page = visit(site, "traces/?minDuration=fast")
    expect(page.get_by_role("alert")).to_contain_text("fast is no duration: write 250ms")
    page = visit(site, "traces/?q=" + quote("{ nonsense }"))
    expect(page.get_by_role("alert")).to_contain_text("TraceQL: expected a field")
    site.quiet(page)
    site.errors.clear()
    running.store.kill()
    running.tracker.kill()
    paths = ("issues/", "logs/", f"traces/?id={running.failing.id}")
    try:
        for path in paths:
            page = visit(site, path)
            expect(page.get_by_role("alert").first).to_contain_text("does not respond")
            expect(page.get_by_text("matches")).to_have_count(0)
    finally:
        running.store.start()
        running.tracker.start()
    expect(page.get_by_role("tree")).to_be_visible()  # it tries again by itself
    site.errors.clear()


def test_pages_with_content_are_accessible_and_fit(running: Telemetry, site: Pages) -> None:
    trace = f"traces/?id={running.failing.id}&theme="
    widths = {"traces/?theme=dark": 390, f"{trace}light": 390, f"{trace}dark": 1440}
    for path, width in (widths | {"logs/?theme=light": 390}).items():
        page = visit(site, path)
        page.set_viewport_size({"width": width, "height": 900})
        if path.startswith("logs/"):
            page.get_by_role("button", name="unhandled exception").click()
        site.quiet(page)
        assert not accessibility.serious(page), path
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0, f"{path} scrolls sideways at {width} px"


def test_a_store_without_traces_says_that_tracing_may_be_off(
    running: Telemetry, desk: BrowserContext, tmp_path: Path
) -> None:
    with storing(tmp_path, "--page-origin", running.prometheus.url) as empty:
        settings = f'{{"storeUrl": "http://127.0.0.1:{empty.port}"}}'
        page = desk.new_page()
        page.route("**/settings.json", lambda route: route.fulfill(body=settings))
        page.goto(f"{running.viewer}/traces/")
        expect(page.get_by_role("status")).to_contain_text("The store has no traces yet")
        expect(page.get_by_role("status")).to_contain_text("OTEL_EXPORTER_OTLP_ENDPOINT")
        page.goto(f"{running.viewer}/logs/")
        expect(page.get_by_role("status")).to_contain_text("no log lines")
        page.close()
