"""Records the commands of another library's cache: results, time and errors by namespace.

A key is compared with the prefixes that the user gave and is then forgotten: a label value is
always a word of the user's, never a part of a key. Nothing here raises.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from vitals.asgi.request_context import MakeSpan
from vitals.cache.core.metrics import Layer, Result
from vitals.cache.reporter import StoreReporter
from vitals.metrics.meter import Meter

DROPPED = "cache_probe"
"""Reason of ``vitals_dropped_total`` for a command that could not be recorded."""


class CacheRecorder:
    """Records commands under the cache's name, or under that of their key's namespace.

    Args:
        meter: Where to record.
        cache: The cache's name, a label value.
        namespaces: Names by prefix of keys; the longest prefix that fits counts.
        layer: ``l1`` for a cache in the process, ``l2`` for a store outside of it.
        span: Creates a span of each command; None without tracing.
        system: ``db.system.name`` of the store, in spans; empty if it is not known.

    Attributes:
        meter: The same.
    """

    def __init__(
        self,
        meter: Meter,
        cache: str,
        namespaces: Mapping[str, str] = MappingProxyType({}),
        *,
        layer: Layer = "l2",
        span: MakeSpan | None = None,
        system: str = "",
    ) -> None:
        self.meter = meter
        self._layer = layer
        self._span = span
        self._system = system
        self._cache = cache
        # Created with the first command: a cache may have backends of both layers, and a series
        # of a layer that it does not use would be counted as lookups that all were hits.
        self._reporters: dict[str, StoreReporter] = {}
        longest_first = sorted(namespaces, key=len, reverse=True)
        self._by_text = [(prefix, namespaces[prefix]) for prefix in longest_first]
        self._by_bytes = [(prefix.encode(), name) for prefix, name in self._by_text]

    def prepare(self) -> None:
        """Create the series of all namespaces, so that the first lookup counts in a rate too."""
        for name in (self._cache, *(name for _, name in self._by_text)):
            self._reporter(name)

    def read(self, operation: str, seconds: float, found: Iterable[tuple[Any, bool]]) -> None:
        """Record a lookup.

        Args:
            operation: Its name, one of a few fixed words.
            seconds: How long it took.
            found: Its keys, and whether each was found.
        """
        try:
            first = None
            for key, hit in found:
                reporter = self._of(key)
                reporter.request(self._layer, "hit" if hit else "miss")
                first = first or reporter
            (first or self._of(None)).observe(operation, seconds)
        except Exception:  # noqa: BLE001  # measuring must not fail the host's command
            self.meter.dropped(DROPPED)

    def done(
        self,
        operation: str,
        seconds: float,
        key: Any = None,
        error: BaseException | None = None,
        lookups: int = 0,
    ) -> None:
        """Record a command that is no lookup, or that failed.

        Args:
            operation: Its name, one of a few fixed words.
            seconds: How long it took.
            key: Its first key.
            error: What it failed with.
            lookups: How many lookups failed with it. Those of a command that was cancelled are
                not counted: the caller gave up, the cache did not answer.
        """
        try:
            reporter = self._of(key)
            reporter.observe(operation, seconds, error)
            if lookups and isinstance(error, Exception):
                reporter.request(self._layer, "error", lookups)
        except Exception:  # noqa: BLE001  # the same
            self.meter.dropped(DROPPED)

    def count(self, result: Result, key: Any = None, lookups: float = 1) -> None:
        """Count lookups, without their time."""
        try:
            self._of(key).request(self._layer, result, lookups)
        except Exception:  # noqa: BLE001  # the same
            self.meter.dropped(DROPPED)

    def _of(self, key: Any) -> StoreReporter:
        name = self._cache
        if not self._by_text:
            pass
        elif isinstance(key, str):
            name = next((name for prefix, name in self._by_text if key.startswith(prefix)), name)
        elif isinstance(key, bytes):
            name = next((name for start, name in self._by_bytes if key.startswith(start)), name)
        return self._reporters.get(name) or self._reporter(name)

    def _reporter(self, name: str) -> StoreReporter:
        made = StoreReporter(self.meter, name, self._span, self._layer, system=self._system)
        return self._reporters.setdefault(name, made)
