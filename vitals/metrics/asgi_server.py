"""What the running ASGI server tells: where it accepts connections, whether it is shutting down.

uvicorn, also as gunicorn's worker, is the only server that an application can ask: it serves on the
same event loop. It is only read, never changed.
"""

import asyncio
import os
from collections.abc import Iterator
from typing import Any
from weakref import ref

_MAX_DEPTH = 50
"""Coroutines that await one another; more are no server."""


class AsgiServer:
    """A running uvicorn server, or several of them on one event loop.

    Args:
        servers: The servers, each with the sockets that its parent opened for it, if it did.

    Attributes:
        addresses: Where they accept connections, or are about to.
    """

    def __init__(self, servers: list[tuple[Any, list[Any] | None]]) -> None:
        self.addresses = {address for each in servers for address in _addresses(*each)}
        self._servers = [ref(server) for server, _ in servers]

    @classmethod
    def running(cls) -> "AsgiServer | None":
        """The servers of the running event loop; None if there are none of uvicorn's."""
        try:
            tasks = asyncio.all_tasks()
        except RuntimeError:  # no running event loop
            return None
        found = {id(one[0]): one for task in tasks for one in _servers_of(task.get_coro())}
        return cls(list(found.values())) if found else None

    @property
    def has_started(self) -> bool:
        """Whether it has accepted connections; one that never did ends because of an error."""
        return all(server.started for server in self._alive())

    @property
    def is_shutting_down(self) -> bool:
        """Whether it ends by plan: it was asked to, or has served its maximum of requests."""
        servers = list(self._alive())
        return bool(servers) and all(map(_is_shutting_down, servers))

    def _alive(self) -> Iterator[Any]:
        return (server for held in self._servers if (server := held()) is not None)


def _addresses(server: Any, sockets: list[Any] | None) -> Iterator[str]:
    if sockets:
        yield from (str(socket.getsockname()) for socket in sockets)
        return
    config = server.config
    chosen = config.uds or config.fd is not None or config.port
    # The system chooses port 0, another one for each process.
    yield str((config.host, config.port, config.uds, config.fd) if chosen else os.getpid())


def _is_shutting_down(server: Any) -> bool:
    if not server.started:
        return False
    limit = getattr(server, "limit_max_requests", None)  # with its jitter, in new versions
    if limit is None:
        limit = server.config.limit_max_requests
    served = limit is not None and server.server_state.total_requests >= limit
    return bool(server.should_exit or served)


def _servers_of(coroutine: Any) -> Iterator[tuple[Any, list[Any] | None]]:
    """The servers among the coroutines that a task awaits, and the sockets that they were given."""
    for _ in range(_MAX_DEPTH):
        frame = getattr(coroutine, "cr_frame", None)
        if frame is None:
            return
        # Other frames are not looked into: reading their variables would keep these alive.
        if frame.f_globals.get("__name__") == "uvicorn.server" and "self" in frame.f_locals:
            yield frame.f_locals["self"], frame.f_locals.get("sockets")
        coroutine = coroutine.cr_await
