"""Traces exported by the real exporter to an OTLP/HTTP receiver."""

import asyncio
import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.vitals.client import fetch
from vitals import Vitals, instrument
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION
from vitals.tracing.setup import traces_endpoint

PARENT = "0af7651916cd43dd8448eb211c80319c"


class Receiver(ThreadingHTTPServer):
    """Collects exported spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        super().__init__(("127.0.0.1", 0), _Take)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Take(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for attribute in resource.resource.attributes:
                if attribute.key == "service.name":
                    self.server.services.add(attribute.value.string_value)
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def make(endpoint: str | None, ratio: float = 1.0) -> tuple[FastAPI, Vitals]:
    engine = create_async_engine("sqlite+aiosqlite://")
    app = FastAPI()
    vitals = instrument(
        app,
        engine=engine,
        otlp_endpoint=endpoint,
        trace_ratio=ratio,
        service_name="shop",
        logs=False,
    )
    report = vitals.cache("products")

    @app.get("/items/{item}")
    async def item(item: int) -> int:
        with report.operation("get"):
            pass
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 'hunter2'"))
        return item

    @app.get("/broken")
    async def broken() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT nothing FROM nowhere"))

    return app, vitals


def attributes(span: Span) -> dict[str, str]:
    return {a.key: a.value.string_value or str(a.value.int_value) for a in span.attributes}


def flush(vitals: Vitals) -> None:
    assert vitals.tracing is not None
    vitals.tracing.shut_down()


def test_a_request_its_query_and_its_cache_operation_are_one_trace(receiver: Receiver) -> None:
    app, vitals = make(receiver.url)
    header = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}
    fetch(app, "GET", "/items/7?token=hunter2", headers=header)
    flush(vitals)
    spans = {span.name: span for span in receiver.spans}
    assert set(spans) == {"GET /items/{item}", "SELECT", "cache get products"}
    assert {span.trace_id.hex() for span in receiver.spans} == {PARENT}
    server = spans["GET /items/{item}"]
    assert {spans[n].parent_span_id for n in ("SELECT", "cache get products")} == {server.span_id}
    assert attributes(server)["http.route"] == "/items/{item}"
    assert attributes(spans["SELECT"])["db.query.text"] == "SELECT ?"
    query = spans["SELECT"]
    assert server.start_time_unix_nano <= query.start_time_unix_nano
    assert query.end_time_unix_nano <= server.end_time_unix_nano
    assert receiver.services == {"shop"}
    assert b"hunter2" not in b"".join(span.SerializeToString() for span in receiver.spans)


def test_a_failed_query_is_marked(receiver: Receiver) -> None:
    app, vitals = make(receiver.url)
    fetch(app, "GET", "/broken")
    flush(vitals)
    (query,) = (span for span in receiver.spans if span.name.startswith("SELECT"))
    assert query.status.code == query.status.STATUS_CODE_ERROR
    assert attributes(query)["error.type"] == "OperationalError"


def test_health_and_metrics_are_not_traced(receiver: Receiver) -> None:
    app, vitals = make(receiver.url)
    for path in ("/healthz", "/metrics"):
        fetch(app, "GET", path)
    flush(vitals)
    assert receiver.spans == []


def exemplars(app: FastAPI) -> set[str]:
    page = fetch(app, "GET", "/metrics", headers={"accept": "application/openmetrics-text"}).text
    return {
        sample.exemplar.labels["trace_id"]
        for family in text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
        if family.name == HTTP_REQUEST_DURATION.name
        for sample in family.samples
        if sample.exemplar
    }


@pytest.mark.parametrize(("flag", "sampled"), [("01", True), ("00", False)])
def test_exemplars_refer_to_sampled_traces_only(
    receiver: Receiver,
    flag: str,
    sampled: bool,  # noqa: FBT001
) -> None:
    app, vitals = make(receiver.url)
    header = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-{flag}"}
    fetch(app, "GET", "/items/7", headers=header)
    flush(vitals)
    assert exemplars(app) == ({PARENT} if sampled else set())
    assert bool(receiver.spans) is sampled


def test_the_ratio_applies_to_traces_without_a_parent(receiver: Receiver) -> None:
    app, vitals = make(receiver.url, ratio=0.0)
    fetch(app, "GET", "/items/7")
    flush(vitals)
    assert receiver.spans == []
    assert exemplars(app) == set()


def test_without_an_endpoint_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    app, vitals = make(None)
    assert vitals.tracing is None
    assert fetch(app, "GET", "/items/7").status_code == 200
    assert not hasattr(app, "_is_instrumented_by_opentelemetry")
    (made,) = exemplars(app)
    assert len(made) == 32


def test_the_endpoint_may_come_from_the_environment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url + "/")
    app, vitals = make(None)
    fetch(app, "GET", "/items/7")
    flush(vitals)
    assert receiver.spans


def test_the_traces_endpoint_takes_precedence_unchanged(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.url + "/v1/traces")
    app, vitals = make(None)
    fetch(app, "GET", "/items/7")
    flush(vitals)
    assert receiver.spans
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/custom")
    assert traces_endpoint(None) == "http://collector/custom"
    assert traces_endpoint("http://other:4318/") == "http://other:4318/v1/traces"
    assert traces_endpoint("http://other:4318/v1/traces") == "http://other:4318/v1/traces"


def test_operations_outside_a_request_start_no_trace(receiver: Receiver) -> None:
    """Each query of a background job would be a trace of one span."""
    _, vitals = make(receiver.url)
    assert vitals.tracing is not None
    vitals.tracing.span("SELECT", time.time_ns(), "", {})
    flush(vitals)
    assert receiver.spans == []


@pytest.mark.slow
def test_an_unreachable_receiver_does_not_fail_requests(caplog: pytest.LogCaptureFixture) -> None:
    app, vitals = make("http://127.0.0.1:9")
    started = time.monotonic()

    async def run() -> None:
        async with LifespanManager(app, shutdown_timeout=30):
            pass

    assert fetch(app, "GET", "/items/7").status_code == 200
    asyncio.run(run())
    assert time.monotonic() - started < 20
    assert vitals.tracing is not None
    assert "hunter2" not in caplog.text
