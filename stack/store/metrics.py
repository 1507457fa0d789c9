"""Metrics of the store itself."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SIGNALS = ("spans", "lines")
REASONS = ("busy", "disk", "invalid")
"""Why data are not stored: too much waits, the disk refuses, not OTLP or too large."""
_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class StoreMetrics:
    """Counts what is received, and observes queries."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._stored = Counter(
            "vitals_store_stored",
            "Spans and log lines that are on the disk.",
            ["kind"],
            registry=self._registry,
        )
        self._refused = Counter(
            "vitals_store_refused_requests",
            "Requests that were not stored; the sender keeps its data after `busy` and `disk`.",
            ["signal", "reason"],
            registry=self._registry,
        )
        self._rejected = Counter(
            "vitals_store_rejected",
            "Spans and log lines of stored requests that are not kept.",
            ["kind"],
            registry=self._registry,
        )
        self._queries = Histogram(
            "vitals_store_query_duration_seconds",
            "Duration of queries.",
            ["api"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        for kind in SIGNALS:
            self._stored.labels(kind)
            self._rejected.labels(kind)
        for signal in ("traces", "logs"):
            for reason in REASONS:
                self._refused.labels(signal, reason)

    def count_stored(self, kind: str, stored: int, rejected: int) -> None:
        """Count the spans or lines of a request."""
        self._stored.labels(kind).inc(stored)
        self._rejected.labels(kind).inc(rejected)

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
        size, limit, oldest = self._read()
        for name, text, value in (
            ("vitals_store_size_bytes", "Size of the store's files.", size),
            ("vitals_store_limit_bytes", "Size at which the oldest content is removed.", limit),
            ("vitals_store_oldest_timestamp_seconds", "Time of the oldest content.", oldest),
        ):
            if value:
                yield GaugeMetricFamily(name, text, value)
