"""One connection of redis-py: opened and checked, used by one task at a time, dropped at once."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)

Command = tuple[str | bytes | int, ...]
UNKNOWN_RUN = b"\0\0\0\0"

_READ_ONLY = b"slave_read_only:1"

UNFIT_TYPES = (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
)
UNFIT_PREFIXES = ("BUSY ", "NOREPLICAS", "The cluster is down")
"""Errors of a server that is of no use for now, whatever it is asked."""

ANSWERED = (ResponseError, AuthenticationError, BusyLoadingError)
"""Errors that are an answer of the server's, after which the connection goes on."""

FAILURES = (RedisError, OSError, TimeoutError)
"""What fails when a server cannot be reached or does not speak Redis's protocol."""


class Connection:
    """A connection that can be opened again and again.

    Nothing here waits within a bound of its own: callers set one. The server's errors are returned
    among its answers, as ``ResponseError``.

    Args:
        options: See ``RedisUrl.connection_options``.
        is_primary: Whether a read-only replica is refused.
    """

    def __init__(self, options: dict[str, Any], *, is_primary: bool = True) -> None:
        options = dict(options)
        self._connection: Any = options.pop("connection_class")(**options)
        self._is_primary = is_primary
        self.run = UNKNOWN_RUN
        """Four bytes of the server's run id; zeros if this account may not call INFO."""

    def move(self, host: str, port: int) -> None:
        """Lead to another server from the next opening on."""
        self._connection.host, self._connection.port = host, port

    async def connect(self) -> None:
        """Connect and log in.

        Raises:
            RedisError: The server refuses, or does not speak the protocol.
            OSError: There is no server.
        """
        await self._connection.connect()

    async def open(self) -> float:
        """Connect and check that the server is of use.

        Returns:
            Seconds that a PING took.

        Raises:
            RedisError: It refuses, is a read-only replica, or does not speak the protocol.
            OSError: There is no server.
        """
        clock = asyncio.get_running_loop().time
        await self.connect()
        started = clock()
        [pong] = await self.exchange(pack(("PING",)), 1)
        took = clock() - started
        if pong != b"PONG" and not isinstance(pong, NoPermissionError):
            raise RedisConnectionError(unfit([pong]) or f"PING is answered by {pong!r:.100}")
        commands: list[Command] = [("INFO", "server"), ("INFO", "replication")]
        server, replication = map(_text, await self.exchange(pack(*commands), 2))
        if self._is_primary and b"role:slave" in replication and _READ_ONLY in replication:
            raise ReadOnlyError("it is a read-only replica")
        run = server.partition(b"run_id:")[2][:8]
        self.run = bytes.fromhex(run.decode("ascii")) or UNKNOWN_RUN
        return took

    async def exchange(self, packed: list[bytes], count: int) -> list[Any]:
        """Send packed commands and read as many answers.

        Raises:
            RedisError: The connection ended.
            OSError: The same.
        """
        connection = self._connection
        await connection.send_packed_command(packed, check_health=False)
        answers: list[Any] = []
        for _ in range(count):
            try:
                answers.append(await connection.read_response(disconnect_on_error=False))
            except ANSWERED as error:
                answers.append(error)
        return answers

    async def send(self, command: Command) -> None:
        """Send a command whose answer comes as a message.

        Raises:
            RedisError: The connection ended.
            OSError: The same.
        """
        await self._connection.send_packed_command(pack(command), check_health=False)

    async def message(self, seconds: float) -> list[Any] | None:
        """Wait for a message of a connection that subscribes; None if nothing came in time.

        Raises:
            RedisError: The connection ended.
            OSError: The same.
        """
        found: list[Any] | None = await self._connection.read_response(
            timeout=seconds, disconnect_on_error=False
        )
        return found

    async def ended(self) -> bool:
        """Tell whether the server has closed it, or says something unasked. Never waits."""
        return not self._connection.is_connected or bool(await self._connection.can_read())

    def abort(self) -> None:
        """Cut it off; whoever waits for an answer gets an error."""
        writer = self._connection._writer  # noqa: SLF001 - redis-py's ways wait for the server
        if writer is not None:
            writer.transport.abort()

    async def drop(self) -> None:
        """Disconnect without a farewell, for the server may not read it. Never waits."""
        self.abort()
        await self._connection.disconnect(nowait=True)


def pack(*commands: Command) -> list[bytes]:
    """Write commands in Redis's protocol.

    Raises:
        UnicodeEncodeError: Of a text that cannot be sent.
    """
    write: Callable[[Any], bytes] = hiredis.pack_command
    return [write(command) for command in commands]


def unfit(answers: Iterable[Any]) -> str:
    """Say why the server is of no use, from its answers; empty if it is."""
    for answer in answers:
        if isinstance(answer, RedisError):
            if isinstance(answer, UNFIT_TYPES):
                return f"{type(answer).__name__}: {answer}"
            if str(answer).startswith(UNFIT_PREFIXES):
                return str(answer)
    return ""


def _text(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else b""
