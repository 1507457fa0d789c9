import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from stack import readiness
from tests.vitals.http_client.dependency import HELD, Cut, Dependency
from tests.vitals.http_client.measured import (
    active_in,
    application,
    requests_of,
    seconds_of,
    servers_of,
)
from vitals import HttpClients, watch

aiohttp: Any = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

pytestmark = pytest.mark.servers

OK = ("GET", "200", "")
Use = Callable[[Any], Awaitable[None]]
"""Calls with a session."""


@pytest.fixture(params=["every session", "one session"])
def app(request: pytest.FixtureRequest) -> Iterator[FastAPI]:
    """An application that measures all sessions, or the one that `use` makes."""
    probe = HttpClients(["aiohttp"])
    made = application(probe) if request.param == "every session" else application()
    made.state.watches_one = request.param == "one session"
    yield made
    probe.detach()


def use(app: FastAPI, call: Use, timeout: float = 5.0) -> None:
    """Call with a session, whose responses are given up after a time."""

    async def run() -> None:
        limit = aiohttp.ClientTimeout(total=timeout)
        async with aiohttp.ClientSession(timeout=limit) as session:
            await call(watch(session) if app.state.watches_one else session)

    asyncio.run(run())


async def get(session: Any, url: str) -> bytes:
    async with session.get(url) as response:
        body: bytes = await response.read()
        return body


def test_each_request_counts_by_method_and_status(app: FastAPI, dependency: Dependency) -> None:
    async def call(session: Any) -> None:
        await asyncio.gather(*(get(session, f"{dependency.url}/ok") for _ in range(10)))
        for path in ("/empty", "/nothing-here", f"/away/{dependency.port}"):
            await get(session, dependency.url + path)
        async with session.head(f"{dependency.url}/ok"):
            pass

    use(app, call)
    assert requests_of(app) == {
        OK: 11,
        ("HEAD", "200", ""): 1,
        ("GET", "204", ""): 1,
        ("GET", "404", "404"): 1,
        ("GET", "307", ""): 1,
    }
    assert len(dependency.seen) == 15
    port = str(dependency.port)
    assert servers_of(app) == {("127.0.0.1", port), ("localhost", port)}
    assert active_in(app) == 0


def test_failures_are_named_by_their_class(app: FastAPI, dependency: Dependency, cut: Cut) -> None:
    nobody = f"http://{readiness.LOOPBACK}:{readiness.free_port()}"

    async def call(session: Any) -> None:
        for url in (nobody, f"{dependency.url}/hang", f"{dependency.url}/endless", cut.url):
            with pytest.raises((aiohttp.ClientError, TimeoutError)):
                await get(session, url)

    use(app, call, timeout=2 * HELD)
    assert requests_of(app) == {
        ("GET", "", "ClientConnectorError"): 1,
        ("GET", "", "TimeoutError"): 1,
        ("GET", "200", "TimeoutError"): 1,  # while its body was read
        ("GET", "200", "ClientPayloadError"): 1,  # the body broke off after its status
    }
    assert active_in(app) == 0


def test_a_redirect_that_is_refused_is_no_request(app: FastAPI, dependency: Dependency) -> None:
    async def call(session: Any) -> None:
        with pytest.raises(aiohttp.TooManyRedirects):
            await session.get(f"{dependency.url}/redirect", max_redirects=1)

    use(app, call)
    assert dependency.seen == ["GET /redirect"]
    assert requests_of(app) == {("GET", "307", ""): 1}


def test_a_redirect_to_nobody_counts_where_it_fails(app: FastAPI, dependency: Dependency) -> None:
    port = readiness.free_port()

    async def call(session: Any) -> None:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{dependency.url}/away/{port}")

    use(app, call)
    assert requests_of(app) == {("GET", "307", ""): 1, ("GET", "", "ClientConnectorError"): 1}
    assert servers_of(app) == {("127.0.0.1", str(dependency.port)), ("localhost", str(port))}


@pytest.mark.parametrize("path", ["/hang", "/endless"])
def test_a_cancelled_call_counts_as_cancelled(
    app: FastAPI, dependency: Dependency, path: str
) -> None:
    async def call(session: Any) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(get(session, f"{dependency.url}{path}"), 2 * HELD)

    use(app, call)
    status = "" if path == "/hang" else "200"
    assert requests_of(app) == {("GET", status, "CancelledError"): 1}
    assert active_in(app) == 0


def test_the_time_is_up_to_the_last_byte_but_of_an_event_stream(
    app: FastAPI, dependency: Dependency
) -> None:
    seconds = []

    async def call(session: Any) -> None:
        for path in ("/events", "/parts"):
            await get(session, f"{dependency.url}{path}")
            seconds.append(seconds_of(app))

    use(app, call)
    events, both = seconds
    assert events < 2 * HELD
    assert both - events >= 2 * HELD
    assert requests_of(app) == {OK: 2}


def test_a_stream_that_is_given_up_counts_once(app: FastAPI, dependency: Dependency) -> None:
    async def call(session: Any) -> None:
        async with session.get(f"{dependency.url}/endless") as response:
            assert await response.content.readany()
            assert active_in(app) == 1
        with pytest.raises(ZeroDivisionError):
            async with session.get(f"{dependency.url}/endless"):
                raise ZeroDivisionError  # the host's own error is none of the request's

    use(app, call)
    assert requests_of(app) == {OK: 2}
    assert active_in(app) == 0


def test_the_list_of_trace_configs_stays_the_hosts(app: FastAPI, dependency: Dependency) -> None:
    own: list[Any] = []

    async def run() -> None:
        for _ in range(2):
            async with aiohttp.ClientSession(trace_configs=own) as session:
                if app.state.watches_one:
                    watch(watch(session))
                await get(session, f"{dependency.url}/ok")

    asyncio.run(run())
    assert own == []
    assert requests_of(app) == {OK: 2}
