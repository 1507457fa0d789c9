"""Errors as the kit reports them to a store, and an issue tracker that reads it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.issues.collector import Collector
from stack.issues.issue_store import IssueStore
from stack.issues.log_reader import LogReader
from stack.issues.trace_reader import TraceReader
from tests.stack.store.storing import PROTOBUF, Store, logs
from vitals.redactor import Redactor

STACK = """Traceback (most recent call last):
  File "/srv/shop/.venv/lib/python3.11/site-packages/starlette/routing.py", line 7, in app
    await func(request)
  File "/srv/shop/orders.py", line 57, in create
    raise ValueError(order)
ValueError: order is void
"""


def report(
    store: Store,
    *fingerprints: str,
    release: str = "1.0.0",
    service: str = "shop",
    ago: float = 1.0,
    counted: bool = True,
    **more: Any,
) -> None:
    """Send a log record of an error for each fingerprint, as the kit does.

    Args:
        store: Where to.
        fingerprints: The errors.
        release: ``service.version``.
        service: ``service.name``.
        ago: Seconds since they occurred.
        counted: Whether the records count them.
        more: ``trace``, further ``attributes``, or ``routes``, one for each fingerprint.
    """
    attributes = {
        "exception.type": "ValueError",
        "exception.message": "order is void",
        "vitals.error.place": "shop.orders:create",
        **({"vitals.error.counted": True} if counted else {}),
    }
    routes = more.get("routes", ["/orders"] * len(fingerprints))
    lines: list[Mapping[str, Any]] = [
        {
            "body": "it failed",
            "severity": 17,
            "ago": ago,
            "trace": more.get("trace", ""),
            "attributes": attributes
            | {"vitals.error.fingerprint": each, "http.route": route}
            | more.get("attributes", {}),
        }
        for each, route in zip(fingerprints, routes, strict=True)
    ]
    request = logs(*lines, service=service)
    for attribute in request.resource_logs[0].resource.attributes:
        if attribute.key == "service.version":
            attribute.value.string_value = release
    sent = store.client.post("/v1/logs", content=request.SerializeToString(), headers=PROTOBUF)
    assert sent.is_success, sent.text


class Tracker:
    """An issue tracker in this process.

    Args:
        store: What it reads.
        path: Its file.

    Attributes:
        ahead: Seconds by which its clock is ahead.
    """

    def __init__(self, store: Store, path: Path) -> None:
        self.ahead = 0.0
        self._url, self._path = f"http://127.0.0.1:{store.port}", path
        self.restart()

    def restart(self) -> None:
        """Open the file anew."""
        self.issues = IssueStore(self._path)
        logs, traces = LogReader(self._url), TraceReader(self._url)
        self.collector = Collector(self.issues, logs, traces, Redactor(), lambda: self.now)

    @property
    def now(self) -> float:
        """Its time."""
        return time.time() + self.ahead

    def collect(self) -> None:
        """Read until nothing is left, late records too."""
        self.collector._last_late = 0.0
        for _ in range(300):
            if self.collector.collect():
                return
        raise AssertionError("it does not catch up")
