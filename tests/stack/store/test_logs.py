"""Log lines: what is sent as OTLP is found by LogQL, and read as Loki answers."""

import json
from collections.abc import Iterator

import pytest
import websocket

from tests.stack.store.storing import PAGE, SECOND, Store, storing

TRACE = "0af7651916cd43dd8448eb211c80319c"  # fixed: it is in the names of tests


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with storing(tmp_path_factory.mktemp("store")) as running:
        fill(running)
        yield running


def fill(store: Store) -> None:
    """Four lines of one service and one of another."""
    route = {"http.route": "/orders", "enduser.id": "u42"}
    assert store.send_logs(
        {"body": "order 1 paid", "ago": 50, "attributes": route},
        {"body": "order 2 paid", "ago": 40, "trace": TRACE, "attributes": {"items": 3}},
        {"body": "Timeout of the bank", "ago": 30, "severity": 13},
        {"body": "order 3 failed", "ago": 20, "severity": 17, "trace": TRACE, "attributes": route},
    ).is_success
    assert store.send_logs({"body": "restocked", "ago": 10}, service="stock").is_success


@pytest.mark.servers
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('{service_name="stock"}', {"restocked"}),
        ('{service_name!="shop", level=~".+"}', {"restocked"}),
        ('{service_name="shop"} |= "paid"', {"order 1 paid", "order 2 paid"}),
        ('{service_name="shop"} |= "paid" != "1"', {"order 2 paid"}),
        ('{service_name="shop"} |= "timeout"', set()),
        ('{service_name="shop"} |~ "(?i)timeout"', {"Timeout of the bank"}),
        ('{service_name="shop"} |= "1" or "3"', {"order 1 paid", "order 3 failed"}),
        ('{service_name="shop"} !~ "order \\\\d"', {"Timeout of the bank"}),
        ('{service_name="shop", level="error"}', {"order 3 failed"}),
        ('{service_name="shop"} | detected_level="warn"', {"Timeout of the bank"}),
        (f'{{service_name=~".+"}} | trace_id="{TRACE}"', {"order 2 paid", "order 3 failed"}),
        ('{service_name=~".+"} | enduser_id="u42" | level="info"', {"order 1 paid"}),
        ('{service_name=~".+"} | items > 2', {"order 2 paid"}),
        ('{service_name="shop"} | http_route=~"/o.*" and level="error"', {"order 3 failed"}),
        (
            '{service_name="shop"} | items = "3" or level = "warn"',
            {"order 2 paid", "Timeout of the bank"},
        ),
        ('{service_name="shop"} | scope_name="shop.orders" |= "bank"', {"Timeout of the bank"}),
    ],
)
def test_a_query_finds_the_lines_that_fulfil_it(
    store: Store, query: str, expected: set[str]
) -> None:
    assert set(store.lines(query)) == expected


@pytest.mark.servers
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ('{service_name="shop"} | json', "line filters, label filters"),
        ("{}", "at least one label"),
        ('{service_name="shop"', "expected }"),
        ('{service_name=~"("}', "not valid"),
        ('topk(3, rate({service_name="shop"}[1m]))', "topk is not supported"),
        ('sum(rate({service_name="shop"}))', "a window of time"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(
    store: Store, query: str, said: str
) -> None:
    response = store.client.get("/loki/api/v1/query_range", params={"query": query})
    assert response.status_code == 400
    assert said in response.text
    assert "LogQL" in response.text


@pytest.mark.servers
def test_lines_come_newest_first_or_oldest_first_up_to_the_limit(store: Store) -> None:
    query = '{service_name="shop"} |= "order"'
    given = {"limit": 1, "start": "0"}
    assert store.lines(query, **given) == ["order 3 failed"]
    assert store.lines(query, direction="forward", **given) == ["order 1 paid"]


@pytest.mark.servers
def test_structured_metadata_are_labels_or_stand_beside_the_line(store: Store) -> None:
    query = '{service_name="shop"} |= "failed"'
    (stream,) = store.get("/loki/api/v1/query_range", query=query)["data"]["result"]
    labels = stream["stream"]
    assert labels["service_name"] == "shop"
    assert labels["level"] == labels["detected_level"] == "error"
    assert (labels["trace_id"], labels["http_route"]) == (TRACE, "/orders")
    response = store.client.get(
        "/loki/api/v1/query_range",
        params={"query": query},
        headers={"X-Loki-Response-Encoding-Flags": "categorize-labels"},
    ).json()
    assert response["data"]["encodingFlags"] == ["categorize-labels"]
    (stream,) = response["data"]["result"]
    assert stream["stream"] == {"level": "error", "service_name": "shop"}
    ((_, line, beside),) = stream["values"]
    assert line == "order 3 failed"
    assert beside["structuredMetadata"]["trace_id"] == TRACE


@pytest.mark.servers
def test_lines_are_counted_in_windows_of_time(store: Store) -> None:
    query = 'sum by (level) (count_over_time({service_name="shop"} | drop __error__ [10m]))'
    result = store.get("/loki/api/v1/query", query=query)["data"]
    assert result["resultType"] == "vector"
    counts = {each["metric"]["level"]: each["value"][1] for each in result["result"]}
    assert counts == {"info": "2", "warn": "1", "error": "1"}
    result = store.get("/loki/api/v1/query_range", query='{service_name="stock"}')["data"]
    newest = int(result["result"][0]["values"][0][0])
    result = store.get(
        "/loki/api/v1/query_range",
        query='sum(count_over_time({service_name="shop"}[20s]))',
        start=str(newest - 40 * SECOND),
        end=str(newest),
        step="20s",
    )["data"]
    assert result["resultType"] == "matrix"
    ((first, second, third),) = [[value for _, value in s["values"]] for s in result["result"]]
    # Lines are 40, 30, 20 and 10 s before the newest; one at a window's start is not in it.
    assert int(first) + int(second) + int(third) == 4
    assert (
        store.get("/loki/api/v1/query", query="vector(1)+vector(1)")["data"]["result"][0]["value"][
            1
        ]
        == "2"
    )


@pytest.mark.servers
def test_labels_series_and_sizes_can_be_asked_for(store: Store) -> None:
    assert store.get("/loki/api/v1/labels")["data"] == ["level", "service_name"]
    assert store.get("/loki/api/v1/label/level/values")["data"] == ["error", "info", "warn"]
    series = store.get("/loki/api/v1/series", **{"match[]": '{service_name="stock"}'})["data"]
    assert series == [{"level": "info", "service_name": "stock"}]
    sizes = store.get("/loki/api/v1/index/stats", query='{service_name="stock"}')
    assert (sizes["entries"], sizes["bytes"], sizes["streams"]) == (1, len("restocked"), 1)


@pytest.mark.servers
def test_the_live_tail_shows_lines_as_they_are_stored(store: Store) -> None:
    address = f"ws://127.0.0.1:{store.port}/loki/api/v1/tail"
    socket = websocket.create_connection(
        f"{address}?query=%7Bservice_name%3D%22live%22%7D", timeout=20, origin=PAGE
    )
    try:
        for number in range(3):
            store.send_logs({"body": f"line {number}", "ago": 0}, service="live")
        seen: list[str] = []
        while len(seen) < 3:
            message = json.loads(socket.recv())
            seen += [line for s in message["streams"] for _, line in s["values"]]
        assert seen == ["line 0", "line 1", "line 2"]
    finally:
        socket.close()
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(f"{address}?query=x", timeout=20, origin="http://evil.example")
