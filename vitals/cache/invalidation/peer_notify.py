"""Peer notification: other processes invalidate for a process that is cut off from Redis.

A process that is cut off from Redis cannot invalidate there what it is about to change, while its
peers go on serving it. So it notifies them through the database before it commits (``NOTIFY``, on a
connection of its own). A peer announces the write intent to Redis in its place, or holds the intent
and bypasses Redis until it is delivered, and answers which of the two. PostgreSQL only: SQLite has
no ``NOTIFY``.

``LISTEN`` needs a session of the server. Behind a transaction pooler there is none: no peer is
notified then, and the outbox is polled more often.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.cache.cache import Cache
from vitals.cache.core.store import WriteIntent
from vitals.cache.invalidation.outbox import PENDING
from vitals.random_numbers import RANDOM

log = logging.getLogger(__name__)

MAX_PAYLOAD = 7_000
"""Characters; PostgreSQL takes 8,000 bytes, and non-ASCII characters are escaped."""
MAX_CONCURRENT_MESSAGES = 100
"""Messages handled at a time; the rest is dropped, and found in the outbox."""
PING_SECONDS = 1.0
PAUSE_SECONDS = 0.5

_NOTIFY = """
SELECT pid, pg_notify($1, $2) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $3
"""


class NoSessionError(Exception):
    """The connection is to a transaction pooler, which keeps no session."""


class PeerRequest:
    """A request to the peers, until one has delivered it or all have answered.

    Args:
        unresponsive: Peers whose answer is not waited for.
    """

    def __init__(self, unresponsive: set[int]) -> None:
        self._unresponsive = unresponsive
        self._peers: set[int] | None = None
        self._replied: set[int] = set()
        self.settled = asyncio.Event()

    def sent_to(self, peers: set[int]) -> None:
        """Set the peers that were notified; some may have answered already."""
        self._peers = peers
        self._check()

    def replied(self, pid: int, *, delivered: bool) -> None:
        """Record a peer's answer; one delivery to Redis is enough."""
        self._replied.add(pid)
        if delivered:
            self.settled.set()
        self._check()

    @property
    def missing(self) -> set[int]:
        """Peers that have not answered."""
        return (self._peers or set()) - self._replied

    def _check(self) -> None:
        if self._peers is not None and self.missing <= self._unresponsive:
            self.settled.set()


class Peers:
    """Notifies the peers, and handles their notifications.

    Args:
        engine: Of PostgreSQL by asyncpg; one connection is taken out of its pool and kept.
        cache: Where peers' write intents are announced.
        on_pending: Called when the outbox has rows.
        channel: The outbox's name: processes that share one share a cache.

    Attributes:
        application_name: Of the listening connections in ``pg_stat_activity``, where the peers are
            looked up.
    """

    def __init__(
        self, engine: AsyncEngine, cache: Cache, on_pending: Callable[[], None], *, channel: str
    ) -> None:
        self._channel = channel
        self.application_name = f"vitals {channel}"
        self._engine = engine
        self._cache = cache
        self._on_pending = on_pending
        self._connection: Any = None
        self._pid = 0
        self._lock = asyncio.Lock()
        self._requests: dict[str, PeerRequest] = {}
        self._unresponsive: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_listening(self) -> bool:
        """Whether notifications are received."""
        return self._connection is not None

    def start(self) -> None:
        """Listen in the background."""
        self._lock = asyncio.Lock()
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        tasks = [task for task in (self._task, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- Sending -----------------------------------------------------------------------------

    async def send_intent(self, intent: WriteIntent, seconds: float) -> None:
        """Have peers announce an intent to Redis; call it before the commit. Never raises.

        Returns once a peer has announced it, or all peers bypass Redis, and after the given
        seconds in any case. A peer that did not answer in time is not waited for again.
        """
        name = intent.token.hex()
        request = self._requests[name] = PeerRequest(self._unresponsive)
        try:
            async with asyncio.timeout(seconds):
                peers = await self._notify("intend", name, _targets_of(intent, self._cache))
                self._unresponsive &= peers
                request.sent_to(peers - {self._pid})
                await request.settled.wait()
        except TimeoutError:
            self._unresponsive |= request.missing
        except Exception as error:  # noqa: BLE001 - any failure: the outbox has it all the same
            log.info("peer notification failed (%s: %s)", type(error).__name__, error)
        finally:
            del self._requests[name]

    def release(self, intent: WriteIntent) -> None:
        """Notify peers of the commit, in the background: the intent would expire anyway."""
        self._spawn(self._release(intent))

    async def _notify(self, what: str, *rest: Any, to: int | None = None) -> set[int]:
        channel = self._channel if to is None else f"{self._channel}_{to}"
        async with self._lock:
            if self._connection is None:
                return set()
            text = json.dumps([what, *rest])
            rows = await self._connection.fetch(_NOTIFY, channel, text, self.application_name)
            return {row["pid"] for row in rows}

    # -- Receiving ---------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                async with self._connected() as lost:
                    self._on_pending()  # may have been missed until now
                    while not lost.is_set():
                        with suppress(TimeoutError):
                            async with asyncio.timeout(PING_SECONDS):
                                await lost.wait()
                        async with self._lock, asyncio.timeout(PING_SECONDS):
                            await self._connection.execute("SELECT 1")
            except NoSessionError:
                log.info("peer notification off: LISTEN does not work through this pooler")
                return
            except Exception as error:  # noqa: BLE001 - retried after any failure
                log.info("peer notification disconnected (%s: %s)", type(error).__name__, error)
            await asyncio.sleep(PAUSE_SECONDS * RANDOM.uniform(0.5, 1))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncio.Event]:
        lost = asyncio.Event()
        async with self._engine.connect() as connected:
            connection: Any = (await connected.get_raw_connection()).driver_connection
            await connected.run_sync(Connection.detach)  # the pool opens another one
            connection.add_termination_listener(lambda _connection: lost.set())
            try:
                # A pooler sends a pid of its own. The query uses no prepared statement; its result
                # is the command status, which is all that a simple query returns.
                pid = connection.get_server_pid()
                if await connection.execute(f"SELECT WHERE pg_backend_pid() = {pid}") != "SELECT 1":
                    raise NoSessionError
                await connection.execute(f"SET application_name = '{self.application_name}'")
                self._pid = pid
                await connection.add_listener(f"{self._channel}_{pid}", self._on_notification)
                await connection.add_listener(self._channel, self._on_notification)
                self._connection = connection
                yield lost
            finally:
                self._connection = None
                connection.terminate()

    def _on_notification(self, _connection: object, pid: int, _channel: str, text: str) -> None:
        self._unresponsive.discard(pid)
        if text == PENDING:
            self._on_pending()
        elif pid != self._pid:
            with suppress(ValueError, TypeError):  # from another release, or foreign
                what, name, rest = json.loads(text)
                self._handle(pid, what, str(name), rest)

    def _handle(self, pid: int, what: str, name: str, rest: Any) -> None:
        if what == "answer":
            if request := self._requests.get(name):
                request.replied(pid, delivered=bool(rest))
            return
        targets = tuple(
            self._cache.target(str(target), is_generation=bool(is_generation))
            for target, is_generation in rest
        )
        intent = WriteIntent(targets, token=bytes.fromhex(name))
        handlers: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "intend": lambda: self._intend(pid, intent),
            "release": lambda: self._cache.release(intent),
        }
        if what in handlers:
            self._spawn(handlers[what]())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= MAX_CONCURRENT_MESSAGES:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _release(self, intent: WriteIntent) -> None:
        with suppress(Exception):
            await self._notify("release", intent.token.hex(), _targets_of(intent, self._cache))

    async def _intend(self, pid: int, intent: WriteIntent) -> None:
        announced = await self._cache.intend(*intent.targets, token=intent.token)
        with suppress(Exception):
            name = intent.token.hex()
            await self._notify("answer", name, announced.delivered, to=pid)


def _targets_of(intent: WriteIntent, cache: Cache) -> list[tuple[str, bool]]:
    targets = [(target.name, target.is_generation) for target in intent.targets]
    if len(json.dumps(targets)) > MAX_PAYLOAD:
        return [(target.name, target.is_generation) for target in cache.everything]
    return targets
