"""Reads the counts that cached functions keep themselves: ``functools.lru_cache`` and its like.

A function with ``cache_info()`` counts its hits and misses already, so a call costs nothing more:
before each scrape the difference to the last one is added.
"""

from typing import Any
from weakref import WeakKeyDictionary

from vitals.cache.reporter import StoreReporter
from vitals.metrics.meter import Meter


class CachedFunctions:
    """The cached functions of one application, held weakly.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._counted: WeakKeyDictionary[Any, _Counted] = WeakKeyDictionary()
        meter.before_scrape(self._refresh)

    def add(self, function: Any, cache: str) -> None:
        """Count a function's hits and misses from now on, unless they are counted already."""
        if function not in self._counted:
            self._counted[function] = _Counted(StoreReporter(self._meter, cache, layer="l1"))

    def _refresh(self) -> None:
        for function, counted in list(self._counted.items()):
            counted.read(function)


class _Counted:
    """What was counted of one function up to the last scrape."""

    def __init__(self, reporter: StoreReporter) -> None:
        self._reporter = reporter
        self._hits = self._misses = 0

    def read(self, function: Any) -> None:
        info = function.cache_info()
        if info.hits < self._hits or info.misses < self._misses:  # cache_clear() was called
            self._hits = self._misses = 0
        self._reporter.request("l1", "hit", info.hits - self._hits)
        self._reporter.request("l1", "miss", info.misses - self._misses)
        self._hits, self._misses = info.hits, info.misses
