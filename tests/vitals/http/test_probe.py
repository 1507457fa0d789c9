"""Edge cases of HTTP metrics, each of which some other library gets wrong."""

import asyncio
import gc
import random
import string
import weakref
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.routing import Mount, Route
from starlette.types import Message

from tests.vitals.client import Sent, converse, fetch, http_scope
from vitals import Objective, instrument
from vitals.asgi.request_context import CURRENT
from vitals.http.recorder import MAX_PENDING_SIZES
from vitals.logging.record_context import add_request_context
from vitals.metrics.catalogue import (
    DB_QUERIES_PER_REQUEST,
    DROPPED,
    HTTP_ACTIVE_REQUESTS,
    HTTP_ACTIVE_WEBSOCKETS,
    HTTP_REQUEST_BODY_SIZE,
    HTTP_REQUEST_DURATION,
    HTTP_RESPONSE_BODY_SIZE,
    HTTP_WEBSOCKET_DURATION,
    SLO_EVENTS,
    SLO_TARGET,
    SLO_THRESHOLD,
)
from vitals.metrics.declarations import Histogram
from vitals.testing import Readings

OBJECTIVES = [
    Objective("latency", ratio=0.9, within=10.0),
    Objective("latency", ratio=0.9, within=1e-9, route="/impossible"),
]


def make(*, measured: bool = True) -> FastAPI:  # noqa: C901  # one application with every kind of route
    app = FastAPI()

    @app.get("/items/{item}")
    async def item(item: int) -> dict[str, int]:
        return {"item": item}

    @app.get("/impossible")
    async def impossible() -> str:
        return "late by decree"

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.get("/broken")
    async def broken() -> None:
        raise LookupError("private detail")

    @app.get("/refused")
    async def refused() -> StreamingResponse:
        return StreamingResponse(iter(()), status_code=503)

    @app.get("/breaks-midway")
    async def breaks_midway() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            raise LookupError

        return StreamingResponse(parts())

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"more"
                await asyncio.sleep(0)

        return StreamingResponse(parts())

    @app.get("/afterwards")
    async def afterwards(tasks: BackgroundTasks) -> str:
        tasks.add_task(asyncio.sleep, 0.3)
        return "answered"

    @app.get("/fails-afterwards")
    async def fails_afterwards(tasks: BackgroundTasks) -> str:
        async def fail() -> None:
            raise LookupError

        tasks.add_task(fail)
        return "answered"

    @app.get("/hangs")
    async def hangs() -> None:
        await asyncio.sleep(60)

    @app.websocket("/talk/{room}")
    async def talk(socket: WebSocket, room: str) -> None:
        await socket.accept()
        await socket.send_text(room)
        await socket.close(1001)

    @app.websocket("/listen")
    async def listen(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive_text()

    @app.websocket("/vanish")
    async def vanish(socket: WebSocket) -> None:
        await socket.accept()

    inner = APIRouter(prefix="/inner")

    @inner.get("/things/{thing}")
    async def thing(thing: str) -> str:
        return thing

    outer = APIRouter(prefix="/outer")
    outer.include_router(inner, prefix="/v1")
    app.include_router(outer, prefix="/root")

    shop = FastAPI()

    @shop.get("/sales/{sale}")
    async def sale(sale: str) -> str:
        return sale

    stall = FastAPI()

    @stall.get("/price")
    async def price() -> int:
        return 3

    shop.mount("/stalls/{stall}", stall)
    app.mount("/shops/{shop}", shop)
    app.mount("/fixed", shop)

    async def plain(request: Request) -> Any:
        return StreamingResponse(iter([b"plain"]))

    app.mount("/plain", Mount("", routes=[Route("/page/{page}", plain)]).app)
    app.add_route("/starlette/{x}", plain)
    if measured:
        instrument(app, objectives=OBJECTIVES, logs=False)
    return app


def count(app: FastAPI, **labels: str) -> float:
    return Readings.of(app).value(HTTP_REQUEST_DURATION, "_count", **labels)


def only(app: FastAPI) -> dict[str, str]:
    """The labels of the only counted request."""
    counted = [
        sample.labels
        for sample in Readings.of(app).samples
        if sample.name == HTTP_REQUEST_DURATION.name + "_count" and sample.value
    ]
    assert len(counted) == 1
    return counted[0]


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/items/7", "/items/{item}", "200"),
        ("GET", "/items/seven", "/items/{item}", "422"),
        ("DELETE", "/items/7", "/items/{item}", "405"),
        ("GET", "/items/7/", "", "307"),
        ("GET", "/nowhere/" + "x" * 50, "", "404"),
        ("GET", "/root/outer/v1/inner/things/a", "/root/outer/v1/inner/things/{thing}", "200"),
        ("GET", "/shops/anna/sales/9", "/shops/{shop}/sales/{sale}", "200"),
        ("GET", "/shops/anna/stalls/4/price", "/shops/{shop}/stalls/{stall}/price", "200"),
        ("GET", "/shops/anna/nothing", "", "404"),
        ("GET", "/shops/anna/sales/9/", "", "307"),
        ("GET", "/fixed/sales/9", "/fixed/sales/{sale}", "200"),
        ("GET", "/plain/page/9", "/plain/page/{page}", "200"),
        ("GET", "/starlette/9", "/starlette/{x}", "200"),
        ("GET", "/openapi.json", "/openapi.json", "200"),
    ],
)
def test_the_route_is_the_full_template(method: str, path: str, route: str, status: str) -> None:
    app = make()
    assert fetch(app, method, path).status_code == int(status)
    assert only(app) == {
        "http_request_method": method if status != "405" else "_OTHER",
        "http_route": route,
        "http_response_status_code": status,
        "error_type": "",
        "url_scheme": "http",
    }


def test_the_scheme_is_one_of_three_words() -> None:
    app = make()

    async def run() -> None:
        for scheme in ("http", "https", "https", "gopher", "x" * 1_000):
            scope = http_scope("GET", "/items/7") | {"scheme": scheme}
            await converse(app, scope, [{"type": "http.request"}], bool)

    asyncio.run(run())
    for metric in (HTTP_REQUEST_DURATION, HTTP_RESPONSE_BODY_SIZE):
        found = {
            scheme: Readings.of(app).value(
                metric, "_count", http_route="/items/{item}", url_scheme=scheme
            )
            for scheme in ("http", "https", "_OTHER")
        }
        assert found == {"http": 1, "https": 2, "_OTHER": 2}
        assert Readings.of(app).value(metric, "_count", http_route="/items/{item}") == 5
    assert Readings.of(app).value(SLO_EVENTS, slo="availability", outcome="good") == 5


def test_the_template_survives_a_root_path() -> None:
    app = make()
    scope = http_scope("GET", "/proxy/shops/anna/sales/9") | {"root_path": "/proxy"}
    asyncio.run(converse(app, scope, [{"type": "http.request"}], leave=bool))
    assert only(app)["http_route"] == "/shops/{shop}/sales/{sale}"


def test_a_route_added_later_has_its_template_too() -> None:
    app = make()
    fetch(app, "GET", "/starlette/1")

    async def late(request: Request) -> StreamingResponse:
        return StreamingResponse(iter([b"late"]))

    app.router.routes.insert(0, Route("/late/{x}", late))
    fetch(app, "GET", "/late/1")
    assert count(app, http_route="/late/{x}") == 1


def test_an_unknown_method_shares_one_label() -> None:
    app = make()
    for method in ("BREW", "brew", "X" * 50):
        fetch(app, method, "/nowhere")
    assert count(app, http_request_method="_OTHER") == 3


def test_an_exception_is_a_500_with_its_class_as_error_type() -> None:
    app = make()
    assert fetch(app, "GET", "/broken").status_code == 500
    assert only(app)["http_response_status_code"] == "500"
    assert only(app)["error_type"] == "LookupError"


def test_a_5xx_without_an_exception_uses_the_status_as_error_type() -> None:
    app = make()
    fetch(app, "GET", "/refused")
    assert only(app)["error_type"] == "503"


def test_an_exception_midway_keeps_the_sent_status() -> None:
    app = make()
    with pytest.raises((LookupError, ExceptionGroup)):  # a group of it before Starlette 0.39
        asyncio.run(
            converse(
                app,
                http_scope("GET", "/breaks-midway"),
                [{"type": "http.request"}],
                leave=lambda _: False,
            )
        )
    assert only(app)["http_response_status_code"] == "200"
    assert only(app)["error_type"] == "LookupError"
    assert Readings.of(app).value(SLO_EVENTS, slo="availability", outcome="bad") == 1


def test_background_tasks_do_not_count_as_latency() -> None:
    app = make()
    fetch(app, "GET", "/afterwards")
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_sum") < 0.3


def test_a_failing_background_task_does_not_fail_the_request() -> None:
    app = make()
    assert fetch(app, "GET", "/fails-afterwards").status_code == 200
    assert only(app)["http_response_status_code"] == "200"
    assert only(app)["error_type"] == ""


def test_a_client_disconnect_is_a_499_and_not_a_bad_event() -> None:
    app = make()
    scope = http_scope("GET", "/endless")
    asyncio.run(converse(app, scope, [{"type": "http.request"}], leave=lambda sent: len(sent) > 3))
    assert only(app)["http_response_status_code"] == "499"
    assert only(app)["error_type"] == "client_disconnected"
    assert Readings.of(app).value(SLO_EVENTS) == 0


def test_a_client_disconnect_during_its_request_body_is_a_499() -> None:
    app = make()
    half: list[Message] = [{"type": "http.request", "body": b"half", "more_body": True}]
    with pytest.raises(ClientDisconnect):
        asyncio.run(converse(app, http_scope("POST", "/echo"), half, leave=lambda _: True))
    assert only(app)["http_response_status_code"] == "499"
    assert Readings.of(app).value(SLO_EVENTS) == 0


def test_methods_and_statuses_of_one_endpoint_are_separate_series() -> None:
    """The second request is looked up by the matched route, method and status."""
    app = make()
    for _ in range(3):
        fetch(app, "GET", "/items/7")
        fetch(app, "GET", "/items/seven")
        fetch(app, "DELETE", "/items/7")
        fetch(app, "GET", "/shops/anna/sales/9")
        fetch(app, "GET", "/fixed/sales/9")
    kinds = {
        (labels["http_request_method"], labels["http_route"], labels["http_response_status_code"])
        for labels in Readings.of(app).series(HTTP_REQUEST_DURATION)
        if labels["http_route"]
    }
    assert kinds == {
        ("GET", "/items/{item}", "200"),
        ("GET", "/items/{item}", "422"),
        ("_OTHER", "/items/{item}", "405"),
        ("GET", "/shops/{shop}/sales/{sale}", "200"),
        ("GET", "/fixed/sales/{sale}", "200"),
    }
    assert count(app, http_response_status_code="422") == 3
    assert count(app, http_route="/fixed/sales/{sale}") == 3


def test_a_request_that_the_server_cancels_is_counted() -> None:
    app = make()

    async def cancel() -> None:
        serving = asyncio.create_task(
            converse(app, http_scope("GET", "/hangs"), [], leave=lambda _: False)
        )
        while not Readings.of(app).value(HTTP_ACTIVE_REQUESTS, http_request_method="GET"):
            await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(cancel())
    assert only(app)["error_type"] == "server_shutdown"
    assert only(app)["http_response_status_code"] == "500"  # what the server sends then
    assert Readings.of(app).value(HTTP_ACTIVE_REQUESTS) == 0


def test_body_sizes_are_counted_not_taken_from_content_length() -> None:
    app = make()
    scope = http_scope("POST", "/echo") | {"headers": [(b"content-length", b"999999")]}
    parts: list[Message] = [
        {"type": "http.request", "body": b"x" * 300, "more_body": True},
        {"type": "http.request", "body": b"x" * 21},
    ]
    sent = asyncio.run(converse(app, scope, parts, leave=lambda sent: len(sent) > 1))
    body = b"".join(message.get("body", b"") for message in sent)
    readings = Readings.of(app)
    assert body == b"321"
    assert readings.value(HTTP_REQUEST_BODY_SIZE, "_sum") == 321
    assert readings.value(HTTP_RESPONSE_BODY_SIZE, "_sum") == 3


def test_cached_instruments_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitals.http.recorder.MAX_CACHED_INSTRUMENTS", 3)
    app = make()
    for _ in range(2):
        for path in ("/items/7", "/items/x", "/impossible", "/refused", "/afterwards", "/broken"):
            fetch(app, "GET", path)
    probe: Any = app.middleware_stack
    recorder = probe._record.__self__
    assert len(recorder._instruments) == 3
    assert len(recorder._by_match) == 3
    # Requests beyond the limit are counted all the same.
    assert count(app, http_route="/broken", http_response_status_code="500") == 2
    readings = Readings.of(app)
    for route, good, bad in (("/items/{item}", 4, 0), ("/broken", 0, 2), ("/afterwards", 2, 0)):
        for outcome, expected in (("good", good), ("bad", bad)):
            labels = {"slo": "availability", "http_route": route, "outcome": outcome}
            assert readings.value(SLO_EVENTS, **labels) == expected, labels
    assert readings.value(SLO_EVENTS, slo="latency", http_route="/afterwards", outcome="good") == 2
    sizes = readings.value(HTTP_RESPONSE_BODY_SIZE, "_count", http_route="/afterwards")
    assert sizes == 2


def test_slo_events_are_separate_when_label_sets_share_the_overflow_series() -> None:
    """Beyond the meter's limit, failures and successes share one histogram."""
    app = make()
    vitals: Any = app.state.vitals
    fetch(app, "GET", "/items/7")  # creates the probe, and its series by method
    vitals.meter._max_series = len(vitals.meter.histogram(HTTP_REQUEST_DURATION).children)
    for path in ("/afterwards", "/broken", "/afterwards"):
        fetch(app, "GET", path)
    readings = Readings.of(app)
    assert readings.value(HTTP_REQUEST_DURATION, "_count", http_route="__other__") == 3

    def events(slo: str, outcome: str) -> float:
        return readings.value(SLO_EVENTS, slo=slo, outcome=outcome)

    assert events("availability", "good") == 3
    assert events("availability", "bad") == 1
    assert events("latency", "good") == 3


def test_slo_events_are_counted_once_however_often_metrics_are_scraped() -> None:
    app = make()
    for number in range(1, 4):
        fetch(app, "GET", "/items/7")
        fetch(app, "GET", "/broken")
        for _ in range(2):
            readings = Readings.of(app)
            counts = [
                readings.value(SLO_EVENTS, slo="availability", outcome=outcome)
                for outcome in ("good", "bad")
            ]
            assert counts == [number, number]
            assert readings.value(SLO_EVENTS, slo="latency", outcome="good") == number


@pytest.mark.parametrize(
    ("method", "path", "metric", "size"),
    [
        ("GET", "/items/7", HTTP_RESPONSE_BODY_SIZE, len(b'{"item":7}')),
        ("POST", "/taken", HTTP_REQUEST_BODY_SIZE, len(b"four")),
    ],
)
def test_pending_sizes_are_limited_and_none_is_lost(
    method: str, path: str, metric: Histogram[Any], size: int
) -> None:
    app = make()

    @app.post("/taken", status_code=204)
    async def taken(request: Request) -> None:
        await request.body()

    async def request_both() -> None:
        for _ in range(MAX_PENDING_SIZES + 10):
            parts: list[Message] = [{"type": "http.request", "body": b"four"}]
            await converse(app, http_scope(method, path), parts, leave=lambda sent: len(sent) > 1)

    asyncio.run(request_both())
    probe: Any = app.middleware_stack
    (series,) = probe._record.__self__._instruments.values()
    assert len(series.sent) + len(series.received) <= MAX_PENDING_SIZES
    readings = Readings.of(app)
    assert readings.value(metric, "_count") == MAX_PENDING_SIZES + 10
    assert readings.value(metric, "_sum") == size * (MAX_PENDING_SIZES + 10)


def test_a_forked_process_reports_only_its_own_requests() -> None:
    app = make()
    for _ in range(5):
        fetch(app, "GET", "/items/7")
    assert Readings.of(app).value(SLO_EVENTS, slo="availability", outcome="good") == 5
    vitals: Any = app.state.vitals
    vitals.meter.reset_after_fork()
    for number in range(1, 3):
        fetch(app, "GET", "/items/7")
        readings = Readings.of(app)
        assert readings.value(SLO_EVENTS, slo="availability", outcome="good") == number
        assert readings.value(SLO_EVENTS, slo="latency", outcome="good") == number


def test_responses_to_head_have_no_body_size() -> None:
    app = make()
    app.add_route("/plain", lambda _: PlainTextResponse("body"), methods=["GET", "HEAD"])
    app.add_api_route("/either", lambda: "body", methods=["GET", "HEAD"])
    for method in ("GET", "HEAD"):
        fetch(app, method, "/either")
        fetch(app, method, "/plain")
    readings = Readings.of(app)
    for route in ("/either", "/plain"):
        sizes = {
            method: readings.value(
                HTTP_RESPONSE_BODY_SIZE, "_count", http_route=route, http_request_method=method
            )
            for method in ("GET", "HEAD")
        }
        assert sizes == {"GET": 1, "HEAD": 0}, route


def test_websockets_are_counted_with_their_duration() -> None:
    app = make()
    scope = http_scope("GET", "/talk/attic") | {"type": "websocket", "scheme": "ws"}
    del scope["method"]
    asyncio.run(converse(app, scope, [{"type": "websocket.connect"}], leave=lambda _: False))
    left = http_scope("GET", "/listen") | {"type": "websocket", "scheme": "ws"}
    gone: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.disconnect", "code": 4711},
    ]
    with pytest.raises(Exception, match="4711"):
        asyncio.run(converse(app, left, gone, leave=lambda _: False))
    unsaid = http_scope("GET", "/vanish") | {"type": "websocket", "scheme": "ws"}
    asyncio.run(converse(app, unsaid, [{"type": "websocket.connect"}], leave=lambda _: False))
    assert Readings.of(app).series(HTTP_WEBSOCKET_DURATION) == [
        {"http_route": "/talk/{room}", "websocket_close_code": "1001"},
        {"http_route": "/listen", "websocket_close_code": "private"},
        # No close frame: the code that a receiver then reports (RFC 6455, 7.4.1).
        {"http_route": "/vanish", "websocket_close_code": "1006"},
    ]
    assert Readings.of(app).value(HTTP_ACTIVE_WEBSOCKETS) == 0


def test_objectives_are_exported_and_their_events_counted() -> None:
    app = make()
    fetch(app, "GET", "/items/7")
    fetch(app, "GET", "/impossible")
    fetch(app, "GET", "/broken")
    fetch(app, "GET", "/refused")  # has no body
    fetch(app, "GET", "/nowhere")
    readings = Readings.of(app)

    def events(slo: str, route: str, outcome: str) -> float:
        return readings.value(SLO_EVENTS, slo=slo, http_route=route, outcome=outcome)

    assert events("latency", "/items/{item}", "good") == 1
    assert events("latency", "/impossible", "bad") == 1
    assert events("availability", "/impossible", "good") == 1
    assert events("availability", "/broken", "bad") == 1
    assert events("availability", "/refused", "bad") == 1
    assert readings.value(SLO_EVENTS, slo="latency", http_route="/broken") == 0
    assert readings.value(SLO_EVENTS, http_route="") == 0
    assert readings.value(SLO_TARGET, slo="latency", http_route="") == 0.9
    assert readings.value(SLO_THRESHOLD, slo="latency", http_route="/impossible") == 1e-9
    bounds = {
        s.labels["le"] for s in readings.samples if s.name.endswith("duration_seconds_bucket")
    }
    assert "1e-09" in bounds


def test_both_outcomes_exist_from_the_first_event() -> None:
    app = make()
    fetch(app, "GET", "/items/7")
    outcomes = {
        (labels["slo"], labels["outcome"]) for labels in Readings.of(app).series(SLO_EVENTS)
    }
    assert outcomes == {
        (slo, outcome) for slo in ("availability", "latency") for outcome in ("good", "bad")
    }


def test_health_checks_are_not_measured_and_no_engine_means_no_query_counts() -> None:
    app = make()
    fetch(app, "GET", "/healthz")
    assert count(app) == 0
    fetch(app, "GET", "/items/7")
    assert Readings.of(app).series(DB_QUERIES_PER_REQUEST) == []


def test_middleware_added_later_is_inside_the_measurement() -> None:
    app = make()

    class Slow:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(0.05)
            await self.app(scope, receive, send)

    app.add_middleware(Slow)
    fetch(app, "GET", "/items/7")
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_sum") >= 0.05


def test_a_probe_that_fails_does_not_fail_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make()
    fetch(app, "GET", "/items/7")
    monkeypatch.setattr("vitals.asgi.route_template.RouteTemplates.matched", lambda _: 1 / 0)
    assert fetch(app, "GET", "/items/7").status_code == 200
    assert Readings.of(app).value(DROPPED, reason="http_probe") == 1


@pytest.mark.slow
def test_ten_thousand_random_requests_add_fewer_than_twenty_series() -> None:
    app = make()
    dice = random.Random(7)  # noqa: S311

    def word() -> str:
        return "".join(dice.choices(string.ascii_letters + string.digits + "-._~/", k=12))

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT"]

    async def attack() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for _ in range(10_000):
                method = dice.choice([*methods, word().replace("/", "").replace(".", "") or "X"])
                headers = {"user-agent": word(), "x-forwarded-for": word(), "accept": word()}
                await client.request(method, "/" + word(), headers=headers)

    fetch(app, "GET", "/items/7")
    before = len(Readings.of(app).samples)
    asyncio.run(attack())
    added = len(Readings.of(app).samples) - before
    assert count(app) == 10_001
    assert added < 20


def test_methods_that_routes_do_not_accept_cannot_exhaust_the_series_limit() -> None:
    """Every method on every route: series grow with the routes, not with the product."""
    app = FastAPI()
    for number in range(60):
        app.add_api_route(f"/api/{number}/items", lambda: None, methods=["GET"])
    instrument(app, logs=False)
    for number in range(60):
        fetch(app, "GET", f"/api/{number}/items")
    before = len(Readings.of(app).samples)
    for number in range(60):
        for method in ("PUT", "DELETE", "PATCH", "POST", "TRACE", "BREW"):
            assert fetch(app, method, f"/api/{number}/items").status_code == 405
    assert len(Readings.of(app).samples) - before <= 60 * 20


@pytest.mark.parametrize("root", ["", "/proxy"])
def test_metrics_and_health_paths_work_below_a_root_path(root: str) -> None:
    app = make()
    for path, status in (("/metrics", 200), ("/healthz", 404)):
        scope = http_scope("GET", root + path) | {"root_path": root}
        sent = asyncio.run(converse(app, scope, [{"type": "http.request"}], leave=bool))
        assert sent[0]["status"] == status
    assert count(app) == 0


def test_messages_pass_unchanged() -> None:
    """The probe only observes: the server gets the messages that the application sends."""
    measured, bare = make(), make(measured=False)
    seen: list[Sent] = []
    for target in (measured, bare):
        request: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
        seen.append(asyncio.run(converse(target, http_scope("GET", "/items/7"), request, bool)))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2


class Referenced:
    """An object of a request; alive as long as the request is referenced."""


def test_a_task_that_outlives_its_request_keeps_only_the_trace_id() -> None:
    app = FastAPI()
    instrument(app, logs=False)
    seen: list[Any] = []
    over, logged = asyncio.Event(), list[str]()

    async def later() -> None:
        await over.wait()
        request = CURRENT.get()
        assert request is not None
        logged.extend((add_request_context(None, "", {})["trace_id"], str(len(request.http))))

    @app.get("/begin")
    async def begin(request: Request) -> None:
        referenced = Referenced()
        request.state.referenced = referenced
        seen.extend((weakref.ref(referenced), asyncio.create_task(later())))

    async def run() -> None:
        incoming: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
        scope = http_scope("GET", "/begin")
        scope["headers"] = [(b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")]
        referenced = Referenced()
        mark = weakref.ref(referenced)

        async def receive(_pinned: Referenced = referenced) -> Message:
            return incoming.pop(0)

        async def send(_message: Message) -> None:
            pass

        await app(scope, receive, send)
        del scope, receive, referenced
        gc.collect()
        assert seen[0]() is None, "referenced by the request's state"
        assert mark() is None, "referenced by its connection"
        over.set()
        await seen[1]

    asyncio.run(run())
    assert logged == ["a" * 32, "0"]


def test_receive_and_send_after_the_end_behave_like_the_servers() -> None:
    app = FastAPI()
    instrument(app, logs=False)
    callables: list[Any] = []

    class Keep:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            callables.extend((receive, send))
            await self.app(scope, receive, send)

    app.add_middleware(Keep)
    fetch(app, "GET", "/")
    assert asyncio.run(callables[0]()) == {"type": "http.disconnect"}
    with pytest.raises(RuntimeError, match="complete"):
        asyncio.run(callables[1]({"type": "http.response.body"}))
