"""Pool hook: times how long a pool's callers wait for connections, connect, and use them.

SQLAlchemy's pool events do not cover the wait for a connection and cost 8 µs a checkout, so the
methods through which every checkout goes are wrapped on the instance. Disposing an engine recreates
its pool, which is wrapped too.
"""

import os
from collections.abc import Callable
from time import perf_counter, time_ns
from typing import Any, Protocol
from weakref import WeakSet

from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from vitals.asgi.request_context import CURRENT, error_type_of
from vitals.asgi.request_times import POOL_WAIT
from vitals.asgi.trace_record import INTERNAL, active_span
from vitals.db.engines import EngineWatchers
from vitals.metrics.instruments import CounterChild, HistogramChild
from vitals.metrics.meter import Meter

HOOK = "_vitals_hook"
CHECKED_OUT_AT = "_vitals_checked_out_at"


TRACED_WAIT = 0.001
"""Seconds from which on a wait for a connection has a span."""


class PoolInstruments(Protocol):
    """The instruments of a pool in one application."""

    meter: Meter
    name: str
    wait: HistogramChild
    create: HistogramChild
    use: HistogramChild
    timeouts: CounterChild

    def failed(self, error_type: str) -> None:
        """Count a checkout that failed for another reason than a timeout of the pool."""


class PoolHook:
    """Wraps a pool, and all that are recreated from it.

    Attributes:
        watchers: The instruments of the applications that watch it.
        waiting: Callers that wait for a connection now.
        in_use: The records of the connections that are checked out of the newest pool.
        disposed: Whether it was disposed and has not connected since.
        connected: Whether it has connected since it was wrapped.
    """

    def __init__(self) -> None:
        self.watchers: EngineWatchers[PoolInstruments] = EngineWatchers()
        self.waiting = 0
        self.in_use: set[ConnectionPoolEntry] = set()
        self.disposed = False
        self.connected = False
        _HOOKS.add(self)

    def wrap(self, pool: Any) -> None:
        """Wrap a pool's methods."""
        setattr(pool, HOOK, self)
        in_use: set[ConnectionPoolEntry] = set()
        self.in_use = in_use
        pool.connect = self._timed_checkout(pool.connect, in_use)
        give_back = pool._do_return_conn  # noqa: SLF001  # see above
        pool._do_return_conn = self._timed_return(give_back, in_use)  # noqa: SLF001  # see above
        # Not by the event "do_connect": its first listener makes the connection, and the host may
        # need it to supply a fresh password. Nor by the dialect, which ``creator`` goes around.
        pool._invoke_creator = self._timed_connect(pool._invoke_creator)  # noqa: SLF001
        recreate = type(pool).recreate

        def recreate_wrapped() -> Any:
            recreated = recreate(pool)
            self.disposed = True
            self.wrap(recreated)
            return recreated

        pool.recreate = recreate_wrapped

    def adopt(self, connection: PoolProxiedConnection) -> None:
        """Measure from now on how long a connection is used that was checked out before."""
        if connection.record_info is not None:
            connection.record_info.setdefault(CHECKED_OUT_AT, perf_counter())
            self.in_use.add(connection._connection_record)  # noqa: SLF001  # see above

    def _timed_checkout(
        self, checkout: Callable[[], Any], in_use: set[ConnectionPoolEntry]
    ) -> Callable[[], Any]:
        def timed_checkout() -> Any:
            self.waiting += 1
            started = perf_counter()
            try:
                connection = checkout()
            except PoolTimeoutError:
                instruments = self.watchers.current()
                if instruments is not None:
                    instruments.timeouts.inc()
                raise
            except BaseException as error:
                instruments = self.watchers.current()
                if instruments is not None:
                    instruments.failed(error_type_of(_driver_error(error)))
                raise
            finally:
                self.waiting -= 1
                ended = perf_counter()
                instruments = self.watchers.current()
                if instruments is not None:
                    instruments.wait.observe(ended - started)
                request = CURRENT.get()
                if request is not None and not request.duration:
                    request.pool_seconds += ended - started
                    if request.times is not None:
                        request.times.wait(POOL_WAIT, started, ended)
                if instruments is not None and ended - started >= TRACED_WAIT:
                    _trace_wait(instruments.name, ended - started)
            connection.record_info[CHECKED_OUT_AT] = ended
            in_use.add(connection._connection_record)  # noqa: SLF001  # see above
            return connection

        return timed_checkout

    def _timed_return(
        self, give_back: Callable[[Any], None], in_use: set[ConnectionPoolEntry]
    ) -> Callable[[Any], None]:
        def timed_return(record: Any) -> None:
            in_use.discard(record)
            since = record.record_info.pop(CHECKED_OUT_AT, None)
            if since is not None:
                instruments = self.watchers.current()
                if instruments is not None:
                    instruments.use.observe(perf_counter() - since)
            give_back(record)

        return timed_return

    def _timed_connect(self, connect: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def timed_connect(record: Any) -> Any:
            started = perf_counter()
            connection = connect(record)
            self.disposed, self.connected = False, True
            instruments = self.watchers.current()
            if instruments is not None:
                instruments.create.observe(perf_counter() - started)
            return connection

        return timed_connect


def hook_pool(engine: Engine) -> PoolHook:
    """The hook of an engine's pool; made if it has none yet, also when several engines share it."""
    pool = engine.pool
    hook: PoolHook | None = vars(pool).get(HOOK)
    if hook is None:
        hook = PoolHook()
        hook.wrap(pool)
    return hook


def in_use(engine: Engine) -> bool:
    """Whether the host has connected by this engine, and not disposed it since."""
    hook = hook_pool(engine)
    pool: Any = engine.pool
    has_connections = hasattr(pool, "checkedin") and pool.checkedin() + pool.checkedout() > 0
    return not hook.disposed and (hook.connected or has_connections)


def _trace_wait(pool: str, seconds: float) -> None:
    active = active_span()
    if active is not None:
        record, parent = active
        now = time_ns()
        attributes = {"db.client.connection.pool.name": pool}
        began = now - int(seconds * 1e9)
        record.add(("wait for a connection", INTERNAL, 0, parent, began, now, attributes, "", None))


def _driver_error(error: BaseException) -> BaseException:
    """The driver's own error: SQLAlchemy raises one of a few classes of its own from it."""
    while error.__cause__ is not None and type(error).__module__.startswith("sqlalchemy."):
        error = error.__cause__
    return error


_HOOKS: WeakSet[PoolHook] = WeakSet()


def _reset_waiting() -> None:
    """Reset what a fork has inherited: the callers that wait are threads of the parent."""
    for hook in list(_HOOKS):
        hook.waiting = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_waiting)
