"""What the running ASGI server tells: where it accepts connections, whether it is shutting down.

uvicorn, also as gunicorn's worker, is the only server that an application can ask: it serves on the
same event loop. It is only read, never changed.
"""

import asyncio
from collections.abc import Iterator
from typing import Any
from weakref import ref

_MAX_DEPTH = 50
"""Coroutines that await one another; more are no server."""


class AsgiServer:
    """A running uvicorn server, or several of them on one event loop."""

    def __init__(self, servers: list[Any]) -> None:
        self._servers = [ref(server) for server in servers]

    @classmethod
    def running(cls) -> "AsgiServer | None":
        """The servers of the running event loop; None if there are none of uvicorn's."""
        try:
            tasks = asyncio.all_tasks()
        except RuntimeError:  # no running event loop
            return None
        found = {id(server): server for task in tasks for server in _servers_of(task.get_coro())}
        return cls(list(found.values())) if found else None

    @property
    def accepts(self) -> bool:
        """Whether it accepts connections: it knows where only then."""
        return all(server.started for server in self._alive())

    @property
    def addresses(self) -> set[str]:
        """Where it accepts connections."""
        return {
            str(socket.getsockname())
            for server in self._alive()
            for listening in getattr(server, "servers", ())
            for socket in listening.sockets
        }

    @property
    def is_shutting_down(self) -> bool:
        """Whether it ends by plan: it was told to, or has served its maximum of requests.

        A server that never started ends because of an error.
        """
        servers = list(self._alive())
        return bool(servers) and all(map(_is_shutting_down, servers))

    def _alive(self) -> Iterator[Any]:
        return (server for held in self._servers if (server := held()) is not None)


def _is_shutting_down(server: Any) -> bool:
    if not server.started:
        return False
    limit = getattr(server, "limit_max_requests", None)  # with its jitter, since uvicorn 0.41
    if limit is None:
        limit = server.config.limit_max_requests
    served = limit is not None and server.server_state.total_requests >= limit
    return bool(server.should_exit or served)


def _servers_of(coroutine: Any) -> Iterator[Any]:
    """The servers among the coroutines that a task awaits."""
    for _ in range(_MAX_DEPTH):
        frame = getattr(coroutine, "cr_frame", None)
        if frame is None:
            return
        # Frames of others are left alone: reading their variables would keep these alive.
        if frame.f_globals.get("__name__") == "uvicorn.server" and "self" in frame.f_locals:
            yield frame.f_locals["self"]
        coroutine = coroutine.cr_await
