"""One connection to Redis that all callers of a process share.

Commands go out as they come and answers come back in the same order, so nobody waits for a free
connection, and a caller that leaves takes nothing with it: its answer is read and dropped. With
redis-py's own connections a look-up took 2 to 3 times as long (``python -m bench.cache``).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from service.cache.address import Address

Command = tuple[str | bytes | int, ...]
GRACE_SECONDS = 0.01
"""After a stall of our own loop, timers come before what has arrived meanwhile."""
_NOT_YET = object()
_pack: Callable[[Any], bytes] = hiredis.pack_command


Deliver = Callable[[list[Any], OSError | None], None]
"""Takes the answers to commands that were sent together, or why there are none."""


class Expected:
    """What is expected for commands that were sent together."""

    __slots__ = ("deliver", "found", "missing", "since")

    def __init__(self, missing: int, since: float, deliver: Deliver) -> None:
        self.missing = missing
        self.since = since
        self.deliver = deliver
        self.found: list[Any] = []


class Wire(asyncio.Protocol):
    """A connection. It ends itself when an answer is later than ``timeout`` seconds.

    Args:
        timeout: Seconds.
        lost: Called once when the connection has ended, with whether it was late.
        heard: Called with what arrives unasked, on a connection that subscribes.
    """

    def __init__(
        self,
        timeout: float,
        lost: Callable[["Wire", bool], None] = lambda _wire, _late: None,
        heard: Callable[[list[Any]], None] | None = None,
    ) -> None:
        self.origin = b"\0\0\0\0"
        """Four bytes that tell one run of a server from all others."""
        self._timeout = timeout
        self._lost = lost
        self._heard = heard
        self._reader: Any = hiredis.Reader(notEnoughData=_NOT_YET)
        self._expected: deque[Expected] = deque()
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._watch: asyncio.TimerHandle | None = None
        self._late = False
        self._over = False
        self._ended = asyncio.Event()

    async def open(self, address: Address) -> None:
        """Connect and log in.

        Raises:
            OSError: There is nobody.
            hiredis.ReplyError: We are not let in.
        """
        if address.path is not None:
            await self._loop.create_unix_connection(lambda: self, address.path)
        else:
            await self._loop.create_connection(
                lambda: self, address.host, address.port, ssl=address.tls
            )
        try:
            await self._log_in(address)
        except BaseException:
            await self.close()
            raise

    def time(self) -> float:
        """The loop's clock, seconds."""
        return self._loop.time()

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self._over

    def send(self, *commands: Command) -> "asyncio.Future[list[Any]]":
        """Send commands at once; their answers come together, errors among them.

        Raises:
            ConnectionError: The connection has ended; the future may raise it as well.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()

        def deliver(found: list[Any], error: OSError | None) -> None:
            if future.done():  # its caller has left
                return
            if error is None:
                future.set_result(found)
            else:
                future.set_exception(error)

        self.post(commands, deliver, self._loop.time())
        return future

    def post(self, commands: Sequence[Command], deliver: Deliver, since: float) -> None:
        """The same for who needs no future; ``since`` is when somebody began to wait for it.

        Raises:
            ConnectionError: The connection has ended.
        """
        if self._over:
            raise ConnectionError("the connection to redis has ended")
        # First, for it may fail: no answer may be expected to what is not sent.
        packed = b"".join(map(_pack, commands)) if len(commands) > 1 else _pack(commands[0])
        self._expected.append(Expected(len(commands), since, deliver))
        self._transport.write(packed)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout - GRACE_SECONDS, self._look, None)

    def abort(self) -> None:
        """End, now."""
        self._transport.abort()

    async def close(self) -> None:
        """End, and wait until the socket is closed."""
        if self._transport is not None:
            self._transport.abort()
            await self._ended.wait()

    # -- What the event loop calls -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand out answers."""
        reader, expected = self._reader, self._expected
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not _NOT_YET:
                # What refuses a command, such as INFO, is no list.
                if self._heard and isinstance(answer, list) and answer[:1] == [b"message"]:
                    self._heard(answer)
                    continue
                first = expected[0]
                first.found.append(answer)
                first.missing -= 1
                if not first.missing:
                    expected.popleft()
                    first.deliver(first.found, None)
        except hiredis.ProtocolError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._over = True
        self._ended.set()
        if self._watch is not None:
            self._watch.cancel()
        self._lost(self, self._late)  # first, so that nobody told below comes back to us
        error = TimeoutError("redis is late") if self._late else ConnectionError(str(exc or "end"))
        while self._expected:
            self._expected.popleft().deliver([], error)

    # -- Inside ------------------------------------------------------------------------------

    async def _log_in(self, address: Address) -> None:
        commands: list[Command] = []
        if address.password is not None:
            who = (address.username,) if address.username else ()
            commands.append(("AUTH", *who, address.password))
        if address.database:
            commands.append(("SELECT", address.database))
        *answers, server = await self.send(*commands, ("INFO", "server"))
        for answer in answers:
            if isinstance(answer, hiredis.ReplyError):
                raise answer
        if isinstance(server, bytes):  # else this user may not ask
            run = server.partition(b"run_id:")[2][:8]
            self.origin = bytes.fromhex(run.decode("ascii"))
        elif str(server).startswith(("LOADING", "NOAUTH")):
            raise server

    def _look(self, suspect: Expected | None) -> None:
        self._watch = None
        if not self._expected:
            return
        oldest = self._expected[0]
        if oldest is suspect:
            self._late = True
            self.abort()
            return
        left = oldest.since + self._timeout - GRACE_SECONDS - self._loop.time()
        self._watch = (
            self._loop.call_later(left, self._look, None)
            if left > 0
            else self._loop.call_later(GRACE_SECONDS, self._look, oldest)
        )
