"""Real blocks of real loops are named by their line; what is no block is not."""

import asyncio
import contextlib
import gc
import hashlib
import inspect
import logging
import multiprocessing
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware

from vitals import instrument
from vitals.metrics.catalogue import (
    EVENT_LOOP_SITES,
    GC,
    THREAD_POOL_HOLDERS,
    THREAD_POOL_WAIT,
)
from vitals.profiling import loop_watch, watchdog
from vitals.profiling.probe import ProfilingProbe
from vitals.testing import Readings

pytestmark = pytest.mark.slow

LOOPS = {"asyncio": asyncio.new_event_loop}
with contextlib.suppress(ImportError):  # where the kit's lowest versions are tested
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop
LOCK = threading.Lock()
POOL = ThreadPoolExecutor(1)


async def sleeps() -> None:
    time.sleep(0.25)  # noqa: ASYNC251  # block


async def computes() -> int:
    ends, count = time.thread_time() + 0.25, 0
    while time.thread_time() < ends:  # block
        count += 1  # block
    return count


async def backtracks() -> bool:
    return re.match(r"(a|a)*$", "a" * 22 + "b") is None  # block


def releases_later() -> None:
    time.sleep(0.2)
    LOCK.release()


async def waits_for_a_lock() -> None:
    LOCK.acquire()
    POOL.submit(releases_later)
    LOCK.acquire()  # block
    LOCK.release()


async def hashes() -> str:
    return hashlib.pbkdf2_hmac("sha256", b"a", b"b", 900_000).hex()  # block


BLOCKS = [sleeps, computes, backtracks, waits_for_a_lock, hashes]


def right_sites(*functions: Any) -> set[str]:
    found = set()
    for function in functions:
        lines, start = inspect.getsourcelines(function)
        for number, text in enumerate(lines, start):
            if "# block" in text or ("ASYNC251" in text):
                found.add(f"{function.__module__}:{function.__qualname__}:{number}")
    return found


def application(*functions: Any, **options: Any) -> FastAPI:
    app = FastAPI()
    instrument(app, **{"logs": False} | options)
    for function in functions:
        app.get(f"/{function.__name__}/{{number}}")(function)
    return app


def run(
    app: FastAPI,
    do: Callable[[httpx.AsyncClient], Awaitable[None]],
    loop: str = "asyncio",
    **options: Any,
) -> None:
    async def main() -> None:
        async with (
            LifespanManager(app) as manager,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(manager.app), base_url="http://test"
            ) as client,
        ):
            await do(client)

    with asyncio.Runner(loop_factory=LOOPS[loop], **options) as runner:
        runner.run(main())


async def get(client: httpx.AsyncClient, path: str) -> None:
    """Send a request in a task of its own, as servers do."""
    await asyncio.create_task(client.get(path))


async def repeat(
    client: httpx.AsyncClient, function: Any, until: Callable[[], bool], seconds: float = 20
) -> None:
    """Block until something is seen: on a busy machine less of a block can be proved."""
    async with asyncio.timeout(seconds):
        while not until():
            await get(client, f"/{function.__name__}/7")
            await asyncio.sleep(0.05)


def blocked(app: FastAPI) -> dict[tuple[str, str], float]:
    readings = Readings.of(app)
    return {
        (labels["site"], labels["http_route"]): readings.value(EVENT_LOOP_SITES, **labels)
        for labels in readings.series(EVENT_LOOP_SITES)
    }


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def named(app: FastAPI) -> set[str]:
    return {site for site, _ in blocked(app) if not site.startswith("<")}


@pytest.mark.parametrize("loop", LOOPS)
def test_blocks_are_named_by_their_line_and_route(loop: str) -> None:
    app = application(*BLOCKS)
    POOL.submit(int).result(10)  # to start a thread takes long on a busy machine

    def is_named(right: set[str]) -> bool:
        return bool(named(app) & right)

    async def do(client: httpx.AsyncClient) -> None:
        for function in BLOCKS:
            right = right_sites(function)

            await repeat(client, function, partial(is_named, right))

    run(app, do, loop)
    right = right_sites(*BLOCKS)
    functions = {site.rpartition(":")[0] for site in right}
    # On a busy machine lines of the test itself take long.
    assert {site for site in named(app) if site.rpartition(":")[0] in functions} <= right
    routes = {route for site, route in blocked(app) if site in right}
    assert routes == {f"/{function.__name__}/{{number}}" for function in BLOCKS}


def test_a_request_behind_middleware_of_its_own_tasks_is_known() -> None:
    app = application(sleeps)

    async def passes(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=passes)

    async def do(client: httpx.AsyncClient) -> None:
        await repeat(client, sleeps, lambda: bool(named(app)))

    run(app, do, debug=True)
    assert (*right_sites(sleeps), "/sleeps/{number}") in blocked(app)


def test_a_callback_without_a_task_is_named() -> None:
    app = application()

    def blocks() -> None:
        time.sleep(0.15)  # block

    async def do(_: httpx.AsyncClient) -> None:
        asyncio.get_running_loop().call_later(0.01, blocks)
        await until(lambda: bool(named(app)))

    run(app, do)
    assert {key for key in blocked(app) if not key[0].startswith("<")} == {
        (*right_sites(blocks), "")
    }


def test_a_long_collection_is_no_line() -> None:
    app = application()

    async def do(_: httpx.AsyncClient) -> None:
        garbage = [[] for _ in range(1_500_000)]  # type: ignore[var-annotated]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(20):
            before = blocked(app).get((GC, ""), 0.0)
            while blocked(app).get((GC, ""), 0.0) <= before:
                gc.collect()
                await asyncio.sleep(0.05)
        assert garbage

    run(app, do)


def test_many_short_callbacks_are_no_line() -> None:
    app = application()

    async def computes_shortly() -> None:
        ends = time.thread_time() + 0.004
        while time.thread_time() < ends:
            pass

    async def do(_: httpx.AsyncClient) -> None:
        await asyncio.gather(*(computes_shortly() for _ in range(60)))
        await until(lambda: bool(blocked(app)))

    run(app, do)
    assert not named(app)


def test_a_request_is_told_apart_by_application() -> None:
    one, other = application(sleeps), application(service_name="other")

    async def do(client: httpx.AsyncClient) -> None:
        async with LifespanManager(other):
            await repeat(client, sleeps, lambda: bool(named(one)))

    run(one, do)
    assert not named(other)


def test_a_request_is_watched_from_its_begin_though_nothing_was_served_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_watch, "QUIET", 60.0)
    monkeypatch.setattr(loop_watch, "ALERT", 0.0)
    app = application(sleeps)

    async def do(client: httpx.AsyncClient) -> None:
        activity = watchdog._WATCHES[asyncio.get_running_loop()].activities[0]
        async with asyncio.timeout(20):
            while not named(app):
                await until(lambda: activity.on_begin is not None)
                await get(client, "/sleeps/7")

    run(app, do)
    assert right_sites(sleeps) <= named(app)


def test_a_loop_that_stands_still_between_two_runs_is_not_blocked() -> None:
    app = application()

    async def start() -> AsyncExitStack:
        stack = AsyncExitStack()
        await stack.enter_async_context(app.router.lifespan_context(app))
        return stack

    with asyncio.Runner() as runner:
        stack = runner.run(start())
        assert watchdog._WATCHES
        time.sleep(0.3)
        runner.run(asyncio.sleep(0.1))
        runner.run(stack.aclose())
    assert not blocked(app)


def test_nothing_is_left_when_the_application_has_ended() -> None:
    app = application()

    async def do(_: httpx.AsyncClient) -> None:
        assert watchdog._WATCHES

    run(app, do)
    assert not watchdog._WATCHES
    assert watchdog.GARBAGE._observe not in gc.callbacks
    deadline = time.monotonic() + 5
    while any(thread.name == watchdog._NAME for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_of_a_fork_watches_anew() -> None:
    app = application()
    results: Any = multiprocessing.get_context("fork").SimpleQueue()

    async def do(_: httpx.AsyncClient) -> None:
        child = multiprocessing.get_context("fork").Process(
            target=lambda: results.put((watchdog.WATCHDOG._thread, watchdog._WATCHES)), daemon=True
        )
        child.start()
        child.join(10)

    with contextlib.suppress(DeprecationWarning):
        run(app, do)
    assert results.get() == (None, {})


def test_the_log_names_file_line_and_what_was_called(caplog: pytest.LogCaptureFixture) -> None:
    app = application(backtracks, logs="host")

    async def do(client: httpx.AsyncClient) -> None:
        await repeat(client, backtracks, lambda: bool(named(app) & right_sites(backtracks)))
        await get(client, "/backtracks/7")  # logged once a minute

    with caplog.at_level(logging.WARNING, "vitals.event_loop"):
        run(app, do)
    found = [vars(record) for record in caplog.records if record.name == "vitals.event_loop"]
    (event,) = [one for one in found if one.get("code.function.name", "").endswith("backtracks")]
    assert event["event"] == "event loop blocked"
    assert event["called"] == "re:match"
    assert event["http.route"] == "/backtracks/{number}"
    assert event["code.file.path"].endswith("profiling/test_blocks.py")


def test_threads_that_are_held_while_tasks_wait_are_named() -> None:
    held = threading.Event()

    def holds(number: int) -> int:
        held.wait(10)  # block
        return number

    app = application(holds)

    async def do(client: httpx.AsyncClient) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 2
        waiting = [asyncio.create_task(get(client, f"/holds/{number}")) for number in range(5)]
        await until(lambda: bool(Readings.of(app).series(THREAD_POOL_HOLDERS)))
        held.set()
        await asyncio.gather(*waiting)

    run(app, do)
    readings = Readings.of(app)
    (site,) = right_sites(holds)
    assert readings.series(THREAD_POOL_HOLDERS) == [{"site": site, "http_route": "/holds/{number}"}]
    assert readings.value(THREAD_POOL_WAIT) > 0.2, "three tasks wait"


@pytest.mark.parametrize("tracer", ["vitals", "opentelemetry"])
def test_the_span_of_the_request_has_an_event(tracer: str) -> None:
    receiver = pytest.importorskip("tests.vitals.tracing.receiver")
    with receiver.receiving() as received:
        app = application(sleeps, otlp_endpoint=received.url, tracer=tracer, trace_ratio=1.0)

        async def do(client: httpx.AsyncClient) -> None:
            await repeat(client, sleeps, lambda: bool(named(app) & right_sites(sleeps)))

        run(app, do)
    events = [event for span in received.spans for event in span.events]
    assert {event.name for event in events} == {"event_loop_blocked"}
    found = [{each.key: each.value for each in event.attributes} for event in events]
    lines = [each for each in found if "code.function.name" in each]  # else it had no CPU
    one = next(each for each in lines if each["code.function.name"].string_value.endswith("sleeps"))
    assert 0.05 < one["duration"].double_value < 1
    assert str(one["code.line.number"].int_value) in next(iter(right_sites(sleeps)))


@pytest.mark.parametrize("threshold", [0.0, 0.001, float("nan")])
def test_a_threshold_that_is_too_short_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="block_threshold"):
        ProfilingProbe(threshold)


@pytest.fixture(autouse=True)
def _without_garbage() -> Iterator[None]:
    """The objects of other tests would make collections long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
