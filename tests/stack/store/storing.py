"""A running store, and telemetry to send to it."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stack import readiness
from stack.installation.paths import CHECKOUT
from stack.process.process import Program
from tests.servers import Server

PAGE = "http://127.0.0.1:9090"
"""The origin of the viewer's pages."""
PROTOBUF = {"Content-Type": "application/x-protobuf"}
SECOND = 10**9


class Store(Server):
    """A store that a test may kill and start again."""

    def __init__(self, folder: Path, *options: str) -> None:
        port = readiness.free_port()
        self.data = folder / "store"
        program = Program(
            "store",
            [
                *(sys.executable, "-m", "stack.store", "--listen", f"127.0.0.1:{port}"),
                *("--data", str(self.data), "--page-origin", PAGE, *options),
            ],
            cwd=CHECKOUT,
        )
        super().__init__(folder, port, program, lambda: readiness.http_answers(port, "/ready"))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def send_traces(self, *spans: Mapping[str, Any], service: str = "shop") -> httpx.Response:
        """Send spans, see `traces`."""
        body = traces(*spans, service=service).SerializeToString()
        return self.client.post("/v1/traces", content=body, headers=PROTOBUF)

    def send_logs(self, *lines: Mapping[str, Any], service: str = "shop") -> httpx.Response:
        """Send lines, see `logs`."""
        body = logs(*lines, service=service).SerializeToString()
        return self.client.post("/v1/logs", content=body, headers=PROTOBUF)

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON of a response that is a success."""
        response = self.client.get(path, params=parameters)
        assert response.is_success, response.text
        return response.json()

    def metrics(self) -> dict[str, float]:
        """Its own metrics, by name and labels."""
        rows = (line.rpartition(" ") for line in self.client.get("/metrics").text.splitlines())
        return {name: float(value) for name, _, value in rows if not name.startswith("#")}

    def search(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Traces that fulfil a query of TraceQL."""
        found: list[dict[str, Any]] = self.get("/api/search", q=query, **parameters)["traces"]
        return found

    def lines(self, query: str, **parameters: Any) -> list[str]:
        """Lines of a query of LogQL, in the order of each stream."""
        result = self.get("/loki/api/v1/query_range", query=query, **parameters)["data"]["result"]
        return [line for stream in result for _, line in stream["values"]]


@contextmanager
def storing(folder: Path, *options: str) -> Iterator[Store]:
    """A running store, ended afterwards."""
    store = Store(folder, *options)
    store.start()
    try:
        yield store
    finally:
        store.client.close()
        store.stop()


def trace_id() -> str:
    """A random trace id."""
    return os.urandom(16).hex()


def traces(*spans: Mapping[str, Any], service: str = "shop") -> ExportTraceServiceRequest:
    """A request of OTLP.

    Args:
        spans: Each has `trace` (hexadecimal); optionally `name`, `id`, `parent`, `kind`, `error`,
            `ago` and `duration` (seconds), `attributes`, and `events` by their names.
        service: Their service.
    """
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    _fill(group.resource.attributes, {"service.name": service, "service.version": "1.4.2"})
    scope = group.scope_spans.add()
    for span in spans:
        start = time.time_ns() - int(span.get("ago", 1.0) * SECOND)
        made = scope.spans.add(
            trace_id=bytes.fromhex(span["trace"]),
            span_id=bytes.fromhex(span.get("id", os.urandom(8).hex())),
            parent_span_id=bytes.fromhex(span.get("parent", "")),
            name=span.get("name", "GET /"),
            kind=span.get("kind", 2),
            start_time_unix_nano=start,
            end_time_unix_nano=start + int(span.get("duration", 0.01) * SECOND),
        )
        if span.get("error"):
            made.status.code = 2
        _fill(made.attributes, span.get("attributes", {}))
        for name, attributes in span.get("events", {}).items():
            _fill(made.events.add(name=name, time_unix_nano=start).attributes, attributes)
    return request


def logs(*lines: Mapping[str, Any], service: str = "shop") -> ExportLogsServiceRequest:
    """A request of OTLP.

    Args:
        lines: Each has `body`; optionally `severity` (a number), `trace`, `ago`, `attributes`.
        service: Their service.
    """
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    _fill(group.resource.attributes, {"service.name": service, "service.version": "1.4.2"})
    scope = group.scope_logs.add()
    scope.scope.name = "shop.orders"
    for line in lines:
        made = scope.log_records.add(
            time_unix_nano=time.time_ns() - int(line.get("ago", 1.0) * SECOND),
            severity_number=line.get("severity", 9),
            trace_id=bytes.fromhex(line.get("trace", "")),
        )
        made.body.string_value = line["body"]
        _fill(made.attributes, line.get("attributes", {}))
    return request


def _fill(target: Any, attributes: Mapping[str, Any]) -> None:
    for key, value in attributes.items():
        made = target.add(key=key).value
        if isinstance(value, bool):
            made.bool_value = value
        elif isinstance(value, int):
            made.int_value = value
        elif isinstance(value, float):
            made.double_value = value
        elif isinstance(value, list):
            for each in value:
                made.array_value.values.add(string_value=each)
        else:
            made.string_value = value
