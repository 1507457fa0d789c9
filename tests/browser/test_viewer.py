"""The boards as a person sees and uses them."""

import base64
import gzip
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from stack import viewer
from stack.installation import CHECKOUT
from tests import servers

pytestmark = pytest.mark.servers

BOARDS = {
    board["uid"]: board
    for board in (json.loads(file.read_text()) for file in sorted(viewer.BOARDS.glob("*.json")))
}
PLOTS = {"timeseries", "heatmap", "state-timeline"}
_COLOURED = """panel => [...panel.querySelectorAll('canvas')].reduce((count, canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
        const rgb = [data[at], data[at + 1], data[at + 2]];
        if (data[at + 3] > 40 && Math.max(...rgb) - Math.min(...rgb) > 40) count += 1;
    }
    return count;
}, 0)"""


def _panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for panel in board["panels"]:
        found += panel.get("panels", []) if panel["type"] == "row" else [panel]
    return found


def _panel(page: Page, panel_id: int) -> Locator:
    return page.locator(f'[data-viz-panel-key="panel-{panel_id}"]')


def _named(page: Page, uid: str, title: str) -> Locator:
    """The panel of a board that has this title."""
    found = next(panel for panel in _panels(BOARDS[uid]) if panel["title"] == title)
    return _panel(page, found["id"])


def _choose_in_menu(panel: Locator, item: str) -> None:
    panel.hover()
    panel.get_by_role("button", name=re.compile("^Menu")).click()
    panel.page.get_by_role("menuitem", name=item).click()


@pytest.mark.parametrize("uid", BOARDS)
def test_every_panel_has_drawn_something(pages: Any, uid: str) -> None:
    page = pages.open(uid, "var-route=/api/orders")
    for row in page.get_by_role("button", name="Expand row").all():
        row.click()
    pages.settle(page)
    empty = []
    for drawn in _panels(BOARDS[uid]):
        if drawn["type"] == "alertlist":
            continue  # of now, not of the recording: it has a test of its own
        panel = _panel(page, drawn["id"])
        panel.scroll_into_view_if_needed()
        said = panel.get_by_role("status").all_inner_texts()
        if said or (drawn["type"] in PLOTS and panel.evaluate(_COLOURED) < 20):
            empty.append((drawn["title"], said))
        expect(panel.get_by_role("alert")).to_have_count(0)
    assert not empty


def test_home_lists_every_board_with_what_it_answers(pages: Any) -> None:
    page = pages.new()
    page.goto(f"{pages.url}/")
    main = page.get_by_role("main")
    for board in BOARDS.values():
        expect(
            main.get_by_role("link", name=f"{board['title']} {board['description']}")
        ).to_be_visible()
    main.get_by_role("link", name="Runtime").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runtime")


def test_a_variable_changes_what_is_drawn(pages: Any) -> None:
    page = pages.open("svc-endpoint")
    panel = _named(page, "svc-endpoint", "Requests")
    before = panel.inner_text()
    page.get_by_role("combobox").nth(1).click()
    page.get_by_role("option", name="/api/products", exact=True).click()
    expect(page).to_have_url(re.compile("var-route=%2Fapi%2Fproducts(&|$)"))
    expect(panel).not_to_have_text(before, use_inner_text=True)


def test_dragging_over_a_graph_zooms_into_it(pages: Any) -> None:
    page = pages.open("svc-overview")
    plot = _named(page, "svc-overview", "Error ratio").locator(".u-over")
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40, steps=5)
    before, address = _span(page), page.url
    with page.expect_request(re.compile("query_range")):
        page.mouse.up()
    expect(page).not_to_have_url(address)
    assert _span(page) == pytest.approx(before / 2, rel=0.1)


def _span(page: Page) -> float:
    """Milliseconds between the address' from and to."""
    return float(
        page.evaluate(
            """() => { const query = new URLSearchParams(location.search);
            const at = key => Date.parse(query.get(key)) || Number(query.get(key));
            return at('to') - at('from') }"""
        )
    )


def test_the_time_picker_sets_the_time(pages: Any) -> None:
    page = pages.open("svc-overview")
    page.get_by_test_id("data-testid TimePicker Open Button").click()
    page.get_by_text("Last 15 minutes").click()
    expect(page).to_have_url(re.compile("from=now-15m&.*to=now"))


def test_a_route_in_a_table_leads_to_its_own_board_at_the_same_time(pages: Any) -> None:
    page = pages.open("svc-overview")
    at = re.search(r"from=([^&]+)", page.url)
    assert at
    page.get_by_role("link", name="/api/products", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Endpoint")
    expect(page).to_have_url(re.compile("/d/svc-endpoint/?[?].*var-route=%2Fapi%2Fproducts(&|$)"))
    assert at[0] in page.url


def test_an_address_reproduces_the_view(pages: Any) -> None:
    page = pages.open("svc-endpoint", "var-route=/api/orders&var-instance=api-1:8000&marks=")
    again = pages.new()
    again.goto(page.url)
    pages.settle(again)
    for title in ("Requests", "p95", "Answers"):
        shown = _named(page, "svc-endpoint", title).inner_text()
        expect(_named(again, "svc-endpoint", title)).to_have_text(shown, use_inner_text=True)
    expect(again.get_by_label("Deploys")).not_to_be_checked()


def test_a_broken_query_is_the_matter_of_its_panel_alone(pages: Any) -> None:
    board = json.loads((viewer.BOARDS / "svc-overview.json").read_text()) | {"uid": "broken"}
    broken = next(panel for panel in board["panels"] if panel["title"] == "Error ratio")
    for target in broken["targets"]:
        target["expr"] = "sum(("
    (pages.site / "boards" / "broken.json").write_text(json.dumps(board))
    page = pages.new()
    page.goto(f"{pages.url}/?theme=dark")
    page.evaluate("history.replaceState(null, '', 'd/broken/')")
    (pages.site / "d" / "broken").mkdir(exist_ok=True)
    (pages.site / "d" / "broken" / "index.html").write_text(
        (pages.site / "d" / "svc-overview" / "index.html").read_text()
    )
    page.goto(f"{pages.url}/d/broken/?from=now-1h&refresh=")
    pages.settle(page)
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(_panel(page, broken["id"]).get_by_role("alert")).to_contain_text("parse error")
    assert pages.complaints  # the browser tells of each answer 400
    assert all("400" in said for said in pages.complaints)
    pages.complaints.clear()


def test_a_prometheus_that_is_gone_is_told_and_its_return_noticed(
    pages: Any, recorded: servers.Watcher
) -> None:
    page = pages.open("svc-overview")
    recorded.stop()
    page.keyboard.press("r")
    told = page.get_by_text("Prometheus does not answer")
    expect(told.first).to_be_visible()
    recorded.start()
    expect(told).to_have_count(0, timeout=15_000)
    pages.settle(page)
    refused = ("ERR_CONNECTION_REFUSED", "does not answer", "503")  # 503 while it starts
    assert all(any(why in said for why in refused) for said in pages.complaints)
    pages.complaints.clear()


def test_a_panel_alone_its_query_and_its_data(pages: Any) -> None:
    page = pages.open("svc-overview")
    panel = _named(page, "svc-overview", "Error ratio")
    _choose_in_menu(panel, "Show query")
    expect(page.get_by_role("dialog")).to_contain_text(
        'job:http_server_errors:ratio_rate5m{job="api"}'
    )
    page.get_by_role("button", name="Close", exact=False).first.click()
    with page.expect_download() as downloading:
        _choose_in_menu(panel, "Download CSV")
    lines = Path(downloading.value.path()).read_text().splitlines()
    assert lines[0] == "Time,failed,promised"
    assert len(lines) > 90
    panel.hover()
    panel.get_by_role("button", name=re.compile("^Menu")).click()
    graph = page.get_by_role("menuitem", name="Open in Prometheus").get_attribute("href")
    assert graph
    assert graph.startswith(pages.url.removesuffix("user") + "graph?g0.expr=job")
    page.get_by_role("menuitem", name="View").click()
    expect(page.locator("[data-viz-panel-key]")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(_named(page, "svc-overview", "Latency")).to_be_visible()


def test_kiosk_shows_only_panels_until_escape(pages: Any) -> None:
    page = pages.open("svc-runtime")
    page.keyboard.press("k")
    expect(page.get_by_role("banner")).to_have_count(0)
    expect(page.get_by_test_id("data-testid TimePicker Open Button")).not_to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("banner")).to_be_visible()


def test_light_and_dark(pages: Any) -> None:
    page = pages.open("svc-overview")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Look: light").click()
    page.wait_for_function(f"dark => {ground} !== dark", arg=dark)
    expect(page).to_have_url(re.compile("theme=light"))


def test_the_keyboard_reaches_a_panels_menu(pages: Any) -> None:
    page = pages.open("svc-overview")
    menu = _named(page, "svc-overview", "Error ratio").get_by_role(
        "button", name=re.compile("^Menu")
    )
    for _ in range(80):
        page.keyboard.press("Tab")
        if menu.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="View")).to_be_visible()


def test_a_deploy_is_marked_until_somebody_switches_it_off(pages: Any) -> None:
    page = pages.open("svc-overview")
    marks = _named(page, "svc-overview", "Error ratio").get_by_test_id("mark")
    expect(marks.get_by_role("button", name="Deployed 1")).to_have_count(1)
    page.get_by_label("Deploys").click(force=True)
    expect(marks).to_have_count(0)


def test_an_exemplar_leads_to_its_trace(
    pages: Any, answer: Callable[[str], Callable[[Route], None]]
) -> None:
    """Blocks hold no exemplars, so this one is handed in on the way."""
    page = pages.open("svc-overview")
    at = page.evaluate("Date.now()") / 1000 - 600
    seen = {"labels": {"trace_id": "0af7651916cd43dd"}, "value": "0.1", "timestamp": at}
    found = {"status": "success", "data": [{"seriesLabels": {}, "exemplars": [seen]}]}
    page.route("**/query_exemplars", answer(json.dumps(found)))
    page.keyboard.press("r")
    dot = _named(page, "svc-overview", "Latency").get_by_test_id("exemplar")
    expect(dot).to_have_attribute("href", "http://traces.invalid/trace/0af7651916cd43dd")


def test_an_alert_says_what_is_wrong_and_where_to_look(firing: servers.Watcher, pages: Any) -> None:
    page = pages.new(now=None)
    _wait_for_series(firing, "ALERTS")
    page.goto(f"{firing.url}/user/d/svc-alerts/?refresh=")
    kind = next(panel for panel in _panels(BOARDS["svc-alerts"]) if panel["type"] == "alertlist")
    alert = _panel(page, kind["id"]).get_by_role("listitem").filter(has_text="AlwaysHere")
    expect(alert).to_contain_text("Something is wrong")
    alert.get_by_role("link", name="Board").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Database")


def _wait_for_series(watcher: servers.Watcher, query: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if httpx.get(f"{watcher.url}/api/v1/query?query={query}").json()["data"]["result"]:
            return
        time.sleep(0.1)
    raise TimeoutError(query)


@pytest.mark.parametrize("path", ["/", "/d/svc-overview/"])
@pytest.mark.parametrize("look", ["dark", "light"])
def test_no_serious_barrier(pages: Any, path: str, look: str) -> None:
    page = pages.new()
    page.goto(f"{pages.url}{path}?theme={look}")
    page.get_by_role("main").wait_for()
    if path != "/":
        pages.settle(page)
        expect(page.get_by_role("button", name="Refresh", exact=True)).to_be_visible()
    page.add_script_tag(path=str(viewer.SOURCES / "node_modules/axe-core/axe.min.js"))
    found = page.evaluate("async () => (await axe.run()).violations")
    serious = [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
    assert not serious


def test_what_is_loaded_first_stays_small(built: Path) -> None:
    """It was 867 kB; what makes it grow should be worth it."""
    page = (built / "index.html").read_text()
    main = re.search(r'<script type="module"[^>]* src="./(assets/[^"]+)"', page)
    assert main
    assert len(gzip.compress((built / main[1]).read_bytes())) <= 900_000


def test_the_build_names_whose_work_it_contains(built: Path) -> None:
    notices = (built / "third-party-notices.txt").read_text()
    for name in ("@grafana/scenes", "react-dom", "uplot", "inter-ui", "dompurify"):
        assert f"{name} " in notices
    assert "AGPL" not in re.sub("GNU Affero General Public License", "", notices)


def test_the_overview_looks_as_it_did(pages: Any, tmp_path: Path) -> None:
    """The picture is the README's too; remove it to have it taken anew."""
    page = pages.open("svc-overview", size={"width": 1440, "height": 884})
    picture = CHECKOUT / "docs" / "overview.png"
    (tmp_path / "now.png").write_bytes(_still(page))
    if not picture.exists():
        picture.write_bytes((tmp_path / "now.png").read_bytes())
        pytest.fail(f"{picture} was missing and has been taken: look at it and commit it")
    difference = _difference(page, picture, tmp_path / "now.png")
    assert difference < 0.02, f"{difference:.1%} differ: {tmp_path / 'now.png'}"


def _still(page: Page) -> bytes:
    """A picture of a page that has stopped moving."""
    before = b""
    for _ in range(40):
        now = page.screenshot(animations="disabled")
        if now == before:
            return now
        before = now
        page.wait_for_timeout(250)
    raise TimeoutError("the page never stands still")


def _difference(page: Page, *pictures: Path) -> float:
    """The share of pixels that differ visibly."""
    encoded = [base64.b64encode(picture.read_bytes()).decode() for picture in pictures]
    return float(
        page.evaluate(
            """async pictures => {
            const pixels = await Promise.all(pictures.map(async text => {
                const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
                const image = await createImageBitmap(new Blob([bytes]));
                const canvas = new OffscreenCanvas(image.width, image.height);
                const drawn = canvas.getContext('2d');
                drawn.drawImage(image, 0, 0);
                return drawn.getImageData(0, 0, image.width, image.height).data;
            }));
            const [one, other] = pixels;
            if (one.length !== other.length) return 1;
            let different = 0;
            for (let at = 0; at < one.length; at += 4) {
                const far = channel => Math.abs(one[at + channel] - other[at + channel]) > 48;
                if (far(0) || far(1) || far(2)) different += 1;
            }
            return different / (one.length / 4);
        }""",
            encoded,
        )
    )
