"""Interactions with the viewer; tests of every single board are in `test_boards.py`."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from stack.installation.paths import CHECKOUT
from tests import servers
from tests.browser import pictures, recording
from tests.browser.pages import BOARDS, Pages, choose_in_menu, menu_of, named, panel, panels_of

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

_IS_FOCUSED = "one => one === document.activeElement"


def test_the_readmes_picture_is_the_overview(pages: Pages, *, record: bool) -> None:
    page = pages.open("svc-overview", size={"width": 1440, "height": 884})
    kept, now = CHECKOUT / "docs" / "overview.png", pictures.still(page, height=884)
    found = pictures.differences(page, kept.read_bytes(), now)
    if record and found:
        kept.write_bytes(now)
    assert record or found.get("the page", 0) < pictures.TOLERANCE, "make pictures"


def test_a_route_in_a_table_links_to_its_board_with_the_same_time_range(pages: Pages) -> None:
    page = pages.open("svc-overview")
    at = re.search(r"from=([^&]+)", page.url)
    assert at
    page.get_by_role("link", name="/api/products", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Endpoint")
    expect(page).to_have_url(re.compile("/d/svc-endpoint/?[?].*var-route=%2Fapi%2Fproducts(&|$)"))
    assert at[0] in page.url


def test_an_alert_without_an_slo_has_an_empty_cell(pages: Pages) -> None:
    page = pages.open("svc-alerts")
    rows = named(page, "svc-alerts", "Firing alerts").get_by_role("row")
    cells = rows.filter(has_text="LatencyP95High").get_by_role("gridcell").all_inner_texts()
    assert [text.strip() for text in cells] == ["ticket", "LatencyP95High", "", "15 minutes ago"]


def test_an_address_reproduces_the_view(pages: Pages) -> None:
    page = pages.open("svc-endpoint", "var-route=/api/orders&var-instance=api-1:8000&annotations=")
    expect(page.get_by_test_id("data-testid RefreshPicker interval button")).not_to_contain_text(
        re.compile(r"\d")
    )
    again = pages.new()
    again.goto(page.url)
    pages.settle(again)
    for title in ("Requests", "p95", "Responses"):
        shown = named(page, "svc-endpoint", title).inner_text()
        expect(named(again, "svc-endpoint", title)).to_have_text(shown, use_inner_text=True)
    expect(again.get_by_label("Deploys")).not_to_be_checked()
    assert "refresh=&" in f"{again.url}&"


def test_the_refresh_interval_reruns_the_queries(pages: Pages) -> None:
    page = pages.running(since=recording.END)
    page.goto(f"{pages.url}{Pages.path('svc-runtime')}")
    pages.settle(page)
    page.get_by_test_id("data-testid RefreshPicker interval button").click()
    page.get_by_role("menuitemradio", name="10 seconds").click()
    expect(page).to_have_url(re.compile("refresh=10s"))
    for _ in range(2):
        with page.expect_request(re.compile("query_range")):
            page.clock.run_for(10_000)
        pages.settle(page)


def test_the_crosshair_is_shared(pages: Pages) -> None:
    page = pages.open("svc-overview")
    plots = [named(page, "svc-overview", title) for title in ("Error ratio", "Latency")]
    box = plots[0].locator(".u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    times = [_crosshair(plot) for plot in plots]
    assert times[0] == pytest.approx(0.5, abs=0.02)
    assert times[1] == pytest.approx(0.5, abs=0.02)
    expect(page.get_by_text("2026-11-20 12:35").first).to_be_visible()


def _crosshair(plot: Locator) -> float:
    """Where the crosshair is, as a part of the plot's width."""
    line = plot.locator(".u-cursor-x")
    expect(line).to_have_css("transform", re.compile("matrix"))
    return float(
        line.evaluate(
            """line => new DOMMatrix(getComputedStyle(line).transform).m41
                / line.closest('.u-over').clientWidth"""
        )
    )


def test_a_panel_alone_its_query_and_its_data(pages: Pages) -> None:
    page = pages.open("svc-overview")
    drawn = named(page, "svc-overview", "Error ratio")
    choose_in_menu(drawn, "Show query")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text('job_route_slo:objective_bad_events:ratio_rate5m{job="api"')
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    with page.expect_download() as downloading:
        choose_in_menu(drawn, "Download CSV")
    lines = Path(downloading.value.path()).read_text().splitlines()
    assert lines[0] == "Time,failed,allowed"
    assert len(lines) > 90
    drawn.hover()
    menu_of(drawn).click()
    graph = page.get_by_role("menuitem", name="Open as query").get_attribute("href")
    assert graph
    assert graph.startswith(f"{urlsplit(pages.url).path}/query/?expr=job")
    page.get_by_role("menuitem", name="View").click()
    expect(page.locator("[data-viz-panel-key]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(named(page, "svc-overview", "Latency")).to_be_visible()


def test_kiosk_shows_only_panels_until_escape(pages: Pages) -> None:
    page = pages.open("svc-runtime")
    page.keyboard.press("k")
    expect(page.get_by_role("banner")).to_have_count(0)
    expect(page.get_by_test_id("data-testid TimePicker Open Button")).not_to_be_visible()
    expect(page).to_have_url(re.compile("kiosk"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("banner")).to_be_visible()


def test_all_controls_are_reached_by_tab_in_reading_order(pages: Pages) -> None:
    page = pages.open("svc-overview")
    wanted = [
        page.get_by_role("navigation").get_by_role("link", name="Alerts", exact=True),
        page.get_by_role("button", name="Theme: light"),
        page.get_by_role("combobox").first,
        page.get_by_label("Deploys"),
        page.get_by_test_id("data-testid TimePicker Open Button"),
        menu_of(named(page, "svc-overview", "Availability")),
        menu_of(named(page, "svc-overview", "Error ratio")),
    ]
    for control in wanted:
        _tab_to(page, control)
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="View")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Show query")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menuitem")).to_have_count(0)
    assert wanted[-1].evaluate(_IS_FOCUSED)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def _tab_to(page: Page, control: Locator) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if control.evaluate(_IS_FOCUSED):
            return
    pytest.fail(f"{control} is not reached by Tab from what came before it")


def test_a_deploy_is_marked_until_its_toggle_is_off(pages: Pages) -> None:
    page = pages.open("svc-overview")
    marks = named(page, "svc-overview", "Error ratio").get_by_test_id("annotation")
    expect(marks.get_by_role("button", name="Deployed 1")).to_have_count(1)
    page.get_by_label("Deploys").click(force=True)
    expect(marks).to_have_count(0)
    others = [one["name"] for one in BOARDS["svc-overview"]["annotations"]["list"] if one["enable"]]
    others.remove("Deploys")
    wanted = "&".join(f"annotations={quote(name)}" for name in others) or "annotations="
    expect(page).to_have_url(re.compile(f"{re.escape(wanted)}(&|$)"))


def test_an_alert_is_marked_where_it_fired(pages: Pages) -> None:
    page = pages.open("svc-runtime", "annotations=Firing alerts")
    marks = named(page, "svc-runtime", "Resident memory").get_by_test_id("annotation")
    expect(marks.get_by_role("button", name="LatencyP95High (ticket)")).to_have_count(1)
    expect(marks.get_by_role("button", name="Deployed 1")).to_have_count(0)


def test_an_exemplar_leads_to_its_trace(
    pages: Pages, answer: Callable[[str], Callable[[Route], None]]
) -> None:
    """Blocks have no exemplars, so this one is a mocked response."""
    page = pages.open("svc-overview")
    at = page.evaluate("Date.now()") / 1000 - 600
    seen = {"labels": {"trace_id": "0af7651916cd43dd"}, "value": "0.1", "timestamp": at}
    found = {"status": "success", "data": [{"seriesLabels": {}, "exemplars": [seen]}]}
    page.route("**/query_exemplars", answer(json.dumps(found)))
    page.keyboard.press("r")
    dot = named(page, "svc-overview", "Latency").get_by_test_id("exemplar")
    expect(dot).to_have_attribute("href", "http://traces.invalid/trace/0af7651916cd43dd")
    page.unroute_all()


def test_a_panel_shows_that_it_is_loading(pages: Pages) -> None:
    page = pages.new()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/query_range", hold)
    page.goto(f"{pages.url}{Pages.path('svc-runtime')}")
    memory = named(page, "svc-runtime", "Resident memory")
    loading = memory.get_by_role("status", name="Panel loading bar")
    expect(loading).to_be_visible()
    expect(memory.get_by_role("button", name="Cancel query")).to_be_visible()
    for route in held:
        route.continue_()
    page.unroute_all()
    pages.settle(page)
    expect(loading).to_have_count(0)


def test_a_panel_without_data_shows_its_text_for_no_data(pages: Pages) -> None:
    page = pages.open("svc-endpoint", "var-route=/api/none")
    status = named(page, "svc-endpoint", "Requests").get_by_role("status")
    expect(status).to_have_text("no traffic")


def test_an_alert_shows_its_summary_and_links_to_its_board(
    firing: servers.MonitoringServer, pages: Pages
) -> None:
    page = pages.running()
    _wait_for_series(firing, "ALERTS")
    page.goto(f"{firing.url}/user/?theme=dark")
    page.get_by_role("main").get_by_role("link", name="Alerts Which").click()
    kind = next(one for one in panels_of(BOARDS["svc-alerts"]) if one["type"] == "alertlist")
    alert = panel(page, kind["id"]).get_by_role("listitem").filter(has_text="AlwaysHere")
    expect(alert).to_contain_text("Something is wrong")
    alert.get_by_role("link", name="Board").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Database")


def test_silenced_and_inhibited_alerts_are_marked(
    firing: servers.MonitoringServer, delivering: servers.MonitoringServer, pages: Pages
) -> None:
    page = pages.running()
    page.goto(f"{firing.url}/user/d/svc-alerts/?theme=dark&var-job=api")
    kind = next(one for one in panels_of(BOARDS["svc-alerts"]) if one["type"] == "alertlist")
    alerts = panel(page, kind["id"]).get_by_role("listitem")
    fires, held = alerts.filter(has_text="AlwaysHere"), alerts.filter(has_text="HeldBack")

    def until(alert: Locator, state: str) -> None:
        deadline = time.monotonic() + 30
        while not (alert.count() and alert.get_by_text(state, exact=True).count()):
            assert time.monotonic() < deadline, f"not {state}: {alerts.all_inner_texts()}"
            page.keyboard.press("r")
            page.wait_for_timeout(500)

    until(held, "inhibited")
    until(fires, "firing")
    link = fires.get_by_role("link", name="Silence").get_attribute("href")
    assert link is not None
    assert link.startswith("/user/silences/new/?filter=")
    assert 'alertname="AlwaysHere"' in unquote(link)
    silence = {
        "matchers": [{"name": "alertname", "value": "AlwaysHere", "isRegex": False}],
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "createdBy": "on call",
        "comment": "known",
    }
    httpx.post(f"{delivering.url}/api/v2/silences", json=silence).raise_for_status()
    until(fires, "silenced")


def _wait_for_series(watcher: servers.MonitoringServer, query: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if httpx.get(f"{watcher.url}/api/v1/query?query={query}").json()["data"]["result"]:
            return
        time.sleep(0.1)
    raise TimeoutError(query)


def test_an_unreachable_prometheus_is_an_error_until_it_is_back(
    pages: Pages, recorded: servers.MonitoringServer
) -> None:
    page = pages.open("svc-overview")
    recorded.stop()
    page.keyboard.press("r")
    alert = page.get_by_text("Prometheus is not responding")
    expect(alert.first).to_be_visible()
    recorded.start()
    expect(alert).to_have_count(0, timeout=15_000)
    pages.settle(page)
    refused = ("ERR_CONNECTION_REFUSED", "is not responding", "503")  # 503 while it starts
    errors, pages.errors = pages.errors, []
    assert all(any(reason in error for reason in refused) for error in errors)


def test_panels_lead_to_traces_with_the_route_and_the_time(pages: Pages) -> None:
    page = pages.open("svc-overview", "var-job=api")
    cells = named(page, "svc-overview", "Worst routes").get_by_role("row").nth(1)
    route = cells.get_by_role("link").first.inner_text()
    cells.get_by_role("link", name=re.compile("%$")).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Traces")
    expect(page.get_by_label("Service")).to_have_value("api")
    expect(page.get_by_label("Route")).to_have_value(route)
    expect(page.get_by_label("Status")).to_have_value("error")
    asked = parse_qs(urlsplit(page.url).query)
    assert asked["to"] == [str(recording.END * 1000)]
    page = pages.open("svc-db", "var-job=api")
    statements = named(page, "svc-db", "Top statements by total time")
    link = statements.get_by_role("row").nth(1).get_by_role("link").first
    assert "explore?schemaVersion=1" in (link.get_attribute("href") or "")
    link.click()
    expect(page.get_by_label("Text or attributes")).to_have_value(
        re.compile(r'^\{ span\.vitals\.db\.query\.fingerprint = "[0-9a-f]{16}" \}$')
    )
