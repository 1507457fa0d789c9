"""Logs are exported by OTLP where an endpoint is set, and the host's logging stays as it is."""

import io
import logging
import logging.config
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler

from tests.vitals.client import fetch
from tests.vitals.otlp.collector import Collector, collecting, hanging, wait_until
from vitals import instrument
from vitals.logging import active_export
from vitals.logging.log_export import LogExport, stop
from vitals.metrics.catalogue import DROPPED
from vitals.testing import Readings

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
DEPRECATED = pytest.mark.filterwarnings("ignore:.LoggingHandler. in:DeprecationWarning")
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIx.abcdefghij"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch, bare_logging: logging.Logger) -> Iterator[Collector]:
    with collecting() as server:
        monkeypatch.setenv(ENDPOINT, server.url)
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
        yield server
        stop()


def service(log: Callable[[], object] = bool, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/items/{item}")
    async def item(item: str) -> str:
        log()
        return item

    instrument(app, service_name="shop", version="1.2", **options)
    return app


def export() -> LogExport:
    found = active_export.current
    assert isinstance(found, LogExport)
    return found


def records(collector: Collector) -> dict[str, Any]:
    """Exported records by their text, each with scope, resource and attributes."""
    assert export().exporter.flush(20)
    found: dict[str, Any] = {}
    for body in collector.bodies:
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    assert record.body.string_value not in found, "exported twice"
                    found[record.body.string_value] = (record, scope.scope.name, resource.resource)
    return found


def attributes(held: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in held.attributes}


def refuse() -> None:
    raise ValueError("bad password=hunter22") from LookupError("first")


def fail() -> None:
    try:
        refuse()
    except ValueError:
        logging.getLogger("shop").exception("order %d failed", 7, extra={"order": 7, "pin": "1234"})
    logging.getLogger("shop").info("held back by its level")
    logging.getLogger("shop").warning("token %s", TOKEN)


@pytest.mark.parametrize("logs", ["host", "json"])
def test_a_record_of_a_request_arrives_whole_and_redacted(collector: Collector, logs: str) -> None:
    logging.basicConfig(level=logging.WARNING, stream=io.StringIO())
    app = service(fail, logs=logs)
    assert fetch(app, "GET", "/items/1", headers=TRACEPARENT).status_code == 200
    found = records(collector)
    record, scope, resource = found["order 7 failed"]
    assert (
        attributes(resource).items() >= {"service.name": "shop", "service.version": "1.2"}.items()
    )
    assert attributes(resource)["service.instance.id"]
    assert scope == "shop"
    assert (record.severity_text, record.severity_number) == ("ERROR", 17)
    assert record.trace_id.hex() == TRACE
    assert abs(record.time_unix_nano / 1e9 - time.time()) < 60
    fields = attributes(record)
    assert fields["http.route"] == "/items/{item}"
    assert fields["code.function.name"] == "fail"
    assert fields["code.file.path"] == __file__
    assert (fields["order"], fields["pin"]) == (7, "[redacted]")
    assert fields["exception.type"] == "ValueError"
    assert fields["exception.message"] == "bad password=[redacted]"
    assert 'test_log_export.py", line' in fields["exception.stacktrace"]
    assert fields["exception.stacktrace"].endswith("ValueError: bad password=[redacted]")
    assert fields["vitals.error.fingerprint"]
    assert "token [redacted]" in found
    assert "held back by its level" not in found
    everything = b"".join(collector.bodies)
    assert b"hunter22" not in everything
    assert b"1234" not in everything
    assert TOKEN.encode() not in everything


def test_the_hosts_logging_stays_as_it_is_and_may_be_set_up_later(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    app = service(lambda: logging.getLogger("shop").warning("bought"))
    fetch(app, "GET", "/items/1")
    assert logging.root.handlers == []
    assert "bought" in capsys.readouterr().err, "Python's last resort was silenced"
    stream = io.StringIO()
    logging.basicConfig(format="HOST %(message)s", stream=stream)
    logging.getLogger("later").warning("set up")
    assert stream.getvalue() == "HOST set up\n"
    assert {"bought", "set up"} <= records(collector).keys()
    stop()
    assert logging.Logger.callHandlers.__module__ == "logging"


def test_loggers_that_do_not_propagate_are_exported_and_filters_of_loggers_apply(
    collector: Collector,
) -> None:
    own = logging.getLogger("own")
    own.propagate = False
    own.addHandler(logging.StreamHandler(io.StringIO()))
    own.addFilter(lambda record: "healthy" not in record.getMessage())
    fetch(service(), "GET", "/items/1")
    own.warning("not propagated")
    own.warning("healthy")
    assert records(collector).keys() >= {"not propagated"}
    assert "healthy" not in records(collector)


def test_what_a_formatter_or_filter_of_the_host_masks_is_masked(collector: Collector) -> None:
    class Masking(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return super().format(record).replace("planted", "***")

    def mask(record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).replace("filtered", "***")
        return True

    by_formatter, by_filter = (logging.StreamHandler(io.StringIO()) for _ in range(2))
    by_formatter.setFormatter(Masking("%(asctime)s %(message)s"))
    by_filter.addFilter(mask)
    logging.root.handlers = [by_formatter, by_filter]
    fetch(service(), "GET", "/items/1")
    logging.getLogger("shop").warning("a planted word")
    logging.getLogger("shop").warning("a filtered word")
    assert export().exporter.flush(20)
    sent = b"".join(collector.bodies)
    assert sent.count(b"a *** word") == 2
    assert b"planted" not in sent
    assert b"filtered" not in sent


@pytest.mark.parametrize("logs", ["host", "json"])
def test_a_record_that_a_filter_puts_in_the_place_of_another_is_exported(
    collector: Collector, logs: str
) -> None:
    def copying(record: logging.LogRecord) -> Any:
        copied = logging.makeLogRecord(vars(record))
        copied.msg, copied.customer = str(record.msg).replace("planted", "***"), "***"
        if sys.version_info >= (3, 12):
            return copied
        record.__dict__.update(vars(copied))  # as filters did before
        return True

    handler = logging.StreamHandler()
    handler.addFilter(copying)
    logging.root.handlers = [handler, logging.StreamHandler(io.StringIO())]
    fetch(service(logs=logs), "GET", "/items/1")
    logging.getLogger("shop").warning("a planted word", extra={"customer": "planted"})
    record, _, _ = records(collector)["a *** word"]
    assert attributes(record)["customer"] == "***"
    assert b"planted" not in b"".join(collector.bodies)
    stop()
    assert logging.Handler.filter is logging.Filterer.filter


def test_level_and_filters_of_the_export_are_the_hosts_to_set(collector: Collector) -> None:
    app = service()
    assert not app.state.vitals.log_export
    fetch(app, "GET", "/items/1")
    app.state.vitals.log_export.setLevel(logging.ERROR)
    app.state.vitals.log_export.addFilter(lambda record: record.name != "noisy")
    for name in ("shop", "noisy"):
        logging.getLogger(name).warning("a warning of %s", name)
        logging.getLogger(name).error("an error of %s", name)
    assert {each for each in records(collector) if " of " in each} == {"an error of shop"}


def test_events_of_structlog_and_of_the_kit_are_exported_with_json_lines(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    app = service(lambda: structlog.get_logger().info("bought", apples=7), logs="json")
    fetch(app, "GET", "/items/1", headers=TRACEPARENT)
    found = records(collector)
    record, scope, _ = found["bought"]
    assert (attributes(record)["apples"], record.trace_id.hex()) == (7, TRACE)
    assert scope == "structlog"
    assert record.severity_number == 9


@DEPRECATED
def test_a_host_that_exports_itself_is_left_to_it(collector: Collector) -> None:
    app = service()
    handler = LoggingHandler(logger_provider=LoggerProvider())
    logging.root.addHandler(handler)
    fetch(app, "GET", "/items/1")
    logging.getLogger("shop").warning("the host's")
    assert export().is_host_exporting
    logging.root.removeHandler(handler)
    fetch(app, "GET", "/metrics")
    logging.getLogger("shop").warning("ours")
    logging.root.addHandler(handler)  # noticed with the next record
    logging.getLogger("shop").warning("the host's again")
    logging.root.removeHandler(handler)
    sent = records(collector)
    assert "ours" in sent
    assert not {"the host's", "the host's again"} & sent.keys()


@DEPRECATED
async def test_the_line_at_start_says_that_the_host_exports(
    collector: Collector, caplog: pytest.LogCaptureFixture, anyio_backend: str
) -> None:
    logging.root.setLevel(logging.INFO)
    seen: list[Any] = []
    watcher = logging.Handler()
    watcher.emit = lambda record: seen.append(getattr(record, "watched", ()))  # type: ignore[method-assign]
    logging.root.handlers = [watcher, LoggingHandler(logger_provider=LoggerProvider())]
    async with LifespanManager(service()):
        pass
    said = "logs not exported: the application does, by OpenTelemetry's LoggingHandler"
    assert any(said in watched for watched in seen)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_LOGS_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "true"), (ENDPOINT, "")],
)
def test_nothing_is_exported_where_the_environment_says_so(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    fetch(service(), "GET", "/items/1")
    assert active_export.current is None
    assert logging.Logger.callHandlers.__module__ == "logging"


def test_nothing_is_exported_where_logs_are_off(collector: Collector) -> None:
    fetch(service(logs=False), "GET", "/items/1")
    assert active_export.current is None


def test_what_the_export_logs_itself_is_not_exported(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.answers += [400]
    app = service(lambda: logging.getLogger("shop").warning("bought"))
    fetch(app, "GET", "/items/1")
    assert export().exporter.flush(20)
    assert "it answered 400" in capsys.readouterr().err
    assert Readings.of(app).value(DROPPED, reason="otlp_logs") == 1
    assert export().exporter.flush(20)
    assert collector.bodies == []


async def test_a_collector_that_hangs_holds_neither_requests_nor_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    with hanging() as url:
        monkeypatch.setenv(ENDPOINT, url)
        app = service(lambda: logging.getLogger("shop").warning("bought"))
        started = time.monotonic()
        async with LifespanManager(app, shutdown_timeout=20):
            logging.getLogger("shop").warning("started")
        assert time.monotonic() - started < 15
        stop(0)


def test_two_applications_export_under_their_own_names(collector: Collector) -> None:
    def log(text: str) -> Callable[[], object]:
        return lambda: logging.getLogger("x").warning(text)

    first = service(log("of the shop"))
    second = FastAPI()
    second.get("/")(log("of the bank"))
    instrument(second, service_name="bank")
    fetch(first, "GET", "/items/1")
    fetch(second, "GET", "/")
    found = records(collector)
    names = {text: attributes(found[text][2])["service.name"] for text in found}
    assert names["of the shop"] == "shop"
    assert names["of the bank"] == "bank"


def test_a_span_that_is_current_is_named(collector: Collector) -> None:
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # global when imported

    tracer = TracerProvider().get_tracer("test")
    fetch(service(), "GET", "/items/1")
    with tracer.start_as_current_span("job") as span:
        logging.getLogger("job").warning("outside of a request")
    record = records(collector)["outside of a request"][0]
    context = span.get_span_context()
    assert record.trace_id == context.trace_id.to_bytes(16, "big")
    assert record.span_id == context.span_id.to_bytes(8, "big")
    assert record.flags == 1


async def test_a_record_of_a_request_names_the_kits_span(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    app = service(lambda: logging.getLogger("shop").warning("bought"), trace_ratio=1)
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client,
    ):
        await client.get("/items/1")
    wait_until(lambda: set(collector.paths) == {"/v1/logs", "/v1/traces"})
    sent = dict(zip(collector.paths, collector.bodies, strict=True))
    (resource,) = ExportTraceServiceRequest.FromString(sent["/v1/traces"]).resource_spans
    (span,) = resource.scope_spans[0].spans
    (logs,) = ExportLogsServiceRequest.FromString(sent["/v1/logs"]).resource_logs
    record = next(
        record
        for scope in logs.scope_logs
        for record in scope.log_records
        if record.body.string_value == "bought"
    )
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)


def test_records_that_come_while_the_collector_restarts_arrive(collector: Collector) -> None:
    collector.answers += [503]
    fetch(service(), "GET", "/items/1")
    logging.getLogger("shop").warning("bought")
    wait_until(lambda: collector.bodies)
    assert "bought" in records(collector)
