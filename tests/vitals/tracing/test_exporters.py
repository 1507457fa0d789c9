"""The end of a service, whatever the collector does."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from tests.vitals.tracing.receiver import receiving
from vitals import instrument
from vitals.tracing.exporters import FLUSH_SECONDS

REFUSED = b"HTTP/1.1 503 X\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n"

MARGIN = 2.0
"""Seconds of a busy machine."""


def misbehave(connection: socket.socket, how: str, ended: threading.Event) -> None:
    with suppress(OSError):
        if how == "503":
            while connection.recv(1_000_000):
                connection.sendall(REFUSED)
        if how == "drips":
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            while not ended.wait(0.2):
                connection.sendall(b"x")


@contextmanager
def collector(how: str) -> Iterator[str]:
    """A collector that takes connections and answers badly."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    ended, held = threading.Event(), []

    def accept() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                connection, _ = server.accept()
                held.append(connection)
                threading.Thread(
                    target=misbehave, args=(connection, how, ended), daemon=True
                ).start()

    port = server.getsockname()[1]
    accepting = threading.Thread(target=accept)
    if how == "gone":
        server.close()
    else:
        accepting.start()
    yield f"http://127.0.0.1:{port}"
    ended.set()
    if accepting.ident:
        accepting.join()
    server.close()
    for connection in held:
        connection.close()


async def end(app: FastAPI, requests: int) -> float:
    """Serve requests, and return the seconds of the end."""
    async with LifespanManager(app, shutdown_timeout=100):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test"
        ) as client:
            for _ in range(requests):
                await client.get("/openapi.json")
        started = time.monotonic()
    return time.monotonic() - started


@pytest.mark.parametrize(
    ("how", "requests"), [("gone", 5), ("503", 5), ("hangs", 5), ("hangs", 1_500), ("drips", 5)]
)
def test_the_end_of_the_service_does_not_wait_for_the_collector(how: str, requests: int) -> None:
    app = FastAPI()
    with collector(how) as url:
        instrument(app, logs=False, otlp_endpoint=url, trace_ratio=1.0)
        assert asyncio.run(end(app, requests)) < FLUSH_SECONDS + MARGIN


def test_a_service_that_starts_again_exports_again() -> None:
    """As with one ``with TestClient(app)`` after another."""
    app = FastAPI()
    with receiving() as receiver:
        instrument(app, logs=False, otlp_endpoint=receiver.url, trace_ratio=1.0)
        for times in (1, 2):
            asyncio.run(end(app, 3))
            assert len(receiver.spans) == 3 * times
