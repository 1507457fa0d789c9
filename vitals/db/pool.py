"""Pool probe: wait time, connections in use, and checkout timeouts of a connection pool.

SQLAlchemy's pool events do not cover the wait for a connection, so ``_do_get``, through which every
checkout goes, is wrapped on the instance. Disposing an engine creates a new pool, which is wrapped
again.
"""

from time import perf_counter
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.asgi.request_context import CURRENT
from vitals.db.dialect_hook import AnyEngine
from vitals.metrics.catalogue import (
    DB_CONNECTION_COUNT,
    DB_CONNECTION_CREATE,
    DB_CONNECTION_MAX,
    DB_CONNECTION_PENDING,
    DB_CONNECTION_TIMEOUTS,
    DB_CONNECTION_USE,
    DB_CONNECTION_WAIT,
    PoolLabels,
    PoolStateLabels,
)
from vitals.metrics.meter import Meter

CHECKED_OUT_AT = "vitals_checked_out_at"


class PoolProbe:
    """Measures the connection pool of one engine.

    Args:
        meter: Where to record.
        engine: The engine whose pool is measured.
        name: The pool's name in labels; several engines need different ones.
    """

    def __init__(self, meter: Meter, engine: AnyEngine, name: str) -> None:
        self._meter = meter
        self._engine: Engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        labels = PoolLabels(name)
        self._pending = meter.gauge(DB_CONNECTION_PENDING).bind(labels)
        self._timeouts = meter.counter(DB_CONNECTION_TIMEOUTS).bind(labels)
        self._wait = meter.histogram(DB_CONNECTION_WAIT).bind(labels)
        self._create = meter.histogram(DB_CONNECTION_CREATE).bind(labels)
        self._use = meter.histogram(DB_CONNECTION_USE).bind(labels)
        self._max = meter.gauge(DB_CONNECTION_MAX).bind(labels)
        self._idle = meter.gauge(DB_CONNECTION_COUNT).bind(PoolStateLabels(name, "idle"))
        self._used = meter.gauge(DB_CONNECTION_COUNT).bind(PoolStateLabels(name, "used"))
        event.listen(self._engine, "checkout", self._checked_out)
        event.listen(self._engine, "checkin", self._checked_in)
        event.listen(self._engine, "engine_disposed", lambda engine: self._wrap(engine.pool))
        self._wrap(self._engine.pool)
        self._time_connecting(self._engine.dialect)
        meter.before_scrape(self._refresh)

    def _wrap(self, pool: Any) -> None:
        get = pool._do_get  # noqa: SLF001  # see above

        def timed_get() -> Any:
            self._pending.inc()
            started = perf_counter()
            try:
                record = get()
            except PoolTimeoutError:
                self._timeouts.inc()
                raise
            finally:
                self._pending.dec()
                waited = perf_counter() - started
                self._wait.observe(waited)
                request = CURRENT.get()
                if request is not None and not request.duration:
                    request.pool_seconds += waited
            return record

        pool._do_get = timed_get  # noqa: SLF001

    def _time_connecting(self, dialect: Any) -> None:
        # Not by the event "do_connect": its first listener makes the connection, and the host may
        # need it to supply a fresh password.
        connect = dialect.connect

        def timed_connect(*arguments: Any, **options: Any) -> Any:
            started = perf_counter()
            connection = connect(*arguments, **options)
            self._create.observe(perf_counter() - started)
            return connection

        dialect.connect = timed_connect

    def _checked_out(self, _connection: Any, record: Any, _proxy: Any) -> None:
        record.info[CHECKED_OUT_AT] = perf_counter()

    def _checked_in(self, _connection: Any, record: Any) -> None:
        since = record.info.pop(CHECKED_OUT_AT, None)
        if since is not None:
            self._use.observe(perf_counter() - since)

    def _refresh(self) -> None:
        pool: Any = self._engine.pool
        if not hasattr(pool, "checkedout"):
            return  # such as NullPool, which keeps no connections
        self._used.set(pool.checkedout())
        self._idle.set(pool.checkedin())
        overflow = getattr(pool, "_max_overflow", 0)
        self._max.set(float("inf") if overflow < 0 else pool.size() + overflow)
