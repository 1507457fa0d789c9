"""Traces and log lines for the viewer's pages, in OTLP as JSON, and the servers that show them."""

import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from stack import readiness
from stack.installation.paths import CHECKOUT
from stack.process.process import Program
from tests import servers
from tests.stack.store.storing import Store, storing

MILLISECOND = 10**6
MINUTE = 60 * 10**9
STACK = """Traceback (most recent call last):
  File "/srv/shop/orders/repository.py", line 41, in total
    return sum(prices) / len(prices)
ZeroDivisionError: division by zero"""
ISSUE = "5f0e9c0ffee00001"
STATEMENT = "SELECT id, name FROM items WHERE order_id = $1 ORDER BY id"


@dataclass
class Trace:
    """A trace that is being written.

    Attributes:
        start: Of the trace, in nanoseconds since 1970.
        spans: Its spans by service, as OTLP.
    """

    start: int
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    spans: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        after: float,
        took: float,
        *,
        parent: str = "",
        service: str = "shop",
        kind: int = 1,
        failed: bool = False,
        events: list[dict[str, Any]] | None = None,
        **attributes: Any,
    ) -> str:
        """Add a span, and return its id; times are milliseconds, `__` in names is a dot."""
        span_id = secrets.token_hex(8)
        begin = self.start + int(after * MILLISECOND)
        self.spans.setdefault(service, []).append(
            {
                "traceId": self.id,
                "spanId": span_id,
                "parentSpanId": parent,
                "name": name,
                "kind": kind,
                "startTimeUnixNano": str(begin),
                "endTimeUnixNano": str(begin + int(took * MILLISECOND)),
                "attributes": pairs(
                    {key.replace("__", "."): attributes[key] for key in attributes}
                ),
                "events": events or [],
                "status": {"code": 2} if failed else {},
            }
        )
        return span_id

    def event(self, name: str, after: float, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """An event of a span."""
        at = str(self.start + int(after * MILLISECOND))
        return {"name": name, "timeUnixNano": at, "attributes": pairs(attributes)}

    @property
    def otlp(self) -> dict[str, Any]:
        """The message that exports it."""
        return {
            "resourceSpans": [
                {"resource": resource(service), "scopeSpans": [{"scope": {}, "spans": spans}]}
                for service, spans in self.spans.items()
            ]
        }


def failing_order(start: int) -> Trace:
    """31 equal queries, a call of another service that fails, a blocked event loop."""
    trace = Trace(start)
    source: dict[str, Any] = {
        "code__file__path": "shop/orders/repository.py",
        "code__line__number": 38,
        "code__function__name": "items_of",
    }
    exception = {
        "exception.type": "ZeroDivisionError",
        "exception.message": "division by zero",
        "exception.stacktrace": STACK,
        "vitals.error.fingerprint": ISSUE,
    }
    blocked = {
        "code.file.path": "shop/orders/report.py",
        "code.line.number": 12,
        "code.function.name": "render",
        "duration": 0.12,
    }
    root = trace.add(
        "GET /orders/{id}",
        0,
        400,
        kind=2,
        failed=True,
        http__request__method="GET",
        http__route="/orders/{id}",
        url__path="/orders/42",
        http__response__status_code=500,
        user__id="u-42",
        vitals__kept=["error", "n_plus_one"],
        vitals__time__query=0.0465,
        vitals__time__http_call=0.15,
        vitals__time__endpoint=0.2,
        vitals__time__middleware=0.0035,
        events=[
            trace.event("event_loop_blocked", 350, blocked),
            trace.event("exception", 398, exception),
        ],
    )
    for number in range(31):
        trace.add(
            "SELECT items",
            10 + number * 2,
            1.5,
            parent=root,
            kind=3,
            db__system__name="postgresql",
            db__query__summary="SELECT items",
            db__query__text=STATEMENT,
            db__response__returned_rows=3,
            vitals__db__query__fingerprint="f1f2f3",
            **source,
        )
    call = trace.add("POST", 100, 150, parent=root, kind=3, server__address="payments.internal")
    trace.add("POST /charge", 110, 130, parent=call, service="payments", kind=2, failed=True)
    return trace


def quick_order(start: int, took: float = 20.0) -> Trace:
    """A request that is well."""
    trace = Trace(start)
    trace.add(
        "GET /products",
        0,
        took,
        kind=2,
        http__request__method="GET",
        http__route="/products",
        http__response__status_code=200,
        vitals__kept=["share"],
    )
    return trace


def large_batch(start: int, spans: int) -> Trace:
    """A trace of many spans, of which few are equal."""
    trace = Trace(start)
    root = trace.add("import", 0, 10_000, service="batch")
    above = root
    for number in range(spans - 1):
        parent = above if number % 10 else root
        span = trace.add(f"row {number}", number * 0.9, 5, parent=parent, service="batch")
        above = span if number % 10 == 0 else above
    return trace


def line(
    at: int, text: str, *, level: str = "INFO", trace: Trace | None = None, **attributes: Any
) -> dict[str, Any]:
    """A log record; `at` is nanoseconds since 1970, `__` in names is a dot."""
    found: dict[str, Any] = {
        "timeUnixNano": str(at),
        "severityNumber": {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17}[level],
        "severityText": level,
        "body": {"stringValue": text},
        "attributes": pairs(attributes),
    }
    if trace:
        found |= {"traceId": trace.id, "spanId": trace.spans["shop"][0]["spanId"]}
    return found


def resource(service: str) -> dict[str, Any]:
    """The resource of a service."""
    names = {
        "service.name": service,
        "service.version": "1.2.0",
        "service.instance.id": f"{service}-1",
    }
    return {"attributes": pairs(names)}


def pairs(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP writes them; `__` in names is a dot."""
    return [
        {"key": key.replace("__", "."), "value": _value(value)} for key, value in attributes.items()
    ]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}


@dataclass(frozen=True)
class Telemetry:
    """A running viewer with a store, in which a few traces and lines are.

    Attributes:
        prometheus: Serves the viewer at `/user/`.
        store: The store.
        tracker: The issue tracker.
        failing: The trace of `failing_order`.
        large: The trace of `large_batch`.
    """

    prometheus: servers.MonitoringServer
    store: Store
    tracker: servers.Server
    failing: Trace
    large: Trace

    @property
    def viewer(self) -> str:
        """URL of the viewer."""
        return f"{self.prometheus.url}/user"

    def send(self, *traces: Trace) -> None:
        """Store traces."""
        for trace in traces:
            self._post("/v1/traces", trace.otlp)

    def log(self, *lines: dict[str, Any], service: str = "shop") -> None:
        """Store log lines."""
        records = [{"scope": {"name": "shop.orders"}, "logRecords": list(lines)}]
        self._post(
            "/v1/logs",
            {"resourceLogs": [{"resource": resource(service), "scopeLogs": records}]},
        )

    def _post(self, path: str, message: dict[str, Any]) -> None:
        response: httpx.Response = self.store.client.post(path, json=message)
        assert response.is_success, response.text


@contextmanager
def start(
    publish: Callable[[servers.MonitoringServer, str, str], None], site_flag: str, *, spans: int
) -> Iterator[Telemetry]:
    """Start all of it, and store the telemetry.

    Args:
        publish: Publishes the viewer for a Prometheus, the URLs of a store and an issue tracker.
        site_flag: Prometheus's flag of the folder of the viewer.
        spans: How many the large trace has.
    """
    with ExitStack() as started:
        prometheus = servers.start_prometheus({}, [site_flag])
        started.callback(prometheus.close)
        folder = servers.temporary_folder()
        store = started.enter_context(storing(folder, "--page-origin", prometheus.url))
        started.callback(store.close)
        tracker = _tracker(store, prometheus.url)
        started.callback(tracker.close)
        publish(prometheus, *(f"http://127.0.0.1:{each.port}" for each in (store, tracker)))
        now = time.time_ns()
        failing = failing_order(now - MINUTE)
        large = large_batch(now - 3 * MINUTE, spans)
        telemetry = Telemetry(prometheus, store, tracker, failing, large)
        telemetry.send(failing, large, *(quick_order(now - n * MINUTE) for n in range(2, 6)))
        telemetry.log(
            line(failing.start + MILLISECOND, "order 42 is read", trace=failing),
            line(
                failing.start + 399 * MILLISECOND,
                "unhandled exception",
                level="ERROR",
                trace=failing,
                exception__type="ZeroDivisionError",
                exception__message="division by zero",
                exception__stacktrace=STACK,
                vitals__error__fingerprint=ISSUE,
                vitals__error__counted="true",
                http__route="/orders/{id}",
            ),
            *(line(now - MINUTE - n * 10**9, f"tick {n}") for n in range(1, 30)),
        )
        tracker.start()
        yield telemetry


def _tracker(store: Store, page_origin: str) -> servers.Server:
    folder, port = servers.temporary_folder(), readiness.free_port()
    command = [
        *(sys.executable, "-m", "stack.issues", "--port", str(port), "--page-origin", page_origin),
        *("--data", str(folder / "issues.sqlite3"), "--logs", f"http://127.0.0.1:{store.port}"),
    ]
    program = Program("issues", command, cwd=CHECKOUT)
    return servers.Server(folder, port, program, lambda: readiness.http_answers(port, "/ready"))
