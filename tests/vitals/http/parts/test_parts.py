"""What a request's time is spent in, for every kind of slowness that an application may have."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
import fastapi.dependencies.utils
import fastapi.routing
import pytest
from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.vitals.client import converse, fetch, http_scope
from vitals import instrument
from vitals.asgi.request_context import RequestContext
from vitals.asgi.request_times import PARTS
from vitals.host import Host
from vitals.http.parts import framework
from vitals.http.parts.hooks import observe_parts, undo_parts
from vitals.http.parts.route_seconds import MAX_ROUTES
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION, HTTP_REQUEST_TIME
from vitals.testing import Readings

SLOW = 0.03


def slowly(value: Any) -> Any:
    time.sleep(SLOW)
    return value


# Of pydantic 1 no type is slow that easily.
pydantic: Any = pytest.importorskip("pydantic", "2.0")
SlowToCheck = Annotated[int, pydantic.BeforeValidator(slowly)]
SlowToWrite = Annotated[int, pydantic.PlainSerializer(slowly)]


class SlowBody(BaseModel):
    number: SlowToCheck


class SlowAnswer(BaseModel):
    number: SlowToWrite


class Parts:
    """A probe that keeps the parts of each request, and checks what is always true of them."""

    def __init__(self) -> None:
        self.all: list[dict[str, float]] = []

    def attach(self, host: Host) -> None:
        host.on_finished(self._keep)

    def _keep(self, request: RequestContext) -> None:
        seconds = request.parts
        assert seconds is not None
        self.all.append(dict(zip(PARTS, seconds, strict=True)))

    @property
    def last(self) -> dict[str, float]:
        return self.all[-1]


class Layer:
    """A middleware of plain ASGI that is slow before the application, and after its response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_slowly(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(SLOW)
            await send(message)

        await self.app(scope, receive, send_slowly if scope["path"] == "/after" else send)


async def before(request: Request, call: Callable[[Request], Any]) -> Response:
    if request.url.path == "/before":
        await asyncio.sleep(SLOW)
    return await call(request)  # type: ignore[no-any-return]


async def slow_dependency() -> AsyncIterator[int]:
    await asyncio.sleep(SLOW)
    yield 1


def slow_sync_dependency() -> int:
    return int(slowly(1))


async def takes_body(number: Annotated[SlowToCheck, Body(embed=True)]) -> int:
    return number


async def fails() -> None:
    raise HTTPException(418)


async def slow_handler(_request: Request, _error: Exception) -> Response:
    await asyncio.sleep(SLOW)
    return PlainTextResponse("no", 418)


async def starlettes(_request: Request) -> Response:
    await asyncio.sleep(SLOW)
    return PlainTextResponse("yes")


def make(parts: Parts, **options: Any) -> FastAPI:  # noqa: C901  # every kind of slowness
    app = FastAPI(routes=[Route("/starlette", starlettes)], exception_handlers={418: slow_handler})
    app.add_middleware(Layer)
    app.add_middleware(BaseHTTPMiddleware, dispatch=before)
    lock = asyncio.Lock()

    @app.get("/before")
    @app.get("/after")
    @app.get("/quick")
    @app.get("/late/{number}")
    async def quick() -> dict[str, int]:
        return {"number": 1}

    app.get("/handler", dependencies=[Depends(fails)])(quick)

    @app.get("/dependency")
    async def dependency(number: Annotated[int, Depends(slow_dependency)]) -> int:
        return number

    @app.get("/sync-dependency")
    async def sync_dependency(number: Annotated[int, Depends(slow_sync_dependency)]) -> int:
        return number

    @app.post("/body")
    async def body(body: SlowBody) -> int:
        return body.number

    @app.post("/body-of-dependency")
    async def body_of_dependency(number: Annotated[int, Depends(takes_body)]) -> int:
        return number

    @app.get("/endpoint")
    async def endpoint() -> int:
        await asyncio.sleep(SLOW)
        return 1

    @app.get("/sync-endpoint")
    def sync_endpoint() -> int:
        return int(slowly(1))

    @app.get("/in-thread")
    async def in_thread() -> int:
        return int(await run_in_threadpool(slowly, 1))

    @app.get("/full-pool")
    async def full_pool() -> int:
        limiter = anyio.to_thread.current_default_thread_limiter()
        tokens, limiter.total_tokens = limiter.total_tokens, 1
        try:
            held = asyncio.ensure_future(asyncio.shield(anyio.to_thread.run_sync(slowly, 1)))
            await asyncio.sleep(0)
            await anyio.to_thread.run_sync(int)
            await held
        finally:
            limiter.total_tokens = tokens
        return 1

    @app.get("/lock")
    async def waits_for_lock() -> int:
        await lock.acquire()
        asyncio.get_running_loop().call_later(SLOW, lock.release)
        async with lock:
            return 1

    @app.get("/answer")
    async def answer() -> SlowAnswer:
        return SlowAnswer(number=1)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(2):
                await asyncio.sleep(SLOW)
                yield b"part"

        return StreamingResponse(body())

    instrument(app, logs=False, probes=[parts], **options)
    return app


@pytest.mark.parametrize(
    ("method", "path", "part"),
    [
        ("GET", "/before", "middleware"),
        ("GET", "/after", "middleware"),
        ("GET", "/dependency", "dependencies"),
        ("GET", "/sync-dependency", "dependencies"),
        ("POST", "/body", "validation"),
        ("POST", "/body-of-dependency", "validation"),
        ("GET", "/endpoint", "endpoint"),
        ("GET", "/sync-endpoint", "endpoint"),
        ("GET", "/in-thread", "endpoint"),
        ("GET", "/starlette", "endpoint"),
        ("GET", "/full-pool", "thread"),
        ("GET", "/lock", "lock"),
        ("GET", "/answer", "serialisation"),
        ("GET", "/handler", "error_handler"),
    ],
)
def test_time_is_in_the_part_that_takes_it(method: str, path: str, part: str) -> None:
    parts = Parts()
    app = make(parts)
    options = {"json": {"number": 1}} if method == "POST" else {}
    response = fetch(app, method, path, **options)
    assert response.status_code in {200, 418}, response.text
    assert parts.last[part] >= SLOW, parts.last
    assert parts.last["unattributed"] == 0
    total = Readings.of(app).value(HTTP_REQUEST_DURATION, "_sum")
    assert sum(parts.last.values()) == pytest.approx(total)


def test_the_counters_of_a_route_add_up_to_its_duration() -> None:
    parts = Parts()
    app = make(parts)
    for path in ("/dependency", "/answer", "/before", "/stream"):
        fetch(app, "GET", path)
        readings = Readings.of(app)
        spent = readings.value(HTTP_REQUEST_TIME, http_route=path)
        assert spent >= SLOW
        assert spent == pytest.approx(
            readings.value(HTTP_REQUEST_DURATION, "_sum", http_route=path)
        ), path


def test_a_stream_is_made_and_sent() -> None:
    """Its client reads slowly: the server's ``send`` waits for it."""
    parts = Parts()
    app = make(parts)
    sent: list[Message] = []

    async def run() -> None:
        async def send(message: Message) -> None:
            sent.append(message)
            if message.get("body"):
                await asyncio.sleep(SLOW)

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        await app(http_scope("GET", "/stream"), receive, send)

    asyncio.run(run())
    assert [message.get("body") for message in sent if message.get("body")] == [b"part", b"part"]
    assert parts.last["streaming"] >= SLOW  # the middleware makes the second while one is sent
    assert parts.last["sending"] >= 2 * SLOW
    # Its latency ends with its first byte.
    readings = Readings.of(app)
    assert readings.value(HTTP_REQUEST_TIME, part="streaming", http_route="/stream") >= SLOW
    assert readings.value(HTTP_REQUEST_TIME, http_route="/stream") == pytest.approx(
        readings.value(HTTP_REQUEST_DURATION, "_sum", http_route="/stream")
    )


def test_a_slow_sender_of_a_body() -> None:
    parts = Parts()
    app = make(parts)

    async def run() -> None:
        messages = iter([b'{"numb', b'er": 1}'])

        async def receive() -> Message:
            await asyncio.sleep(SLOW)
            body = next(messages)
            return {"type": "http.request", "body": body, "more_body": body.endswith(b"b")}

        async def send(message: Message) -> None:
            pass

        scope = http_scope("POST", "/body")
        scope["headers"] = [(b"content-type", b"application/json")]
        await app(scope, receive, send)

    asyncio.run(run())
    assert parts.last["receiving"] >= 2 * SLOW
    assert parts.last["validation"] >= SLOW


@pytest.mark.parametrize("header", ["X-Request-Start", "X-Queue-Start"])
def test_a_queue_before_the_application_is_beside_the_duration(header: str) -> None:
    parts = Parts()
    app = make(parts)
    fetch(app, "GET", "/quick", headers={header: f"t={time.time() - 2:.3f}"})
    assert parts.last["queue"] >= 2 - 0.001  # of its rounding
    readings = Readings.of(app)
    assert readings.value(HTTP_REQUEST_TIME, part="queue") == pytest.approx(parts.last["queue"])
    duration = readings.value(HTTP_REQUEST_DURATION, "_sum", http_route="/quick")
    assert sum(parts.last.values()) - parts.last["queue"] == pytest.approx(duration)


def test_a_client_that_leaves_ends_the_parts() -> None:
    parts = Parts()
    app = make(parts)
    request: Message = {"type": "http.request", "body": b"", "more_body": True}
    scope = http_scope("POST", "/body")
    asyncio.run(converse(app, scope, [request], lambda _sent: True))
    assert parts.last["unattributed"] == 0


def test_routes_beyond_the_slots_share_one() -> None:
    parts, app = Parts(), FastAPI()
    for number in range(MAX_ROUTES + 5):
        app.get(f"/{number}")(starlettes_quick)
    instrument(app, logs=False, probes=[parts])
    for number in range(MAX_ROUTES + 5):
        fetch(app, "GET", f"/{number}")
    samples = [each for each in Readings.of(app).samples if each.name == HTTP_REQUEST_TIME.name]
    routes = {each.labels["http_route"] for each in samples}
    assert len(routes) == MAX_ROUTES + 1
    assert "__other__" in routes


async def starlettes_quick() -> int:
    return 1


def test_without_parts_nothing_is_measured() -> None:
    app = FastAPI()
    app.get("/")(starlettes_quick)
    instrument(app, logs=False, time_parts=False)
    assert fetch(app, "GET", "/").status_code == 200
    assert Readings.of(app).value(HTTP_REQUEST_TIME) == 0


@contextmanager
def taken_off() -> Iterator[None]:
    """Nothing is replaced, and other tests find what they had."""
    was_on = bool(framework._made)
    undo_parts()
    try:
        yield
    finally:
        undo_parts()
        if was_on:
            observe_parts(FastAPI())


REPLACED: list[tuple[Any, str]] = [
    *((module, name) for module, name, _ in framework.FUNCTIONS),
    (anyio.to_thread, "run_sync"),
    (asyncio.Lock, "acquire"),
    (asyncio.Semaphore, "acquire"),
]


def test_what_is_replaced_can_be_taken_off() -> None:
    with taken_off():
        originals = [getattr(owner, name) for owner, name in REPLACED]
        observe_parts(FastAPI())
        replaced = [getattr(owner, name) for owner, name in REPLACED]
        assert not any(map(_is_same, originals, replaced))
        assert [inspect.signature(each) for each in replaced] == [
            inspect.signature(each) for each in originals
        ]
        undo_parts()
        assert all(map(_is_same, originals, [getattr(owner, name) for owner, name in REPLACED]))


def _is_same(one: object, other: object) -> bool:
    return one is other


def test_what_the_host_replaces_in_turn_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with taken_off():
        observe_parts(FastAPI())
        calls = []
        ours = fastapi.routing.run_endpoint_function

        async def theirs(**options: Any) -> Any:
            calls.append(options["dependant"].call)
            return await ours(**options)

        monkeypatch.setattr(fastapi.routing, "run_endpoint_function", theirs)
        parts = Parts()
        assert fetch(make(parts), "GET", "/endpoint").status_code == 200
        assert len(calls) == 1
        assert parts.last["endpoint"] >= SLOW
        undo_parts()
        assert fastapi.routing.run_endpoint_function is theirs
        # Else what puts theirs back would put ours back, which nothing takes off any more.
        monkeypatch.undo()
        fastapi.routing.run_endpoint_function = inspect.unwrap(ours)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda patch: patch.delattr(fastapi.dependencies.utils, "request_body_to_args"),
            id="a function is gone",
        ),
        pytest.param(
            lambda patch: patch.setattr(
                fastapi.routing, "run_endpoint_function", partial(lambda **_: None)
            ),
            id="another signature",
        ),
        pytest.param(
            lambda patch: patch.setattr(
                fastapi.routing, "get_request_handler", lambda *_, **__: None
            ),
            id="nothing calls it",
        ),
    ],
)
def test_an_unknown_fastapi_is_left_as_it_is(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with taken_off():
        parts = Parts()
        app = FastAPI()

        @app.get("/")
        async def endpoint() -> int:
            await asyncio.sleep(SLOW)
            return 1

        with monkeypatch.context() as patch:
            change(patch)
            before = [getattr(owner, name, None) for owner, name in REPLACED[:3]]
            instrument(app, logs=False, probes=[parts])
            assert [getattr(owner, name, None) for owner, name in REPLACED[:3]] == before
        assert fetch(app, "GET", "/").status_code == 200
        assert parts.last["unattributed"] >= SLOW, parts.last  # it is not known what it is
        assert not parts.last["endpoint"]
