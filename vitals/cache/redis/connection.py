"""Wrapper of one redis-py connection: health check on open, pipelined exchange, hard abort."""

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
UNKNOWN_RUN_ID = b"\0\0\0\0"

_READ_ONLY = b"slave_read_only:1"

UNHEALTHY_TYPES = (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
)
UNHEALTHY_PREFIXES = ("BUSY ", "NOREPLICAS", "The cluster is down")
"""Errors of a server that refuses every command for now."""

REPLY_ERRORS = (ResponseError, AuthenticationError, BusyLoadingError)
"""Errors that are a reply of the server, after which the connection is still usable."""

FAILURES = (RedisError, OSError, TimeoutError)
"""Raised when a server cannot be reached or does not speak Redis's protocol."""


class Connection:
    """A connection that can be reopened.

    Methods have no timeouts: callers set them. The server's errors are returned among its replies,
    as ``ResponseError``.

    Args:
        options: See ``RedisUrl.connection_options``.
        is_primary: Whether a read-only replica is refused.
    """

    def __init__(self, options: dict[str, Any], *, is_primary: bool = True) -> None:
        options = dict(options)
        self._connection: Any = options.pop("connection_class")(**options)
        self._is_primary = is_primary
        self.run_id = UNKNOWN_RUN_ID
        """Four bytes of the server's run id; zeros if this account may not call INFO."""

    @property
    def address(self) -> str:
        """Where it connects to: ``host:port``, or the path of a socket."""
        path = getattr(self._connection, "path", None)
        return path or f"{self._connection.host}:{self._connection.port}"

    def move(self, host: str, port: int) -> None:
        """Connect to another server the next time."""
        self._connection.host, self._connection.port = host, port

    async def connect(self) -> None:
        """Connect and log in.

        Raises:
            RedisError: The server refuses, or does not speak the protocol.
            OSError: The server is unreachable.
        """
        await self._connection.connect()

    async def open(self) -> float:
        """Connect and check the server's health.

        Returns:
            Seconds that a PING took.

        Raises:
            RedisError: It refuses, is a read-only replica, or does not speak the protocol.
            OSError: The server is unreachable.
        """
        clock = asyncio.get_running_loop().time
        await self.connect()
        started = clock()
        [pong] = await self.exchange(pack(("PING",)), 1)
        took = clock() - started
        if pong != b"PONG" and not isinstance(pong, NoPermissionError):
            raise RedisConnectionError(
                unhealthy_reason([pong]) or f"unexpected reply to PING: {pong!r:.100}"
            ) from (pong if isinstance(pong, RedisError) else None)
        commands: list[Command] = [("INFO", "server"), ("INFO", "replication")]
        server, replication = map(_text, await self.exchange(pack(*commands), 2))
        if self._is_primary and b"role:slave" in replication and _READ_ONLY in replication:
            raise ReadOnlyError("read-only replica")
        run_id = server.partition(b"run_id:")[2][:8]
        self.run_id = bytes.fromhex(run_id.decode("ascii")) or UNKNOWN_RUN_ID
        return took

    async def exchange(self, packed: list[bytes], count: int) -> list[Any]:
        """Send packed commands and read as many replies.

        Raises:
            RedisError: The connection ended.
            OSError: The same.
        """
        connection = self._connection
        await connection.send_packed_command(packed, check_health=False)
        replies: list[Any] = []
        for _ in range(count):
            try:
                replies.append(await connection.read_response(disconnect_on_error=False))
            except REPLY_ERRORS as error:
                replies.append(error)
        return replies

    async def send(self, command: Command) -> None:
        """Send a command whose reply comes as a message.

        Raises:
            RedisError: The connection ended.
            OSError: The same.
        """
        await self._connection.send_packed_command(pack(command), check_health=False)

    async def receive(self, seconds: float) -> list[Any] | None:
        """Wait for a message on a subscribed connection; None if none came in time.

        Raises:
            RedisError: The connection ended.
            OSError: The same.
        """
        found: list[Any] | None = await self._connection.read_response(
            timeout=seconds, disconnect_on_error=False
        )
        return found

    async def ended(self) -> bool:
        """Return whether the server closed it or sent unexpected data. Never waits."""
        return not self._connection.is_connected or bool(await self._connection.can_read())

    def abort(self) -> None:
        """Close the socket at once; pending reads raise an error."""
        writer = self._connection._writer  # noqa: SLF001 - redis-py's own close waits for the server
        if writer is not None:
            writer.transport.abort()

    async def drop(self) -> None:
        """Disconnect without waiting for the server."""
        self.abort()
        await self._connection.disconnect(nowait=True)


def pack(*commands: Command) -> list[bytes]:
    """Encode commands in Redis's protocol.

    Raises:
        UnicodeEncodeError: A text cannot be encoded.
    """
    write: Callable[[Any], bytes] = hiredis.pack_command
    return [write(command) for command in commands]


def unhealthy_reason(replies: Iterable[Any]) -> str:
    """Return why the server is unhealthy, judging by its replies; empty if it is healthy."""
    for reply in replies:
        if isinstance(reply, RedisError):
            if isinstance(reply, UNHEALTHY_TYPES):
                return f"{type(reply).__name__}: {reply}"
            if str(reply).startswith(UNHEALTHY_PREFIXES):
                return str(reply)
    return ""


def describe_failure(reason: BaseException, address: str, timeout: float) -> str:
    """Say why a server is unavailable, for a log line: where it is, and what happened."""
    text = str(reason)
    if isinstance(reason, TimeoutError):
        text = f"{text or 'no answer'} (limit {timeout:g} s)"
    return f"{address}: {type(reason).__name__}: {text or 'no reason given'}"


def _text(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else b""
