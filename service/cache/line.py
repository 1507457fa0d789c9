"""The line to Redis: it is up or down, and nobody waits for one that is down.

A line that is lost is opened again in the background, with pauses. Whoever asks while the first
attempt is under way waits for it; whoever asks after it failed is turned away at once. So a
caller is late at most once, by the timeout.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from hiredis import ReplyError

from service.cache.address import Address
from service.cache.backend import Patience, StoreUnavailableError
from service.cache.batch import Batch, Reader
from service.cache.wire import Command, Wire

log = logging.getLogger(__name__)

CONNECTIONS = 2
"""At most: the one in use, and one that is being opened or closed."""
SLOW_SHARE = 0.5
"""An answer later than this share of the timeout is used, but it counts."""
SLOW_ANSWERS = 3
"""So many slow answers, one after the other, take the line down."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
UNFIT = ("READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "NOREPLICAS")
"""Beginnings of errors of a server that will not do, for now."""

Find = Callable[[], Awaitable[Address]]
Server = tuple[str, int]


class Line:
    """Asks one Redis.

    Args:
        find: Tells where it is, before each attempt to connect.
        timeout: Seconds that an answer may take.
        changed: Called with False when the line goes down and with True when it is up again.
        together: Whether keys may be read by one MGET; in a cluster they may not.
    """

    def __init__(
        self,
        find: Find,
        timeout: float,
        changed: Callable[[bool], None] = lambda _up: None,
        *,
        together: bool = True,
    ) -> None:
        self._find = find
        self._timeout = timeout
        self._changed = changed
        self._together = together
        self._wire: Wire | None = None
        self._connector: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None] | None = None
        self._down = False
        self._slow = 0
        self._slow_since = 0.0
        self._closed = False
        self._reading = False
        self._waiting: list[Reader] = []

    @property
    def is_down(self) -> bool:
        """Whether callers are turned away."""
        return self._down

    async def send(self, *command: str | bytes | int, patience: Patience | None = None) -> Any:
        """Send one command.

        Raises:
            StoreUnavailableError: Redis is left alone, is late, or refuses.
        """
        return (await self.send_all(command, patience=patience))[0]

    async def send_all(self, *commands: Command, patience: Patience | None = None) -> list[Any]:
        """Send several commands at once and return their answers.

        Raises:
            StoreUnavailableError: As above, also if Redis refuses one of them.
        """
        answers = await self.ask(*commands, patience=patience)
        for answer in answers:
            if isinstance(answer, ReplyError):
                raise StoreUnavailableError("error") from answer
        return answers

    async def ask(self, *commands: Command, patience: Patience | None = None) -> list[Any]:
        """The same, with what Redis refuses among the answers, as ``ReplyError``."""
        wire, left = self._wire, self._timeout if patience is None else patience.left
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            if wire is not None and left >= self._timeout:
                answers = await wire.send(*commands)  # by itself it ends when that has passed
            else:
                async with asyncio.timeout(max(left, 0)):
                    wire = await self._ready()
                    answers = await wire.send(*commands)
        except (OSError, TimeoutError) as error:
            raise StoreUnavailableError("error") from error
        finally:
            if patience is not None:
                patience.left = left - (clock() - started)
        self._judge(wire, clock() - started, answers)
        return answers

    async def read(self, names: tuple[str, ...]) -> tuple[bytes, list[Any]]:
        """Read keys; who reads while others do is answered together with others.

        Returns:
            The origin of the run of Redis that answered, and the values.

        Raises:
            StoreUnavailableError: Redis is left alone, is late, or refuses.
        """
        if self._wire is None:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._ready()
            except (OSError, TimeoutError) as error:
                raise StoreUnavailableError("error") from error
        loop = asyncio.get_running_loop()
        reader = Reader(names, loop.time(), loop.create_future())
        self._waiting.append(reader)
        if not self._reading:
            self._read_waiting()
        return await reader.future

    def origin(self, _names: tuple[str, ...]) -> bytes:
        """Four bytes that tell this run of the server from all others."""
        return b"" if self._wire is None else self._wire.origin

    @property
    def runs(self) -> dict[Server, bytes]:
        """The same of each server that is connected; this line has only one."""
        return {} if self._wire is None else {("", 0): self._wire.origin}

    async def address(self) -> Address:
        """Where the server is."""
        return await self._find()

    async def close(self) -> None:
        """Disconnect, for good."""
        self._closed = True
        if self._connector is not None:
            self._connector.cancel()
            await asyncio.gather(self._connector, return_exceptions=True)
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    def _read_waiting(self) -> None:
        if not self._waiting:
            return
        batch, self._waiting = Batch(self._waiting, together=self._together), []
        wire = self._wire
        if wire is None or wire.is_over:
            batch.fail(ConnectionError("lost"))
            return

        def deliver(answers: list[Any], error: OSError | None) -> None:
            self._reading = False
            if error is None:
                self._judge(wire, wire.time() - batch.since, answers)
                try:
                    batch.deliver(wire.origin, answers)
                except ConnectionError as strange:
                    batch.fail(strange)
                    wire.abort()
            else:
                batch.fail(error)
            self._read_waiting()

        self._reading = True
        wire.post(batch.commands, deliver, batch.since)

    # -- Up and down -------------------------------------------------------------------------

    async def _ready(self) -> Wire:
        if self._wire is None:
            if self._down:
                raise StoreUnavailableError("bypass")
            await asyncio.shield(self._begin())
        if self._wire is None:
            raise StoreUnavailableError("error")
        return self._wire

    def _begin(self) -> "asyncio.Future[None]":
        """Connect in the background; the first attempt ends with what is returned."""
        if self._attempt is None or self._attempt.done():
            loop = asyncio.get_running_loop()
            self._attempt = loop.create_future()
            self._connector = loop.create_task(self._connect(self._attempt))
        return self._attempt

    async def _connect(self, attempt: "asyncio.Future[None]") -> None:
        pause = FIRST_PAUSE
        while self._wire is None and not self._closed:
            wire = Wire(self._timeout, self._lost)
            try:
                await self._open(wire)
            except asyncio.CancelledError:
                await wire.close()
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is: others wait for us
                await wire.close()
                self._go_down(f"{type(error).__name__}: {error}")
                _settle(attempt)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spread
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._wire, self._slow = wire, 0
                self._come_up()
        _settle(attempt)

    async def _open(self, wire: Wire) -> None:
        started = wire.time()
        async with asyncio.timeout(self._timeout):
            await wire.open(await self._find())
        if self._down and wire.time() - started > self._timeout * SLOW_SHARE:
            raise TimeoutError("it is slow")
        if wire.is_over:
            raise ConnectionError("lost at once")

    def _lost(self, wire: Wire, late: bool) -> None:  # noqa: FBT001 - the wire's callback
        if wire is not self._wire:
            return
        self._wire = None
        if late:
            self._go_down("it is late")
        if not self._closed:
            self._begin()

    def _judge(self, wire: Wire, took: float, answers: list[Any]) -> None:
        refusals = [str(answer) for answer in answers if isinstance(answer, ReplyError)]
        unfit = next((refusal for refusal in refusals if refusal.startswith(UNFIT)), "")
        self._count_slow(wire.time(), took)
        if not unfit and self._slow < SLOW_ANSWERS:
            return
        self._go_down(unfit or "it is slow")
        if wire is self._wire:
            self._wire = None
            self._begin()
        wire.abort()

    def _count_slow(self, now: float, took: float) -> None:
        if took <= self._timeout * SLOW_SHARE:
            self._slow = 0
        elif now - took >= self._slow_since:  # those that waited at the same time count once
            self._slow, self._slow_since = self._slow + 1, now

    def _go_down(self, reason: str) -> None:
        if not self._down:
            log.warning("redis fails and is left alone for a moment (%s)", reason)
            self._down = True
            self._changed(False)

    def _come_up(self) -> None:
        if self._down:
            log.warning("redis answers again")
            self._down = False
            self._changed(True)


def _settle(attempt: "asyncio.Future[None]") -> None:
    if not attempt.done():
        attempt.set_result(None)
