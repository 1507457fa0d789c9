"""Metrics of a cache: hits and misses, latency of its store, and its state.

The hit ratio is computed in PromQL: a ratio in a gauge cannot be aggregated over instances, or
queried for another window.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter, time_ns
from types import TracebackType

from vitals.asgi.request_context import CURRENT, MakeSpan
from vitals.asgi.request_times import CACHE
from vitals.asgi.trace_record import Attributes
from vitals.cache.core.error_types import error_type
from vitals.cache.core.metrics import Layer, Outcome, Refusal, Result
from vitals.cache.core.store import StoreUnavailableError
from vitals.metrics.catalogue import (
    CACHE_BREAKER_OPEN,
    CACHE_BUS_CONNECTED,
    CACHE_ENTRIES_REFUSED,
    CACHE_FILLS_REJECTED,
    CACHE_INVALIDATIONS,
    CACHE_L1_BYTES,
    CACHE_LOAD_DURATION,
    CACHE_OPERATION_DURATION,
    CACHE_OPERATION_ERRORS,
    CACHE_REQUESTS,
    CacheErrorLabels,
    CacheInvalidationLabels,
    CacheLabels,
    CacheOperationLabels,
    CacheRefusalLabels,
    CacheRequestLabels,
    CacheStoreLabels,
)
from vitals.metrics.instruments import CounterChild, HistogramChild
from vitals.metrics.meter import Meter

Observe = Callable[[str, float, BaseException | None], None]
"""Records an operation, its seconds, and what it failed with."""


class _Timed:
    """Times a block; a generator would take twice as long, and hits are frequent."""

    __slots__ = ("_observe", "_operation", "_started")

    def __init__(self, observe: "Observe", operation: str) -> None:
        self._observe = observe
        self._operation = operation

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(
        self, _type: object, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._observe(self._operation, perf_counter() - self._started, error)


class StoreReporter:
    """Records lookups of one cache, and the commands to its store.

    Args:
        meter: Where to record.
        cache: The cache's name, a label value: a fixed word, never a key.
        span: Creates a span of each command; None without tracing.
        layer: Where it looks first: ``l1`` in the process, ``l2`` in a store outside of it.
        system: ``db.system.name`` of the store, in spans; empty if it is not known.
    """

    def __init__(
        self,
        meter: Meter,
        cache: str,
        span: MakeSpan | None = None,
        layer: Layer = "l2",
        *,
        system: str = "",
    ) -> None:
        self._cache = cache
        self._span = span
        self._meter = meter
        self._requests: dict[tuple[Layer, Result], CounterChild] = {}
        self._operations: dict[str, HistogramChild] = {}
        self._attributes: dict[str, Attributes] = {}
        self._system = {"db.system.name": system} if system else {}
        # Create both series at the start: a ratio over a missing series has no value.
        self.request(layer, "hit", 0)
        self.request(layer, "miss", 0)

    def request(self, layer: Layer, result: Result, count: float = 1) -> None:
        """Count a lookup, or several at once."""
        child = self._requests.get((layer, result))
        if child is None:
            labels = CacheRequestLabels(self._cache, layer, result)
            child = self._meter.counter(CACHE_REQUESTS).bind(labels)
            self._requests[(layer, result)] = child
        child.inc(count)

    def operation(self, operation: str) -> AbstractContextManager[None]:
        """Time a command to the store; an exception propagates and is counted."""
        return _Timed(self.observe, operation)

    def observe(self, operation: str, seconds: float, error: BaseException | None = None) -> None:
        """Record a command to the store that has just ended.

        Args:
            operation: Its name, one of a few fixed words.
            seconds: How long it took.
            error: What it failed with; nothing is recorded if the store was not tried.
        """
        if isinstance(error, StoreUnavailableError) and error.result == "bypass":
            return
        request = CURRENT.get()
        if request is not None and request.times is not None:
            now = perf_counter()
            request.times.wait(CACHE, now - seconds, now)
        child = self._operations.get(operation)
        if child is None:
            labels = CacheOperationLabels(self._cache, operation)
            child = self._meter.histogram(CACHE_OPERATION_DURATION).bind(labels)
            self._operations[operation] = child
        child.observe(seconds)
        if error is not None:
            self.failed(operation, error)
        if self._span is not None and self._span.enabled:
            began = time_ns() - int(seconds * 1e9)
            attributes = self._attributes.get(operation)
            if attributes is None:
                attributes = self._attributes[operation] = Attributes(
                    {"cache.name": self._cache, "db.operation.name": operation, **self._system}
                )
            type_ = "" if error is None else error_type(error)
            self._span(f"cache {operation} {self._cache}", began, type_, attributes)

    def failed(self, operation: str, error: BaseException) -> None:
        """Count what a command to the store failed with, each of several that were sent at once.

        Args:
            operation: Its name, one of a few fixed words.
            error: What it failed with.
        """
        for each in getattr(error, "refused", ()) or (error,):
            labels = CacheErrorLabels(self._cache, operation, error_type(each))
            self._meter.counter(CACHE_OPERATION_ERRORS).bind(labels).inc()


class CacheReporter(StoreReporter):
    """Records the metrics of a cache that loads what it misses and is invalidated.

    Args:
        meter: Where to record.
        cache: The cache's name, a label value: a fixed word, never a key.
        span: Creates a span of each operation; None without tracing.
        system: ``db.system.name`` of the store, in spans; empty if it is not known.
        server: Address of the store, ``HOST:PORT``; empty where it is none or several.
    """

    def __init__(
        self,
        meter: Meter,
        cache: str,
        span: MakeSpan | None = None,
        *,
        system: str = "",
        server: str = "",
    ) -> None:
        super().__init__(meter, cache, span, system=system)
        labels = CacheLabels(cache)
        self._loads = meter.histogram(CACHE_LOAD_DURATION).bind(labels)
        self._rejected = meter.counter(CACHE_FILLS_REJECTED).bind(labels)
        self._invalidations = meter.counter(CACHE_INVALIDATIONS)
        self._breaker = meter.gauge(CACHE_BREAKER_OPEN).bind(CacheStoreLabels(cache, server))

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
