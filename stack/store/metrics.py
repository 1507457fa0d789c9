"""Metrics of the store itself."""

from collections.abc import Callable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rules.monitoring import (
    STORE_LIMIT,
    STORE_OLDEST,
    STORE_REFUSED,
    STORE_REJECTED,
    STORE_SIZE,
    STORE_STORED,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KINDS = {"traces": "spans", "logs": "lines", "profiles": "profiles"}
"""What a request of each signal has."""
REASONS = ("busy", "disk", "invalid")
"""Why a request is not stored: too much waits, the disk refuses, it is not OTLP or too large."""
_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class StoreMetrics:
    """Counts what is received, and observes queries."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._stored = Counter(STORE_STORED.name, STORE_STORED.help, ["kind"], registry=registry)
        self._rejected = Counter(
            STORE_REJECTED.name, STORE_REJECTED.help, ["kind"], registry=registry
        )
        self._refused = Counter(
            STORE_REFUSED.name, STORE_REFUSED.help, ["signal", "reason"], registry=registry
        )
        self._queries = Histogram(
            "vitals_store_query_duration_seconds",
            "Duration of queries.",
            ["api"],
            buckets=_BUCKETS,
            registry=registry,
        )
        # All of them from the start: what appears with its first value has not increased.
        for signal, kind in KINDS.items():
            self._stored.labels(kind)
            self._rejected.labels(kind)
            for reason in REASONS:
                self._refused.labels(signal, reason)

    def count_stored(self, signal: str, stored: int, rejected: int) -> None:
        """Count the spans or lines of a request."""
        self._stored.labels(KINDS[signal]).inc(stored)
        self._rejected.labels(KINDS[signal]).inc(rejected)

    def count_refused(self, signal: str, reason: str) -> None:
        """Count a request that was not stored."""
        self._refused.labels(signal, reason).inc()

    def observe_query(self, api: str, seconds: float) -> None:
        """Observe a query."""
        self._queries.labels(api).observe(seconds)

    def watch(self, read: Callable[[], tuple[float, float, float]]) -> None:
        """Export the size on disk, its limit, and the time of the oldest content."""
        self._registry.register(_Files(read))

    def render(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self._registry)


class _Files(Collector):
    def __init__(self, read: Callable[[], tuple[float, float, float]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for gauge, value in zip((STORE_SIZE, STORE_LIMIT, STORE_OLDEST), self._read(), strict=True):
            if value:  # without content there is no oldest one
                yield GaugeMetricFamily(gauge.name, gauge.help, value)
