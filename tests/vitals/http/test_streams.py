"""Streams: their latency is the time to the first byte, and how long they are open is another."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response
from starlette.types import Message

from tests.vitals.client import converse, fetch, http_scope
from vitals import Objective, instrument
from vitals.metrics.catalogue import (
    HTTP_ACTIVE_REQUESTS,
    HTTP_ACTIVE_STREAMS,
    HTTP_REQUEST_DURATION,
    HTTP_STREAM_DURATION,
    SLO_EVENTS,
)
from vitals.testing import Readings

LATE = 0.06
"""Seconds that a stream stays open; its objective is half of it."""
EVENTS = "text/event-stream"


class Until:
    """An iterator of a response that ends when the test says so."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def parts(self, *first: bytes) -> AsyncIterator[bytes]:
        for part in first:
            yield part
        await self.over.wait()
        yield b"last"


def make(  # noqa: C901  # one application with every kind of stream
    until: Until | None = None, *, middleware: bool = False, file: Path | None = None
) -> FastAPI:
    app = FastAPI()
    instrument(app, logs=False, objectives=[Objective("latency", ratio=0.9, within=LATE / 2)])
    if middleware:

        async def pass_on(request: Request, call: Callable[[Request], object]) -> Response:
            return await call(request)  # type: ignore[misc, no-any-return]

        app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

    async def parts(*, before: float = 0.0) -> AsyncIterator[bytes]:
        await asyncio.sleep(before)
        yield b"first"
        await asyncio.sleep(LATE)
        yield b"second"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/late-stream")
    async def late_stream() -> StreamingResponse:
        return StreamingResponse(parts(before=LATE), media_type="text/plain")

    @app.get("/feed")
    async def feed() -> StreamingResponse:
        return StreamingResponse(parts(before=LATE), media_type=EVENTS)

    @app.get("/late-feed")
    async def late_feed() -> StreamingResponse:
        await asyncio.sleep(LATE)
        return StreamingResponse(parts(), media_type=EVENTS)

    @app.get("/open")
    async def held_open(kind: str = EVENTS) -> StreamingResponse:
        assert until is not None
        return StreamingResponse(until.parts(b"one", b"two"), media_type=kind)

    @app.get("/json")
    async def json() -> list[int]:
        return [1] * 1_000

    @app.get("/file")
    async def download() -> FileResponse:
        assert file is not None
        return FileResponse(file)

    @app.get("/poll")
    async def poll() -> int:
        await asyncio.sleep(LATE)
        return 1

    @app.get("/updates")
    async def updates(*, fail: bool = False) -> int:
        await asyncio.sleep(LATE)
        return 1 // (not fail)

    return app


def events(app: FastAPI, slo: str, outcome: str) -> float:
    return Readings.of(app).value(SLO_EVENTS, slo=slo, outcome=outcome)


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/stream", "good"),
        ("/late-stream", "bad"),
        # Events come when there are some: an event stream is answered with its head.
        ("/feed", "good"),
        ("/late-feed", "bad"),
    ],
)
def test_the_latency_of_a_stream_ends_with_its_first_byte(
    path: str, outcome: str, *, middleware: bool
) -> None:
    app = make(middleware=middleware)
    assert fetch(app, "GET", path).text == "firstsecond"
    readings = Readings.of(app)
    assert readings.value(SLO_EVENTS, slo="latency", outcome=outcome) == 1
    assert readings.value(SLO_EVENTS, slo="latency") == 1
    assert readings.value(SLO_EVENTS, slo="availability", outcome="good") == 1
    assert readings.value(HTTP_STREAM_DURATION, "_count", http_route=path, error_type="") == 1
    assert readings.value(HTTP_STREAM_DURATION, "_sum") >= LATE
    latency = readings.value(HTTP_REQUEST_DURATION, "_sum", http_route=path)
    assert (latency >= LATE) is (outcome == "bad")


@pytest.mark.parametrize("middleware", [False, True])
def test_a_response_that_is_sent_at_once_is_no_stream(*, middleware: bool) -> None:
    """A BaseHTTPMiddleware sends each response in parts."""
    app = make(middleware=middleware)
    fetch(app, "GET", "/json")
    fetch(app, "GET", "/nowhere")
    assert Readings.of(app).value(HTTP_STREAM_DURATION, "_count") == 0
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_count") == 2


def test_a_large_file_is_a_stream(tmp_path: Path) -> None:
    """How long a download lasts is its client's doing."""
    file = tmp_path / "large"
    file.write_bytes(b"x" * 1_000_000)
    app = make(file=file)
    assert len(fetch(app, "GET", "/file").content) == 1_000_000
    assert Readings.of(app).value(HTTP_STREAM_DURATION, "_count", http_route="/file") == 1


def test_an_open_stream_is_no_request_in_progress() -> None:
    async def run() -> None:
        until = Until()
        app = make(until)
        sent: list[Message] = []

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        scope = http_scope("GET", "/open") | {"asgi": {"spec_version": "2.4"}}
        serving = asyncio.create_task(app(scope, receive, send))
        while len(sent) < 3:
            await asyncio.sleep(0)
        readings = Readings.of(app)
        assert readings.value(HTTP_ACTIVE_STREAMS) == 1
        assert readings.value(HTTP_ACTIVE_REQUESTS) == 0
        assert readings.value(HTTP_REQUEST_DURATION, "_count") == 0
        until.over.set()
        await serving
        readings = Readings.of(app)
        assert readings.value(HTTP_ACTIVE_STREAMS) == 0
        assert readings.value(HTTP_REQUEST_DURATION, "_count", http_route="/open") == 1

    asyncio.run(run())


def test_a_client_that_leaves_an_event_stream_ends_it() -> None:
    """Event streams have no other end; a client that leaves a download did not get its answer."""
    app = make()
    scope = http_scope("GET", "/feed")
    request: list[Message] = [{"type": "http.request"}]
    asyncio.run(converse(app, scope, request, leave=lambda sent: len(sent) > 1))
    readings = Readings.of(app)
    labels = {"http_response_status_code": "200", "error_type": "client_disconnected"}
    assert readings.value(HTTP_REQUEST_DURATION, "_count", **labels) == 1
    left = {"http_route": "/feed", "error_type": "client_disconnected"}
    assert readings.value(HTTP_STREAM_DURATION, "_count", **left) == 1
    assert events(app, "availability", "good") == events(app, "latency", "good") == 1
    assert events(app, "availability", "bad") == 0


@pytest.mark.parametrize("path", ["/poll", "/updates"])
def test_a_long_poll_has_no_latency(path: str) -> None:
    app = FastAPI()
    polls = None if path == "/poll" else ["/updates"]
    instrument(
        app,
        logs=False,
        long_polls=polls,
        objectives=[Objective("latency", ratio=0.9, within=LATE / 2)],
    )
    app.include_router(make().router)
    assert fetch(app, "GET", path).text == "1"
    readings = Readings.of(app)
    assert readings.value(HTTP_STREAM_DURATION, "_sum", http_route=path, error_type="") >= LATE
    assert readings.value(HTTP_REQUEST_DURATION, "_count", http_route=path) == 0
    assert readings.value(SLO_EVENTS, slo="latency") == 0
    assert readings.value(SLO_EVENTS, slo="availability", outcome="good") == 1


def test_a_long_poll_that_fails_is_a_failed_request() -> None:
    app = FastAPI()
    instrument(app, logs=False, long_polls=["/updates"])
    app.include_router(make().router)
    assert fetch(app, "GET", "/updates?fail=true").status_code == 500
    readings = Readings.of(app)
    assert readings.value(HTTP_REQUEST_DURATION, "_count", error_type="ZeroDivisionError") == 1
    assert readings.value(SLO_EVENTS, slo="availability", outcome="bad") == 1


@contextmanager
def served(app: FastAPI, **options: object) -> Iterator[tuple[str, uvicorn.Server]]:
    """Serve with uvicorn in a thread; the caller ends it."""
    config = uvicorn.Config(app, port=0, log_level="critical", **options)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.servers
@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize(
    ("path", "status", "bad"),
    [
        (f"/open?kind={EVENTS}", "200", 0),
        ("/open?kind=text/csv", "200", 0),
        ("/poll", "", 0),
        # Its client got an error page, and no answer.
        ("/hangs", "500", 1),
    ],
)
def test_a_stream_that_a_deployment_cuts_is_no_failure(
    path: str, status: str, bad: int, *, middleware: bool
) -> None:
    until = Until()
    app = make(until, middleware=middleware)
    app.router.routes = [r for r in app.router.routes if getattr(r, "path", "") != "/poll"]

    @app.get("/hangs")
    @app.get("/poll")
    async def hangs() -> None:
        await until.over.wait()

    def ask(base: str) -> None:
        try:
            with httpx.stream("GET", base + path, timeout=60) as response:
                for _ in response.iter_raw():
                    pass
        except httpx.HTTPError:
            pass

    with served(app, timeout_graceful_shutdown=0.1) as (base, _server):
        asking = threading.Thread(target=ask, args=(base,))
        asking.start()
        open_ones = 0.0
        while not open_ones:
            readings = Readings.of(app)
            open_ones = readings.value(
                HTTP_ACTIVE_STREAMS if status == "200" else HTTP_ACTIVE_REQUESTS
            )
    asking.join()
    readings = Readings.of(app)
    route = path.partition("?")[0]
    cut = {"http_route": route, "error_type": "server_shutdown"}
    if status:
        counted = readings.value(
            HTTP_REQUEST_DURATION, "_count", http_response_status_code=status, **cut
        )
        assert counted == 1
    if status != "500":
        assert readings.value(HTTP_STREAM_DURATION, "_count", **cut) == 1
    assert readings.value(SLO_EVENTS, outcome="bad") == bad
    assert readings.value(HTTP_ACTIVE_REQUESTS) == 0
