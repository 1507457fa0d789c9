"""Every supported panel and variable type on one board; unsupported ones are errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import accessibility, pictures
from tests.browser.pages import BOARDS, PLOTS, Pages, panel, panels_of

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

RATE = 'sum by (http_route) (rate(http_server_request_duration_seconds_count{job="api"}[5m]))'
BUCKETS = 'sum by (le) (rate(http_server_request_duration_seconds_bucket{job="api"}[5m]))'
STATES = {"1": {"text": "up", "color": "green"}, "2": {"text": "crowded", "color": "red"}}
HTML = "<b>bold</b><img alt='' src='x' onerror='document.title=`run`'><script>throw 1</script>"
Panel = dict[str, Any]


def _with_query(kind: str, expr: str, *, options: Panel | None = None, **more: Any) -> Panel:
    target = {"refId": "A", "expr": expr, "legendFormat": "{{http_route}}", **more}
    return {"type": kind, "title": kind, "targets": [target], "options": options or {}}


def _text(mode: str, content: str) -> Panel:
    return {"type": "text", "title": mode, "options": {"mode": mode, "content": content}}


def _states() -> Panel:
    drawn = _with_query(
        "state-timeline", 'clamp(sum(http_server_active_requests{job="api"}) % 3, 1, 2)'
    )
    mappings = [{"type": "value", "options": STATES}]
    return drawn | {"fieldConfig": {"defaults": {"mappings": mappings}, "overrides": []}}


PANELS: list[Panel] = [
    _with_query("stat", f"sum({RATE})", options={"graphMode": "area"}),
    _with_query("gauge", f"100 * sum({RATE}) / 10"),
    _with_query("bargauge", f"topk(3, {RATE})", options={"orientation": "horizontal"}),
    _with_query("table", f"topk(3, {RATE})", format="table", instant=True),
    _with_query("timeseries", RATE),
    _with_query("heatmap", BUCKETS, format="heatmap"),
    _states(),
    {"type": "alertlist", "title": "alertlist", "options": {}},
    _text("markdown", "# One\n\n- two of $several"),
    _text("html", HTML),
    _text("code", "<b>not bold</b>"),
    {"type": "piechart", "title": "piechart", "options": {}},
]
VARIABLES = [
    {"name": "job", "type": "query", "query": "label_values(up, job)", "label": "Service"},
    {"name": "several", "type": "custom", "query": "a, b, c", "multi": True, "includeAll": True},
    {"name": "window", "type": "interval", "query": "1m, 5m", "current": {"value": "5m"}},
    {"name": "words", "type": "textbox", "query": "free", "label": "Words"},
    {"name": "fixed", "type": "constant", "query": "always", "hide": 2},
]


@pytest.fixture
def show(pages: Pages) -> Callable[[Panel], Page]:
    """Open a board made of these parts."""

    def opened(parts: Panel) -> Page:
        board = {"uid": "kinds", "title": "Kinds", "graphTooltip": 1, "schemaVersion": 42, **parts}
        (pages.site / "boards" / "kinds.json").write_text(json.dumps(board))
        page = pages.new()
        page.goto(f"{pages.url}/d/svc-runtime/?refresh=&theme=dark")
        pages.settle(page)
        pages.follow(page, Pages.path("kinds", "var-several=a&var-several=b"), draws=False)
        return page

    return opened


def _placed(panels: list[Panel]) -> list[Panel]:
    return [
        {"id": 1 + place, "gridPos": {"x": place % 3 * 8, "y": place // 3 * 7, "w": 8, "h": 7}}
        | one
        for place, one in enumerate(panels)
    ]


def test_every_kind_is_drawn_and_an_unsupported_one_is_an_error(
    show: Callable[[Panel], Page], pages: Pages, tmp_path: Path, *, record: bool
) -> None:
    page = show({"panels": _placed(PANELS), "templating": {"list": VARIABLES}})
    pages.settle(page)
    found = {one["title"]: panel(page, one["id"]) for one in _placed(PANELS)}
    for kind in PLOTS:
        expect(found[kind].locator("canvas").first).to_be_visible()
    expect(found["stat"]).to_contain_text("8.42")
    expect(found["gauge"].get_by_role("img")).to_be_visible()
    expect(found["bargauge"]).to_contain_text("/api/")
    expect(found["table"].get_by_role("row")).to_have_count(4)
    expect(found["state-timeline"]).to_contain_text("crowded")
    expect(found["alertlist"].get_by_role("status")).to_have_text("No alerts firing or pending")
    expect(found["markdown"].get_by_role("heading", name="One")).to_be_visible()
    expect(found["markdown"].get_by_role("listitem")).to_have_text("two of {a,b}")
    expect(found["html"].locator("b")).to_have_text("bold")
    expect(found["code"]).to_contain_text("<b>not bold</b>")
    assert found["html"].locator("script, [onerror]").count() == 0
    assert page.title() != "run"
    alert = found["piechart"].get_by_role("alert")
    expect(alert).to_have_text('Panel type "piechart" is not supported')
    expect(page.get_by_label("Words")).to_have_value("free")
    pictures.compare(page, "kinds", tmp_path, record=record)
    assert not accessibility.serious(page)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"panels": _placed([PANELS[0] | {"repeat": "job"}])},
            "panel stat: repeat by $job is not supported",
        ),
        (
            {"panels": [{"type": "row", "title": "each", "repeat": "job", "panels": []}]},
            "row each: repeat by $job is not supported",
        ),
        (
            {"panels": [], "templating": {"list": [{"name": "it", "type": "adhoc"}]}},
            'variable it: type "adhoc" is not supported',
        ),
    ],
)
def test_a_board_with_unsupported_features_is_an_error(
    show: Callable[[Panel], Page], parts: Panel, words: str
) -> None:
    page = show(parts)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This board cannot be rendered")
    expect(alert).to_contain_text(words)


def test_our_boards_use_supported_features_only() -> None:
    """All panel types that they use are on the board of this file; none repeats a panel or row."""
    kinds = {one["type"] for one in PANELS} - {"piechart"}
    assert {one["type"] for board in BOARDS.values() for one in panels_of(board)} <= kinds
    assert '"repeat"' not in json.dumps(BOARDS)
