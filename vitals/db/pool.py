"""Pool probe: wait time, connections in use, and checkout timeouts of connection pools, by name.

Names are bounded, and stay the same from one worker to the next if the engines are made in the same
order: the name that the host has given, or the database's. A name is given again when its engine
is gone or disposed, so a factory that is called a thousand times has one.
"""

from collections.abc import Iterator
from itertools import count
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Engine

from vitals.db.pool_hook import hook_pool
from vitals.db.pooled_connections import count_ended, count_idle
from vitals.metrics.catalogue import (
    DB_CONNECTION_COUNT,
    DB_CONNECTION_CREATE,
    DB_CONNECTION_ERRORS,
    DB_CONNECTION_MAX,
    DB_CONNECTION_PENDING,
    DB_CONNECTION_TIMEOUTS,
    DB_CONNECTION_USE,
    DB_CONNECTION_WAIT,
    OTHER,
    PoolErrorLabels,
    PoolLabels,
    PoolStateLabels,
)
from vitals.metrics.meter import Meter

MAX_NAMES = 20
"""Names of pools with series of their own; further ones share ``__other__``."""


class NamedPools:
    """The engines that share a pool name, and its instruments: usually one engine.

    Args:
        meter: Where to record.
        name: The name.

    Attributes:
        meter: The same.
        name: The same.
        engines: The engines; held weakly.
    """

    def __init__(self, meter: Meter, name: str) -> None:
        self.meter = meter
        self.name = name
        self.engines: WeakSet[Engine] = WeakSet()
        labels = PoolLabels(name)
        self.timeouts = meter.counter(DB_CONNECTION_TIMEOUTS).bind(labels)
        self.wait = meter.histogram(DB_CONNECTION_WAIT).bind(labels)
        self.create = meter.histogram(DB_CONNECTION_CREATE).bind(labels)
        self.use = meter.histogram(DB_CONNECTION_USE).bind(labels)
        self._pending = meter.gauge(DB_CONNECTION_PENDING).bind(labels)
        self._max = meter.gauge(DB_CONNECTION_MAX).bind(labels)
        self._idle = meter.gauge(DB_CONNECTION_COUNT).bind(PoolStateLabels(name, "idle"))
        self._used = meter.gauge(DB_CONNECTION_COUNT).bind(PoolStateLabels(name, "used"))

    @property
    def free(self) -> bool:
        """Whether all engines of this name are gone, or disposed and not in use."""
        return all(hook_pool(engine).disposed for engine in list(self.engines))

    def add(self, engine: Engine, *, found: bool) -> None:
        """Measure an engine's pool under this name."""
        self.engines.add(engine)
        hook_pool(engine).watchers.add(self, found=found)

    def remove(self, engine: Engine) -> None:
        """Measure an engine's pool no longer."""
        self.engines.discard(engine)
        hook_pool(engine).watchers.remove(self)

    def failed(self, error_type: str) -> None:
        """Count a checkout that failed for another reason than a timeout of the pool."""
        labels = PoolErrorLabels(self.name, error_type)
        self.meter.counter(DB_CONNECTION_ERRORS).bind(labels).inc()

    def refresh(self) -> None:
        """Set the gauges to the sums of the pools as they are now."""
        pending = idle = used = most = 0.0
        hooks = set()
        for engine in list(self.engines):
            hook = hook_pool(engine)
            if hook in hooks:
                continue  # another engine has the same pool
            hooks.add(hook)
            hook.watchers.add(self, found=True)  # the host may have set a new pool
            pending += hook.waiting
            pool: Any = engine.pool
            if not hasattr(pool, "checkedout"):
                continue  # such as NullPool, which keeps no connections
            # What is checked out but not in use is a connection that is being opened.
            used += max(pool.checkedout() - count_ended(hook.in_use), 0)
            idle += count_idle(pool)
            overflow = getattr(pool, "_max_overflow", 0)
            most += float("inf") if overflow < 0 else pool.size() + overflow
        self._pending.set(pending)
        self._idle.set(idle)
        self._used.set(used)
        self._max.set(most)


class PoolProbe:
    """Measures the connection pools of any number of engines in one application.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._by_name: dict[str, NamedPools] = {}
        self._by_engine: WeakKeyDictionary[Engine, NamedPools] = WeakKeyDictionary()
        self._lock = RLock()
        meter.before_scrape(self._refresh)

    def instrument(self, engine: Engine, name: str | None = None, *, found: bool = False) -> str:
        """Measure an engine's pool.

        Args:
            engine: The engine, no copy by ``execution_options``.
            name: Its name; by default, one that no other engine in use has.
            found: Whether the engine was found by itself: the order is then no help to tell engines
                apart, so the default is a name with the server's address.

        Returns:
            The name in labels.
        """
        with self._lock:
            known = self._by_engine.get(engine)
            if known is not None and name in {None, known.name}:
                known.add(engine, found=found)
                return known.name
            pools = self._named(
                name or self._shared_name(engine) or self._free_name(engine, found=found)
            )
            if known is not None:
                known.remove(engine)
            self._by_engine[engine] = pools
            pools.add(engine, found=found)
        return pools.name

    def __contains__(self, engine: Engine) -> bool:
        """Whether an engine's pool is measured."""
        return engine in self._by_engine

    @property
    def names(self) -> list[str]:
        """The names of the engines that exist."""
        return [name for name, pools in self._by_name.copy().items() if pools.engines]

    def _named(self, name: str) -> NamedPools:
        if name not in self._by_name and len(self._by_name) >= MAX_NAMES:
            name = OTHER
        if name not in self._by_name:
            self._by_name[name] = NamedPools(self._meter, name)
        return self._by_name[name]

    def _shared_name(self, engine: Engine) -> str | None:
        """The name of another engine with the same pool (``create_engine(pool=)``)."""
        hook = hook_pool(engine)
        return next(
            (
                name
                for name, pools in self._by_name.items()
                if any(hook_pool(other) is hook for other in list(pools.engines))
            ),
            None,
        )

    def _free_name(self, engine: Engine, *, found: bool) -> str:
        for name in _names(engine, found=found):
            pools = self._by_name.get(name)
            if pools is None or pools.free:
                return name
        raise AssertionError("names do not end")

    def _refresh(self) -> None:
        for pools in list(self._by_name.values()):
            pools.refresh()


def _names(engine: Engine, *, found: bool) -> Iterator[str]:
    """Names for an engine's pool, the best first; the last ones are numbered."""
    given = getattr(engine.pool, "logging_name", None) or getattr(engine, "logging_name", None)
    if given:
        yield given
    url = engine.url
    database = (url.database or engine.dialect.name).rsplit("/", 1)[-1]
    server = f"{url.host}:{url.port}" if url.port else url.host
    full = f"{server}/{database}" if server else database
    if found:
        yield full
        yield f"{full} {engine.dialect.driver}"
    else:
        yield database
        yield full
    short = given or (full if found else database)
    yield from (f"{short}-{number}" for number in count(2))
