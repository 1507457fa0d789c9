"""Telemetry of a shop: requests with queries, and log lines, as batches of OTLP."""

import random
import time

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

REQUESTS, QUERIES, LINES = 100, 4, 2
"""Requests of a batch, and queries and log lines of each request."""
USERS = 5_000
NEEDLE = "u4242"
"""A user, of whom few requests are."""
_ROUTES = ("/products", "/products/{id}", "/orders", "/orders/{id}", "/users/me")
_SQL = (
    "SELECT orders.id, orders.user_id, orders.total FROM orders "
    "WHERE orders.user_id = $1 ORDER BY orders.id LIMIT $2"
)
_SECOND = 10**9


def batch(dice: random.Random, ago: float) -> tuple[bytes, bytes]:
    """Traces and log lines of `REQUESTS` requests.

    Args:
        dice: Random numbers.
        ago: Seconds since they began.
    """
    traces, logs = ExportTraceServiceRequest(), ExportLogsServiceRequest()
    spans, lines = traces.resource_spans.add(), logs.resource_logs.add()
    for resource in (spans.resource, lines.resource):
        _add(resource.attributes, {"service.name": "shop", "service.version": "1.4.2"})
        _add(resource.attributes, {"service.instance.id": f"shop-{dice.randrange(4)}"})
    scope, logger = spans.scope_spans.add(), lines.scope_logs.add()
    scope.scope.name, logger.scope.name = "vitals", "shop.orders"
    began = time.time_ns() - int(ago * _SECOND)
    for _ in range(REQUESTS):
        trace, root = dice.randbytes(16), dice.randbytes(8)
        start, length = began + dice.randrange(_SECOND), int(dice.expovariate(20) * _SECOND)
        failed, user = dice.random() < 0.02, f"u{dice.randrange(USERS)}"
        route = dice.choice(_ROUTES)
        span = scope.spans.add(
            trace_id=trace,
            span_id=root,
            name=f"GET {route}",
            kind=2,
            start_time_unix_nano=start,
            end_time_unix_nano=start + length,
        )
        _add(span.attributes, {"http.request.method": "GET", "http.route": route})
        _add(span.attributes, {"url.path": f"/orders/{dice.randrange(10**6)}", "enduser.id": user})
        _add(span.attributes, {"http.response.status_code": 500 if failed else 200})
        _add(span.attributes, {"user_agent.original": "Mozilla/5.0 (X11; Linux x86_64)"})
        if failed:
            span.status.code = 2
            event = span.events.add(name="exception", time_unix_nano=start)
            _add(event.attributes, {"exception.type": "ValueError"})
            _add(event.attributes, {"exception.stacktrace": "  File shop.py, line 7\n" * 22})
        for _ in range(QUERIES):
            query = scope.spans.add(
                trace_id=trace,
                span_id=dice.randbytes(8),
                parent_span_id=root,
                name="SELECT orders",
                kind=3,
                start_time_unix_nano=start,
                end_time_unix_nano=start + length // 5,
            )
            _add(query.attributes, {"db.system.name": "postgresql", "db.query.text": _SQL})
            _add(query.attributes, {"db.operation.name": "SELECT", "db.query.summary": query.name})
            _add(query.attributes, {"vitals.db.query.fingerprint": f"q{dice.randrange(40)}"})
            _add(query.attributes, {"code.file.path": "shop/orders.py", "code.line.number": 42})
            _add(query.attributes, {"db.response.returned_rows": dice.randrange(50)})
        for number in range(LINES):
            line = logger.log_records.add(
                time_unix_nano=start + number,
                trace_id=trace,
                span_id=root,
                severity_number=17 if failed else 9,
            )
            order = dice.randrange(10**6)
            said = "failed: connection refused" if failed else "paid"
            line.body.string_value = f"order {order} of {user} {said} after {length / 1e6:.1f} ms"
            _add(line.attributes, {"http.route": route, "enduser.id": user})
    return traces.SerializeToString(), logs.SerializeToString()


def _add(target: "list[KeyValue]", attributes: dict[str, str | int]) -> None:
    for key, value in attributes.items():
        made = KeyValue(key=key)
        if isinstance(value, int):
            made.value.int_value = value
        else:
            made.value.string_value = value
        target.append(made)
