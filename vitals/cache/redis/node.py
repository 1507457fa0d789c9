"""Client of one Redis server: batches the requests of one event loop iteration on one connection.

A single task owns the connection, so a cancelled caller never leaves a reply behind for the next
one. It has a circuit breaker: while the server is unavailable, callers are refused at once and the
task reconnects in the background. So a caller is late at most once, by the timeout. Every wait of
the task is bounded, and no failure ends it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from vitals.cache.core.store import StoreUnavailableError, TimeoutBudget
from vitals.cache.redis.batch import Batch, Call, Read, Request, Values, fail
from vitals.cache.redis.connection import (
    Command,
    Connection,
    describe_failure,
    pack,
    unhealthy_reason,
)
from vitals.cache.redis.url import Server
from vitals.random_numbers import RANDOM

log = logging.getLogger(__name__)

SLOW_SHARE = 0.5
"""A reply later than this share of the timeout is used, but it counts as slow."""
SLOW_REPLIES = 3
"""Consecutive slow replies that open the circuit."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to connect (exponential backoff)."""
STABLE_SECONDS = 1.0
"""A shorter connection counts as a failed attempt: some servers accept and close."""
CONNECT_SECONDS = 1.0
"""Limit of an attempt to connect, or the timeout if that is longer."""
GRACE_SECONDS = 0.01
"""After a stall of our event loop, timers may run before data that has arrived is read."""
CHECK_SECONDS = 0.5
"""Longest interval between checks whether the server has closed an idle connection."""

Locate = Callable[[], Awaitable[Server]]


class Node:
    """Client of one server.

    Args:
        connection: To the server, not open.
        timeout: Seconds that a reply may take.
        changed: Called with False when the circuit opens and with True when it closes.
        failed: Called with the reason of each attempt to connect that failed.
        locate: Returns the server before each attempt; None if the connection knows it.
        use_mget: Whether one MGET may read all keys; nodes of a cluster refuse that.
    """

    def __init__(
        self,
        connection: Connection,
        timeout: float,
        changed: Callable[[bool], None] = lambda _available: None,
        failed: Callable[[Exception], None] = lambda _reason: None,
        *,
        locate: Locate | None = None,
        use_mget: bool = True,
    ) -> None:
        self._connection = connection
        self._timeout = timeout
        self._changed = changed
        self._failed = failed
        self._locate = locate
        self._use_mget = use_mget
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
        """Whether the circuit is open: callers are refused."""
        return self._open

    @property
    def run_id(self) -> bytes:
        """Four bytes of the server's run id; empty while not connected."""
        return self._connection.run_id if self._connected else b""

    async def execute(self, *commands: Command, budget: TimeoutBudget | None = None) -> list[Any]:
        """Send commands and return their replies, with the server's errors among them.

        Args:
            commands: At least one.
            budget: Seconds that the caller may still wait; the timeout by default.

        Raises:
            StoreUnavailableError: The circuit is open, or the reply is late or never came.
        """
        if self._open or self._closed:
            raise StoreUnavailableError("bypass")
        loop = asyncio.get_running_loop()
        call = Call(pack(*commands), len(commands), loop)
        self._enqueue(call)
        if budget is None:
            return await call.future  # done within the timeout
        try:
            if budget.remaining >= self._timeout:
                return await call.future
            async with asyncio.timeout(max(budget.remaining, 0)):
                return await call.future
        except TimeoutError as error:
            raise StoreUnavailableError("error") from error
        finally:
            budget.remaining -= loop.time() - call.since

    def read(self, names: tuple[str, ...]) -> Awaitable[Values]:
        """Read keys, in one command with all reads of the same event loop iteration.

        Raises:
            StoreUnavailableError: As above, or the server refuses.
        """
        read = Read(names, asyncio.get_running_loop())
        if self._open or self._closed:
            read.future.set_exception(StoreUnavailableError("bypass"))
        else:
            self._enqueue(read)
        return read.future  # a coroutine would cost each hit 0.4 µs more

    async def close(self) -> None:
        """Disconnect permanently."""
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
            except Exception as error:  # noqa: BLE001 - callers need this task after any failure
                if connected_at == float("inf"):
                    self._failed(error)
                stable = clock() - connected_at >= STABLE_SECONDS
                if stable:
                    pause = FIRST_PAUSE
                if not (stable and isinstance(error, ConnectionError | RedisConnectionError)):
                    self._open_circuit(error)
            if self._open:
                await asyncio.sleep(pause * RANDOM.uniform(0.5, 1))
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
            raise UnhealthyError("slow replies")
        self._connected, self._late, self._slow = True, False, 0
        self._watch()
        self._close_circuit()

    def _suspect_late(self) -> None:
        """Open the circuit if connecting takes longer than a reply may; the attempt goes on."""
        late = TimeoutError("connect timeout")
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
                raise RedisConnectionError("connection closed by server")
            requests, self._requests = self._requests, []
            if requests := [request for request in requests if not request.future.done()]:
                await self._exchange(requests)

    async def _exchange(self, requests: list[Request]) -> None:
        try:
            batch = self._batch = Batch(requests, use_mget=self._use_mget)
            replies = await self._connection.exchange(batch.packed, batch.count)
            reason = self._check_health(batch, replies)
            batch.deliver(self._connection.run_id, replies)
        except BaseException as error:
            if self._late and isinstance(error, Exception):
                error = TimeoutError("reply timeout")
            for request in requests:
                fail(request, error)
            raise error  # noqa: TRY201 - it may have been replaced
        finally:
            self._batch = None
        if reason is not None:
            raise reason

    def _check_health(self, batch: Batch, replies: list[Any]) -> Exception | None:
        """Open the circuit if the replies show an unhealthy server; return the reason."""
        self._count_slow(batch.since)
        reason = unhealthy_reason(replies) or ("slow replies" if self._slow >= SLOW_REPLIES else "")
        if not reason:
            return None
        error = UnhealthyError(reason)
        self._open_circuit(error)
        return error

    def _watch(self) -> None:
        """Check periodically whether a reply is late or an idle connection was closed."""
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
        elif since >= self._slow_since:  # concurrent requests count once
            self._slow, self._slow_since = self._slow + 1, now

    # -- The circuit breaker -------------------------------------------------------------------

    def _open_circuit(self, reason: Exception) -> None:
        if not self._open:
            log.warning(
                "redis unavailable, circuit open (%s)",
                describe_failure(reason, self._connection.address, self._timeout),
            )
            self._open = True
            self._changed(False)
        self._fail_waiting(reason)

    def _close_circuit(self) -> None:
        if self._open:
            log.warning("redis available, circuit closed (%s)", self._connection.address)
            self._open = False
            self._changed(True)

    def _fail_waiting(self, reason: Exception) -> None:
        requests, self._requests = self._requests, []
        for request in requests:
            fail(request, reason)


class UnhealthyError(Exception):
    """The server replies, but refuses commands or is slow."""
