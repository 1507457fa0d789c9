"""One Redis server: requests of one turn of the event loop share a round trip on one connection.

A single task owns the connection, so a caller that is cancelled never leaves an answer behind for
the next one. A circuit breaker stands before it: while the server is unavailable, callers are
turned away at once and the task reconnects in the background. So a caller is late at most once, by
the timeout. Every wait of the task has a bound, and no failure ends it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from service.cache.core.store import Patience, StoreUnavailableError
from service.cache.redis.batch import Batch, Call, Read, Request, Values, fail
from service.cache.redis.connection import Command, Connection, pack, unfit
from service.cache.redis.url import Server

log = logging.getLogger(__name__)

SLOW_SHARE = 0.5
"""An answer later than this share of the timeout is used, but it counts as slow."""
SLOW_ANSWERS = 3
"""So many slow answers, one after the other, open the circuit."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to connect; the pause doubles."""
STABLE_SECONDS = 1.0
"""A connection that lived shorter counts as a failed attempt: some servers accept and close."""
CONNECT_SECONDS = 1.0
"""An attempt to connect may take so long, or the timeout if that is longer."""
GRACE_SECONDS = 0.01
"""After our own event loop has stalled, timers may run before what has arrived is read."""
CHECK_SECONDS = 0.5
"""At least so often an idle connection is checked for whether the server has closed it."""

Locate = Callable[[], Awaitable[Server]]


class Node:
    """A client of one server.

    Args:
        connection: To the server, not open.
        timeout: Seconds that an answer may take.
        changed: Called with False when the circuit opens and with True when it closes.
        locate: Says where the server is, before each attempt; None if the connection knows.
        together: Whether one MGET may read all keys; nodes of a cluster refuse that.
    """

    def __init__(
        self,
        connection: Connection,
        timeout: float,
        changed: Callable[[bool], None] = lambda _available: None,
        *,
        locate: Locate | None = None,
        together: bool = True,
    ) -> None:
        self._connection = connection
        self._timeout = timeout
        self._changed = changed
        self._locate = locate
        self._together = together
        self._requests: list[Request] = []
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._connected = False
        self._batch: Batch | None = None
        self._suspect: Batch | None = None
        self._late = False
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._closed = False
        self._slow = 0
        self._slow_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open: callers are turned away."""
        return self._open

    @property
    def run(self) -> bytes:
        """Four bytes that identify the run of the server; empty while not connected."""
        return self._connection.run if self._connected else b""

    async def ask(self, *commands: Command, patience: Patience | None = None) -> list[Any]:
        """Send commands and return their answers, with the server's errors among them.

        Args:
            commands: At least one.
            patience: What the caller may still wait; the timeout by default.

        Raises:
            StoreUnavailableError: The circuit is open, or the answer is late or never came.
        """
        if self._open or self._closed:
            raise StoreUnavailableError("bypass")
        loop = asyncio.get_running_loop()
        call = Call(pack(*commands), len(commands), loop)
        self._enqueue(call)
        if patience is None:
            return await call.future  # which ends within the timeout
        try:
            if patience.left >= self._timeout:
                return await call.future
            async with asyncio.timeout(max(patience.left, 0)):
                return await call.future
        except TimeoutError as error:
            raise StoreUnavailableError("error") from error
        finally:
            patience.left -= loop.time() - call.since

    def read(self, names: tuple[str, ...]) -> Awaitable[Values]:
        """Read keys, in one command with all reads of the same turn of the event loop.

        Raises:
            StoreUnavailableError: As above, or the server refuses.
        """
        read = Read(names, asyncio.get_running_loop())
        if self._open or self._closed:
            read.future.set_exception(StoreUnavailableError("bypass"))
        else:
            self._enqueue(read)
        return read.future  # no coroutine, which would take each hit 0.4 µs more

    async def close(self) -> None:
        """Disconnect, for good."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail_waiting(ConnectionError("closed"))

    # -- The task that owns the connection -----------------------------------------------------

    def _enqueue(self, request: Request) -> None:
        self._requests.append(request)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        else:
            self._wake()

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = FIRST_PAUSE
        while not self._closed:
            connected_at = float("inf")
            try:
                try:
                    await self._connect()
                    connected_at = clock()
                    await self._serve()
                finally:
                    self._connected, self._idle = False, None
                    if self._timer is not None:
                        self._timer.cancel()
                    await self._connection.drop()
            except Exception as error:  # noqa: BLE001 - whatever it is, callers need this task
                stable = clock() - connected_at >= STABLE_SECONDS
                if stable:
                    pause = FIRST_PAUSE
                if not (stable and isinstance(error, ConnectionError | RedisConnectionError)):
                    self._open_circuit(error)
            if self._open:
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spread
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timeout - GRACE_SECONDS, self._suspect_late)
        try:
            async with asyncio.timeout(max(self._timeout, CONNECT_SECONDS)):
                if self._locate is not None:
                    self._connection.move(*await self._locate())
                took = await self._connection.open()
        finally:
            self._timer.cancel()
        if self._open and took > self._timeout * SLOW_SHARE:
            raise UnfitError("it is slow")
        self._connected, self._late, self._slow = True, False, 0
        self._watch()
        self._close_circuit()

    def _suspect_late(self) -> None:
        """Let nobody wait for a connection longer than for an answer; the attempt goes on."""
        late = TimeoutError("connecting takes long")
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(GRACE_SECONDS, self._open_circuit, late)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._requests:
                self._idle = loop.create_future()
                await self._idle
                self._idle = None
            if await self._connection.ended():
                raise RedisConnectionError("the server closed the connection")
            requests, self._requests = self._requests, []
            if requests := [request for request in requests if not request.future.done()]:
                await self._exchange(requests)

    async def _exchange(self, requests: list[Request]) -> None:
        try:
            batch = self._batch = Batch(requests, together=self._together)
            answers = await self._connection.exchange(batch.packed, batch.count)
            reason = self._judge(batch, answers)
            batch.deliver(self._connection.run, answers)
        except BaseException as error:
            if self._late and isinstance(error, Exception):
                error = TimeoutError("the answer is late")
            for request in requests:
                fail(request, error)
            raise error  # noqa: TRY201 - it may be another one
        finally:
            self._batch = None
        if reason is not None:
            raise reason

    def _judge(self, batch: Batch, answers: list[Any]) -> Exception | None:
        """Open the circuit if the answers say that the server is of no use; return the reason."""
        self._count_slow(batch.since)
        reason = unfit(answers) or ("it is slow" if self._slow >= SLOW_ANSWERS else "")
        if not reason:
            return None
        error = UnfitError(reason)
        self._open_circuit(error)
        return error

    def _watch(self) -> None:
        """See, now and then, whether an answer is late or an idle connection has ended."""
        loop, batch = asyncio.get_running_loop(), self._batch
        pause = min(self._timeout * SLOW_SHARE, CHECK_SECONDS)
        if batch is None:
            self._wake()
        elif batch is self._suspect:
            self._late = True
            self._connection.abort()
        else:
            left = batch.since + self._timeout - GRACE_SECONDS - loop.time()
            if left <= 0:
                self._suspect, pause = batch, GRACE_SECONDS
            else:
                pause = min(left, pause)
        self._timer = loop.call_later(pause, self._watch)

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _count_slow(self, since: float) -> None:
        now = asyncio.get_running_loop().time()
        if now - since <= self._timeout * SLOW_SHARE:
            self._slow = 0
        elif since >= self._slow_since:  # those that waited at the same time count once
            self._slow, self._slow_since = self._slow + 1, now

    # -- The circuit breaker -------------------------------------------------------------------

    def _open_circuit(self, reason: Exception) -> None:
        if not self._open:
            log.warning("redis unavailable, circuit open (%s: %s)", type(reason).__name__, reason)
            self._open = True
            self._changed(False)
        self._fail_waiting(reason)

    def _close_circuit(self) -> None:
        if self._open:
            log.warning("redis available, circuit closed")
            self._open = False
            self._changed(True)

    def _fail_waiting(self, reason: Exception) -> None:
        requests, self._requests = self._requests, []
        for request in requests:
            fail(request, reason)


class UnfitError(Exception):
    """The server answers, and is of no use for now."""
