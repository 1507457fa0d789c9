"""The service on a thread of its own, with a measurement of how long its event loop is blocked."""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection

import uvicorn

from service.main import build
from service.server.protocol import BoundedProtocol
from service.settings import Settings

TICK = 0.0005
"""Seconds between two measurements."""


class Watched:
    """A running service, and the longest time that its event loop was blocked.

    That is processor time of the loop's thread: other work on the machine does not count.

    Args:
        settings: Of the service.
    """

    def __init__(self, settings: Settings) -> None:
        config = uvicorn.Config(
            build(settings),
            host="127.0.0.1",
            port=0,
            http=BoundedProtocol,
            ws="none",
            access_log=False,
            log_config=None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run)
        self._longest = 0.0
        self.port = 0

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        serving = asyncio.create_task(self._server.serve())
        last = time.thread_time()
        while not serving.done():
            await asyncio.sleep(TICK)
            now = time.thread_time()
            self._longest = max(self._longest, now - last)
            last = now
            if self._server.started and not self.port:
                self.port = self._server.servers[0].sockets[0].getsockname()[1]
        await serving

    def start(self) -> None:
        """Start serving."""
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self.port and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not self.port:
            raise RuntimeError("the service has not started")

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(60)

    def ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float]:
        """Send a request; return status, body, and the seconds that the loop was blocked."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        self._longest = 0.0
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        time.sleep(20 * TICK)  # work after the response counts, too
        return response.status, answer, self._longest


@contextmanager
def watched(settings: Settings) -> Iterator[Watched]:
    """Serve until the block ends."""
    service = Watched(settings)
    service.start()
    try:
        yield service
    finally:
        service.stop()
