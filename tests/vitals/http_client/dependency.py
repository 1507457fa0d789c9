"""A service that others call, on a real server, and what it has seen: the witness of a test."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from stack import readiness

HELD = 0.2
"""Seconds between two parts of a body."""


class Dependency:
    """The service.

    Attributes:
        port: Its port.
        seen: Methods and paths of its requests, in order.
        headers: The headers of each.
        fails: How many of the next requests to `/flaky` fail.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.fails = 0
        self.released = threading.Event()
        self._socket = socket.socket()
        self._socket.bind((readiness.LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(self._app(), log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{readiness.LOOPBACK}:{self.port}"

    def start(self) -> None:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self.released.set()
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    def forget(self) -> None:
        """Forget what was seen."""
        self.seen.clear()
        self.headers.clear()

    def _app(self) -> FastAPI:  # noqa: C901  # one small route after another
        app = FastAPI()

        @app.middleware("http")
        async def note(request: Request, call_next):  # type: ignore[no-untyped-def]
            self.seen.append(f"{request.method} {request.url.path}")
            self.headers.append(dict(request.headers))
            return await call_next(request)

        @app.api_route("/ok", methods=["GET", "HEAD", "POST"])
        async def ok() -> dict[str, int]:
            return {"number": 1}

        @app.get("/empty", status_code=204)
        async def empty() -> None:
            pass

        @app.get("/redirect")
        async def redirect() -> RedirectResponse:
            return RedirectResponse("/ok")

        @app.get("/away/{port}")
        async def away(port: int) -> RedirectResponse:
            return RedirectResponse(f"http://localhost:{port}/ok")

        @app.get("/flaky")
        async def flaky() -> Response:
            self.fails -= 1
            return Response(status_code=503 if self.fails >= 0 else 200)

        @app.get("/hang")
        async def hang() -> None:
            while not self.released.is_set():
                await asyncio.sleep(0.01)

        @app.get("/parts")
        async def parts() -> StreamingResponse:
            return StreamingResponse(self._parts(), media_type="text/plain")

        @app.get("/events")
        async def events() -> StreamingResponse:
            return StreamingResponse(self._parts(), media_type="text/event-stream")

        @app.get("/endless")
        async def endless() -> StreamingResponse:
            return StreamingResponse(self._parts(10_000), media_type="text/plain")

        return app

    async def _parts(self, number: int = 3) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield b"data: 1\n\n"
            await asyncio.sleep(HELD)


class Cut:
    """A server that announces a body of 100 bytes, sends 10 and closes the connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server((readiness.LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{readiness.LOOPBACK}:{self.port}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        # A thread that waits in accept() is not woken by close(): connect once more.
        self._stopped = True
        socket.create_connection((readiness.LOOPBACK, self.port)).close()
        self._thread.join()
        self._listener.close()

    _stopped = False

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._stopped:
                    return
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789")


@pytest.fixture(scope="module")
def dependency_session() -> Iterator[Dependency]:
    service = Dependency()
    service.start()
    yield service
    service.stop()


@pytest.fixture
def dependency(dependency_session: Dependency) -> Dependency:
    """A running service that has seen nothing yet."""
    dependency_session.forget()
    return dependency_session


@pytest.fixture
def cut() -> Iterator[Cut]:
    """A server that breaks off each body."""
    server = Cut()
    yield server
    server.stop()
