"""Traces: what is sent as OTLP is found by TraceQL, and read as Tempo answers."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tests.stack.store.storing import PROTOBUF, Store, storing, trace_id, traces

SLOW, FAILED, FOREIGN = trace_id(), trace_id(), trace_id()
ROOT = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with storing(tmp_path_factory.mktemp("store")) as running:
        fill(running)
        yield running


def fill(store: Store) -> None:
    """Three traces; of the slow one, a part comes from another service."""
    assert store.send_traces(
        {
            "trace": SLOW,
            "id": ROOT,
            "name": "GET /orders",
            "duration": 0.8,
            "ago": 20,
            "attributes": {
                "http.route": "/orders",
                "http.response.status_code": 200,
                "enduser.id": "u42",
                "vitals.kept": ["objective", "n_plus_one"],
            },
        },
        {
            "trace": SLOW,
            "parent": ROOT,
            "name": "SELECT orders",
            "kind": 3,
            "duration": 0.7,
            "ago": 20,
            "attributes": {"db.system.name": "postgresql", "db.response.returned_rows": 3},
        },
        {
            "trace": FAILED,
            "name": "POST /orders",
            "error": True,
            "ago": 10,
            "attributes": {"http.route": "/orders", "http.response.status_code": 500},
            "events": {"exception": {"exception.type": "KeyError"}},
        },
    ).is_success
    assert store.send_traces(
        {"trace": SLOW, "parent": ROOT, "name": "GET /stock", "ago": 19.8, "duration": 0.1},
        {"trace": FOREIGN, "parent": ROOT, "name": "GET /stock", "ago": 5},
        service="stock",
    ).is_success


@pytest.mark.servers
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ }", [FOREIGN, FAILED, SLOW]),
        ('{ resource.service.name = "shop" }', [FAILED, SLOW]),
        ('{ .service.name = "stock" }', [FOREIGN, SLOW]),
        ('{ span.http.route = "/orders" && status = error }', [FAILED]),
        ('{ span.http.route = "/orders" && status != error }', [SLOW]),
        ("{ duration > 250ms }", [SLOW]),
        ("{ duration > 0.9s || span.http.response.status_code >= 500 }", [FAILED]),
        ("{ span.http.response.status_code = 200 }", [SLOW]),
        ('{ name =~ "(GET|POST) /orders" }', [FAILED, SLOW]),
        ('{ name =~ "GET" }', []),
        ("{ status = error } with (most_recent=true)", [FAILED]),
        ('{ name =~ "(?i).*post.*" }', [FAILED]),
        ('{ event.exception.type =~ "Key.*" }', [FAILED]),
        ('{ } && { span.db.system.name =~ "(?i).*GRES.*" || name =~ ".*gres.*" }', [SLOW]),
        ('{ span.db.system.name =~ "post.res.*" }', [SLOW]),
        ('{ resource.service.name =~ ".*sho.*" }', [FAILED, SLOW]),
        ('{ span.db.system.name =~ ".*nothing.*" }', []),
        ('{ span.enduser.id = "u42" }', [SLOW]),
        ('{ span.vitals.kept = "n_plus_one" }', [SLOW]),
        ("{ span.enduser.id != nil }", [SLOW]),
        ('{ event.exception.type = "KeyError" }', [FAILED]),
        ("{ kind = client && span.db.response.returned_rows < 4 }", [SLOW]),
        ('{ rootName = "GET /orders" && resource.service.name = "stock" }', [SLOW]),
        ('{ kind = client } && { resource.service.name = "stock" }', [SLOW]),
        ('{ span.enduser.id = "u42" } || { status = error }', [FAILED, SLOW]),
        ('{ span.enduser.id = "u4" }', []),
    ],
)
def test_a_query_finds_the_traces_that_fulfil_it(
    store: Store, query: str, expected: list[str]
) -> None:
    assert [trace["traceID"] for trace in store.search(query)] == expected


@pytest.mark.servers
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("{ } | rate()", "only select"),
        ("{ foo = 1 }", "expected a field"),
        ("{ status = broken }", "unset ok error"),
        ('{ name =~ "(" }', "not valid"),
        ("{ span.a = 1 } >> { span.b = 2 }", "not supported"),
        ("resource.service.name", "expected {"),
        ('{ duration > "fast" }', "a duration"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(
    store: Store, query: str, said: str
) -> None:
    response = store.client.get("/api/search", params={"q": query})
    assert response.status_code == 400
    assert said in response.text
    assert "TraceQL" in response.text


@pytest.mark.servers
def test_a_result_has_what_tempo_says_of_a_trace(store: Store) -> None:
    (trace,) = store.search('{ span.enduser.id = "u42" } | select(span.http.route)')
    assert trace["rootServiceName"] == "shop"
    assert trace["rootTraceName"] == "GET /orders"
    assert trace["durationMs"] == 800
    assert trace["serviceStats"] == {"shop": {"spanCount": 2}, "stock": {"spanCount": 1}}
    (spanset,) = trace["spanSets"]
    assert spanset["matched"] == 1
    (span,) = spanset["spans"]
    assert (span["spanID"], span["durationNanos"]) == (ROOT, "800000000")
    assert span["startTimeUnixNano"] == trace["startTimeUnixNano"]
    assert {each["key"]: each["value"] for each in span["attributes"]} == {
        "enduser.id": {"stringValue": "u42"},
        "http.route": {"stringValue": "/orders"},
    }
    (foreign,) = store.search('{ name = "GET /stock" }', limit=1)
    assert foreign["rootServiceName"] == "<root span not yet received>"


@pytest.mark.servers
def test_a_search_is_bounded_by_time_and_number(store: Store) -> None:
    (newest,) = store.search("{ }", limit=1)
    assert newest["traceID"] == FOREIGN
    start = int(newest["startTimeUnixNano"]) // 10**9
    assert [t["traceID"] for t in store.search("{ }", end=start - 2)] == [FAILED, SLOW]
    found = store.get("/api/search", tags="http.route=/orders", minDuration="250ms")["traces"]
    assert [trace["traceID"] for trace in found] == [SLOW]


@pytest.mark.servers
def test_a_trace_is_read_as_json_and_as_protobuf(store: Store) -> None:
    batches = store.get(f"/api/traces/{SLOW}")["batches"]
    spans = [s for batch in batches for scope in batch["scopeSpans"] for s in scope["spans"]]
    assert {span["name"] for span in spans} == {"GET /orders", "SELECT orders", "GET /stock"}
    assert {base64.b64decode(span["traceId"]).hex() for span in spans} == {SLOW}
    assert store.get(f"/api/v2/traces/{SLOW}")["trace"]["resourceSpans"] == batches
    accept = {"Accept": "application/protobuf"}
    body = store.client.get(f"/api/traces/{SLOW}", headers=accept).content
    trace = TracesData.FromString(body)
    assert sum(len(s.spans) for g in trace.resource_spans for s in g.scope_spans) == 3
    # Of version 2 the trace is the first field of the message.
    wrapped = store.client.get(f"/api/v2/traces/{SLOW}", headers=accept).content
    assert wrapped.endswith(body)
    assert wrapped[0] == 0x0A
    assert store.client.get(f"/api/traces/{trace_id()}").status_code == 404
    assert store.client.get("/api/traces/nothing").status_code == 400


@pytest.mark.servers
def test_names_and_values_of_attributes_can_be_chosen_from(store: Store) -> None:
    scopes = {each["name"]: each["tags"] for each in store.get("/api/v2/search/tags")["scopes"]}
    assert scopes["resource"] == ["service.name", "service.version"]
    assert "http.route" in scopes["span"]
    assert "status" in scopes["intrinsic"]
    assert "http.route" in store.get("/api/search/tags")["tagNames"]
    values = store.get("/api/v2/search/tag/resource.service.name/values")["tagValues"]
    assert values == [{"type": "string", "value": "shop"}, {"type": "string", "value": "stock"}]
    codes = store.get("/api/v2/search/tag/.http.response.status_code/values")["tagValues"]
    assert codes == [{"type": "int", "value": "200"}, {"type": "int", "value": "500"}]
    assert store.get("/api/search/tag/service.name/values")["tagValues"] == ["shop", "stock"]
    assert store.client.get("/api/echo").text == "echo"


@pytest.mark.servers
def test_its_files_are_private(store: Store) -> None:
    files = list(Path(store.data).iterdir())
    assert files
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert store.data.stat().st_mode & 0o777 == 0o700


@pytest.mark.servers
def test_what_is_sent_twice_is_there_once(store: Store) -> None:
    trace = trace_id()
    body = traces({"trace": trace, "ago": 100}).SerializeToString()
    for _ in range(2):
        assert store.client.post("/v1/traces", content=body, headers=PROTOBUF).is_success
    (group,) = store.get(f"/api/traces/{trace}")["batches"]
    assert len(group["scopeSpans"][0]["spans"]) == 1


@pytest.mark.servers
def test_a_span_that_comes_again_in_another_batch_is_there_once(store: Store) -> None:
    trace = trace_id()
    first = traces({"trace": trace, "name": "first", "ago": 100})
    both = traces({"trace": trace, "name": "second", "ago": 100})
    both.resource_spans[0].scope_spans[0].spans.extend(first.resource_spans[0].scope_spans[0].spans)
    for each in (first, both):
        body = each.SerializeToString()
        assert store.client.post("/v1/traces", content=body, headers=PROTOBUF).is_success
    groups = store.get(f"/api/traces/{trace}")["batches"]
    names = [
        span["name"] for each in groups for scope in each["scopeSpans"] for span in scope["spans"]
    ]
    assert sorted(names) == ["first", "second"]


@pytest.mark.servers
def test_odd_names_and_clocks_are_answered(store: Store) -> None:
    odd = {"trace": trace_id(), "name": "set back", "duration": -5, "attributes": {"a/b": "1"}}
    assert store.send_traces(odd).is_success
    (found,) = store.search('{ name = "set back" }')
    assert found["durationMs"] == 0
    assert found["spanSet"]["spans"][0]["durationNanos"] == "0"
    values = store.get("/api/v2/search/tag/span.a%2Fb/values")["tagValues"]
    assert values == [{"type": "string", "value": "1"}]
