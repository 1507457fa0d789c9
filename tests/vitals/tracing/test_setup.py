"""Traces exported by the real exporter to an OTLP/HTTP receiver."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.vitals.client import fetch
from tests.vitals.tracing.receiver import Receiver, attributes, receiving
from vitals import Vitals, instrument
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION
from vitals.testing import Readings

PARENT = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def make(endpoint: str | None, ratio: float = 1.0, **options: Any) -> tuple[FastAPI, Vitals]:
    engine = create_async_engine("sqlite+aiosqlite://")
    app = FastAPI()
    vitals = instrument(
        app,
        engine=engine,
        otlp_endpoint=endpoint,
        trace_ratio=ratio,
        service_name="shop",
        logs=False,
        **options,
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


def flush(vitals: Vitals) -> None:
    assert vitals.tracing is not None
    vitals.tracing.shut_down()


def test_a_request_its_query_and_its_cache_operation_are_one_trace(receiver: Receiver) -> None:
    app, vitals = make(receiver.url)
    header = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}
    fetch(app, "GET", "/items/7?token=hunter2", headers=header)
    flush(vitals)
    spans = {span.name: span for span in receiver.spans}
    names = {"GET /items/{item}", "SELECT", "cache get products"}
    assert set(spans) - {"wait for a connection"} == names
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
    app, vitals = make(receiver.url, trace_tail=False)
    header = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-{flag}"}
    fetch(app, "GET", "/items/7", headers=header)
    flush(vitals)
    assert exemplars(app) == ({PARENT} if sampled else set())
    assert bool(receiver.spans) is sampled


def test_the_ratio_applies_to_traces_without_a_parent(receiver: Receiver) -> None:
    app, vitals = make(receiver.url, ratio=0.0, trace_tail=False)
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
    assert exemplars(app) == set(), "there is no trace that one could name"


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


def test_operations_outside_a_request_start_no_trace(receiver: Receiver) -> None:
    """Each query of a background job would be a trace of one span."""
    _, vitals = make(receiver.url)
    assert vitals.tracing is not None
    vitals.tracing.span("SELECT", time.time_ns(), "", {})
    flush(vitals)
    assert receiver.spans == []


@pytest.mark.slow
def test_the_span_of_a_failed_request_tells_the_exception_but_no_values(
    receiver: Receiver,
) -> None:
    app, vitals = make(receiver.url)
    fetch(app, "GET", "/broken?token=hunter2")
    flush(vitals)
    (server,) = (span for span in receiver.spans if span.kind == span.SPAN_KIND_SERVER)
    assert server.name == "GET /broken"
    assert [event.name for event in server.events] == ["exception"]
    assert server.status.code == server.status.STATUS_CODE_ERROR
    assert attributes(server)["http.response.status_code"] == "500"
    assert b"hunter2" not in server.SerializeToString()


def test_two_applications_of_a_process_have_resources_of_their_own(receiver: Receiver) -> None:
    first, one = make(receiver.url)
    second = FastAPI()
    two = instrument(
        second, otlp_endpoint=receiver.url, trace_ratio=1.0, service_name="till", logs=False
    )
    fetch(first, "GET", "/items/7")
    fetch(second, "GET", "/openapi.json")
    flush(one)
    flush(two)
    assert receiver.services == {"shop", "till"}
    servers = [span for span in receiver.spans if span.kind == span.SPAN_KIND_SERVER]
    assert len(servers) == 2


def test_an_instrumentation_that_does_not_start_harms_no_request(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise TypeError("unexpected keyword argument")

    monkeypatch.setattr(FastAPIInstrumentor, "instrument_app", refuse)
    app, vitals = make(receiver.url, tracer="opentelemetry")
    assert [fetch(app, "GET", "/items/7").status_code for _ in range(2)] == [200, 200]
    flush(vitals)
    assert receiver.spans == []
    assert caplog.text.count("requests have no spans") == 1


def test_a_host_that_takes_its_instrumentation_away_is_measured_on() -> None:
    """OpenTelemetry has the middleware stack built anew then."""
    app, _ = make(None)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=TracerProvider())
    assert fetch(app, "GET", "/items/7").status_code == 200
    FastAPIInstrumentor.uninstrument_app(app)
    assert fetch(app, "GET", "/items/7").status_code == 200
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_count", http_route="/items/{item}") == 2


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """Events of a host's structlog, which merges context variables."""
    found: list[dict[str, Any]] = []

    def keep(_logger: object, _method: str, event: Any) -> Any:
        found.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    yield found
    structlog.reset_defaults()


def test_structlogs_events_name_the_trace_of_a_hosts_instrumentation(
    events: list[dict[str, Any]],
) -> None:
    """The kit binds an id before the host's instrumentation, which is inside, makes the trace."""
    app, traces = FastAPI(), []
    instrument(app)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=TracerProvider())

    @app.get("/said")
    async def said() -> None:
        structlog.get_logger().info("said")
        traces.append(f"{trace.get_current_span().get_span_context().trace_id:032x}")

    for _ in range(2):
        fetch(app, "GET", "/said")
    assert [event["trace_id"] for event in events if event["event"] == "said"] == traces
    assert len(set(traces)) == 2
