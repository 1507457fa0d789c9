"""Lock watch: reads the lock waits of the application's databases, one reader for each service.

Every few seconds one process of a service asks the server who waits for whom, on a side connection
that is kept open. The others find that it holds an advisory lock, and look again every half minute;
so the load does not grow with workers or instances. Behind a pooler, which hands sessions on to
other clients, such a lock would not be released: there each process reads, more rarely.
"""

import asyncio
import weakref
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, text

from vitals.db import pool_hook
from vitals.db.engines import AnyEngine, root_engine
from vitals.db.locks import lock_waits
from vitals.db.locks.lock_metrics import LockMetrics
from vitals.db.locks.lock_sampler import LockSampler
from vitals.db.side_connections import KeptConnection
from vitals.db.statements.query_log import QueryLog
from vitals.metrics.meter import Meter

SAMPLE_INTERVAL = 5.0
"""Seconds between two samples of the process that reads."""
POOLED_INTERVAL = 15.0
"""Seconds between two samples of each process behind a pooler."""
STANDBY_INTERVAL = 30.0
"""Seconds after which the other processes look whether they are to read, and after a failure."""
STALE = 60.0
"""Seconds without a query after which the process that reads is taken to be stuck."""
TIMEOUT = 10.0
"""Seconds for one sample, including the connect."""
CLOSE_TIMEOUT = 2.0
"""Seconds for which a server that hangs may hold up the end of the application."""
TASK_NAME = "vitals lock watch"
APPLICATION_NAME = "vitals locks"

_CLASS = 0x7669746C  # "vitl": tells our advisory locks from the application's
_SETTINGS = text(
    """
    SELECT set_config('transaction_read_only', 'on', true),
           set_config('statement_timeout', '2s', true),
           set_config('lock_timeout', '100ms', true),
           set_config('jit', 'off', true)
    """
)
_LEAD = text(
    """
    SELECT pg_try_advisory_lock(:class, :key),
           EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                   WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
                     AND CAST(l.classid AS bigint) = :class
                     AND CAST(l.objid AS bigint) = :key AND l.objsubid = 2
                     AND a.pid <> pg_backend_pid()
                     AND (a.state_change IS NULL
                          OR a.state_change > clock_timestamp() - make_interval(secs => :stale))),
           set_config('application_name', :name, false)
    """
)
_OPEN = text(
    """
    SELECT pid, EXTRACT(EPOCH FROM xact_start)::float FROM pg_stat_activity
    WHERE pid = ANY (:pids) AND (xact_start IS NOT NULL OR query = '<insufficient privilege>')
    """.replace("::", "\\:\\:")
)


class LockWatch:
    """Background task that watches the locks of databases on PostgreSQL.

    Args:
        meter: Where to record.
        service_name: Processes of this name have one reader.
        sampler: Receives the samples for the bottlenecks page.
        log: Logs transactions that block; None for no log.
    """

    def __init__(
        self, meter: Meter, service_name: str, sampler: LockSampler, log: QueryLog | None = None
    ) -> None:
        self._meter = meter
        self._key = zlib.crc32(service_name.encode()) & 0x7FFFFFFF
        self._sampler = sampler
        self._log = log
        self._engines: WeakSet[Engine] = WeakSet()
        self._readers: dict[tuple[Any, ...], _Reader] = {}
        self._names: set[str] = set()

    def add_engine(self, engine: AnyEngine) -> None:
        """Watch the locks of an engine's database, from the engine's first connection on."""
        if engine.dialect.name == "postgresql":
            self._engines.add(root_engine(engine))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch within this context."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._work(stop), name=TASK_NAME)
        try:
            yield
        finally:
            stop.set()
            # A driver may turn a cancellation into an error of its own, so it is the last resort.
            await asyncio.wait({task}, timeout=CLOSE_TIMEOUT)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _work(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), min(SAMPLE_INTERVAL, 1.0))
                await self._find_readers()
                due = [reader for reader in self._readers.values() if reader.is_due]
                if due and not stop.is_set():
                    await asyncio.gather(*(reader.sample(self._key) for reader in due))
        finally:
            for reader in self._readers.values():
                await reader.close()
            self._readers.clear()

    async def _find_readers(self) -> None:
        for where, reader in list(self._readers.items()):
            if reader.is_over:
                await self._readers.pop(where).close()
                self._names.discard(reader.name)
        for engine in list(self._engines):
            url = engine.url
            where = (url.host, url.port, url.database, url.query.get("host"))
            if where not in self._readers and pool_hook.in_use(engine):
                name = url.database or ""
                if name in self._names:
                    name = f"{url.host}:{url.port}/{name}"
                self._names.add(name)
                metrics = LockMetrics(self._meter, name, self._log)
                self._readers[where] = _Reader(engine, name, metrics, self._sampler)


class _Reader:
    """Reads the lock waits of one database, if no other process of the service does.

    Attributes:
        name: The database's name in labels.
    """

    def __init__(
        self, engine: Engine, name: str, metrics: LockMetrics, sampler: LockSampler
    ) -> None:
        self.name = name
        self._engine = weakref.ref(engine)
        self._metrics = metrics
        self._sampler = sampler
        self._connection = KeptConnection()
        self._leads = False
        self._sampled = float("-inf")
        self._next = 0.0

    @property
    def is_due(self) -> bool:
        """Whether to sample now."""
        return monotonic() >= self._next

    @property
    def is_over(self) -> bool:
        """Whether the host has disposed its engine, or dropped it."""
        engine = self._engine()
        return engine is None or not pool_hook.in_use(engine)

    async def sample(self, key: int) -> None:
        """Take a sample, if this process reads; never raises."""
        try:
            async with asyncio.timeout(TIMEOUT):
                self._next = monotonic() + await self._sample(key)
        except Exception:  # noqa: BLE001  # such as a database that is down: the gauges are not set
            self._next = monotonic() + STANDBY_INTERVAL
            await self._end()
        if monotonic() - self._sampled > STALE:
            self._metrics.clear()

    async def close(self) -> None:
        """Close the connection, which releases the lock."""
        await self._end()
        self._metrics.clear()

    async def _end(self) -> None:
        self._leads = False
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._connection.close()

    async def _sample(self, key: int) -> float:
        """Take a sample; returns the seconds until the next one."""
        direct = True

        def query(connection: Connection) -> Any:
            nonlocal direct
            connection.execute(_SETTINGS)
            if not self._leads:
                direct = _is_direct(connection)
                if direct:
                    self._leads, reads = _lead(connection, key)
                    if not reads:
                        return None
            waits = lock_waits.read(connection)
            pids = self._metrics.open_pids
            found = connection.execute(_OPEN, {"pids": pids}).all() if pids else []
            return waits, {row[0]: row[1] for row in found}

        engine = self._engine()
        if engine is None:
            return 0.0
        sample = await self._connection.run(engine, query)
        if not self._leads:
            await self._end()
        if sample is None:
            return STANDBY_INTERVAL
        self._sampled = monotonic()
        self._metrics.record(*sample)
        self._sampler.add(sample[0])
        return SAMPLE_INTERVAL if direct else POOLED_INTERVAL


def _lead(connection: Connection, key: int) -> tuple[bool, bool]:
    """Whether this process holds the lock, and whether it is to read: also if who does is stuck."""
    values = {"class": _CLASS, "key": key, "stale": STALE, "name": APPLICATION_NAME}
    locked, another, _ = connection.execute(_LEAD, values).one()
    connection.commit()  # the session's name; the lock stays in any case
    connection.execute(_SETTINGS)
    return bool(locked), bool(locked or not another)


def _is_direct(connection: Connection) -> bool:
    """Whether no pooler is in between, which makes up the backend's PID."""
    driver: Any = connection.connection.driver_connection
    if hasattr(driver, "get_server_pid"):  # asyncpg
        known = driver.get_server_pid()
    else:  # psycopg, psycopg2; of another one it is not known
        known = getattr(getattr(driver, "info", None), "backend_pid", None)
    return known is not None and known == connection.execute(_OWN_PID).scalar_one()


_OWN_PID = text("SELECT pg_backend_pid()")
