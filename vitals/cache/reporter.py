"""Metrics of a cache: hits and misses, latency of its store, and its state.

The hit ratio is computed in PromQL: a ratio in a gauge cannot be aggregated over instances, or
queried for another window.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter, time_ns

from vitals.asgi.request_context import MakeSpan, error_type_of
from vitals.cache.core.metrics import Layer, Outcome, Refusal, Result
from vitals.metrics.catalogue import (
    CACHE_BREAKER_OPEN,
    CACHE_BUS_CONNECTED,
    CACHE_ENTRIES_REFUSED,
    CACHE_FILLS_REJECTED,
    CACHE_INVALIDATIONS,
    CACHE_L1_BYTES,
    CACHE_LOAD_DURATION,
    CACHE_OPERATION_DURATION,
    CACHE_REQUESTS,
    CacheInvalidationLabels,
    CacheLabels,
    CacheOperationLabels,
    CacheRefusalLabels,
    CacheRequestLabels,
)
from vitals.metrics.instruments import CounterChild, HistogramChild
from vitals.metrics.meter import Meter


class _Timed:
    """Times a block; a generator would take twice as long, and hits are frequent."""

    __slots__ = ("_child", "_started")

    def __init__(self, child: HistogramChild) -> None:
        self._child = child

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._child.observe(perf_counter() - self._started)


class CacheReporter:
    """Records the metrics of one cache.

    Args:
        meter: Where to record.
        cache: The cache's name, a label value: a fixed word, never a key.
        span: Creates a span of each operation; None without tracing.
    """

    def __init__(self, meter: Meter, cache: str, span: MakeSpan | None = None) -> None:
        self._cache = cache
        self._span = span
        self._meter = meter
        labels = CacheLabels(cache)
        self._requests: dict[tuple[Layer, Result], CounterChild] = {}
        self._operations: dict[str, HistogramChild] = {}
        self._loads = meter.histogram(CACHE_LOAD_DURATION).bind(labels)
        self._rejected = meter.counter(CACHE_FILLS_REJECTED).bind(labels)
        self._invalidations = meter.counter(CACHE_INVALIDATIONS)
        self._breaker = meter.gauge(CACHE_BREAKER_OPEN).bind(labels)
        # Create both series at the start: a ratio over a missing series has no value.
        self.request("l2", "hit", 0)
        self.request("l2", "miss", 0)

    def request(self, layer: Layer, result: Result, count: float = 1) -> None:
        """Count a lookup, or several at once."""
        child = self._requests.get((layer, result))
        if child is None:
            labels = CacheRequestLabels(self._cache, layer, result)
            child = self._meter.counter(CACHE_REQUESTS).bind(labels)
            self._requests[(layer, result)] = child
        child.inc(count)

    def operation(self, operation: str) -> AbstractContextManager[None]:
        """Time a command to the store; an exception propagates and is recorded on the span."""
        child = self._operations.get(operation)
        if child is None:
            labels = CacheOperationLabels(self._cache, operation)
            child = self._meter.histogram(CACHE_OPERATION_DURATION).bind(labels)
            self._operations[operation] = child
        if self._span is None or not self._span.enabled:
            return _Timed(child)
        return self._spanned(operation, child)

    @contextmanager
    def _spanned(self, operation: str, child: HistogramChild) -> Iterator[None]:
        began, error_type = time_ns(), ""
        try:
            with _Timed(child):
                yield
        except BaseException as error:
            error_type = error_type_of(error)
            raise
        finally:
            if self._span is not None:
                attributes = {"cache.name": self._cache, "db.operation.name": operation}
                self._span(f"cache {operation} {self._cache}", began, error_type, attributes)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Time the load of a value that the cache did not hold."""
        started = perf_counter()
        try:
            yield
        finally:
            self._loads.observe(perf_counter() - started)

    def fill_rejected(self) -> None:
        """Count a loaded value that was not stored because it was invalidated meanwhile."""
        self._rejected.inc()

    def refused(self, reason: Refusal) -> None:
        """Count an entry that was treated as a miss, or a value that was not stored."""
        self._meter.counter(CACHE_ENTRIES_REFUSED).bind(
            CacheRefusalLabels(self._cache, reason)
        ).inc()

    def invalidation(self, outcome: Outcome) -> None:
        """Count an invalidation: delivered, queued or failed."""
        self._invalidations.bind(CacheInvalidationLabels(self._cache, outcome)).inc()

    def breaker(self, *, open_: bool) -> None:
        """Set whether the store's circuit breaker is open."""
        self._breaker.set(open_)

    def l1_bytes(self, held: int) -> None:
        """Set the size of the in-process layer, in bytes."""
        self._meter.gauge(CACHE_L1_BYTES).bind(CacheLabels(self._cache)).set(held)

    def bus_connected(self, *, connected: bool) -> None:
        """Set whether the process is subscribed to others' invalidations."""
        self._meter.gauge(CACHE_BUS_CONNECTED).bind(CacheLabels(self._cache)).set(connected)
