"""A probe of the user's own is attached through ``instrument(probes=...)``."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.vitals.client import fetch
from vitals import Host, Objective, instrument
from vitals.asgi.request_context import RequestContext
from vitals.metrics.catalogue import EVENT_LOOP_LAG, HTTP_REQUEST_DURATION
from vitals.testing import Readings


class Recorder:
    """Writes down what happens to it."""

    def __init__(self, name: str, events: list[str]) -> None:
        self.name = name
        self.events = events

    def attach(self, host: Host) -> None:
        def wrap(app: ASGIApp) -> ASGIApp:
            async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
                if scope["type"] == "http":
                    self.events.append(f"{self.name} middleware")
                await app(scope, receive, send)

            return middleware

        @asynccontextmanager
        async def running() -> AsyncIterator[None]:
            self.events.append(f"{self.name} begins")
            yield
            self.events.append(f"{self.name} ends")

        def finished(request: RequestContext) -> None:
            self.events.append(f"{self.name} finished {request.route} {request.status}")

        host.middleware(wrap)
        host.lifespan(running)
        host.on_finished(finished)
        host.at_start(lambda: self.events.append(f"{self.name} starts"))
        host.serve(f"/{self.name}", PlainTextResponse(self.name))


def test_own_probes_are_attached_in_order() -> None:
    events: list[str] = []
    app = FastAPI()

    @app.get("/orders/{number}")
    async def order(number: int) -> int:
        return number

    instrument(app, logs=False, probes=[Recorder("one", events), Recorder("two", events)])
    assert events == [], "nothing runs before the application serves"

    async def serve() -> None:
        async with LifespanManager(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                assert (await client.get("/orders/1")).status_code == 200

    asyncio.run(serve())
    assert events == [
        *("one starts", "two starts", "one begins", "two begins"),
        *("two middleware", "one middleware"),
        *("one finished /orders/{number} 200", "two finished /orders/{number} 200"),
        *("two ends", "one ends"),
    ]


def test_a_path_that_a_probe_serves_is_not_measured() -> None:
    app = FastAPI()
    instrument(app, logs=False, probes=[Recorder("page", [])])
    assert fetch(app, "GET", "/page").text == "page"
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_count") == 0


def test_a_middleware_stack_that_is_built_anew_starts_nothing_again() -> None:
    events: list[str] = []
    app = FastAPI()
    instrument(app, logs=False, probes=[Recorder("one", events)])
    assert fetch(app, "GET", "/openapi.json").status_code == 200
    app.middleware_stack = app.build_middleware_stack()
    assert fetch(app, "GET", "/openapi.json").status_code == 200
    assert events.count("one starts") == 1
    assert events.count("one finished /openapi.json 200") == 2


def test_the_application_keeps_its_type() -> None:
    class Shop(FastAPI):
        """A host's own class."""

    app = Shop()
    instrument(app, logs=False)
    assert isinstance(app, Shop)
    assert type(app).__qualname__ == Shop.__qualname__
    assert type(app).__doc__ == Shop.__doc__


MISSPELT = [Objective("latency", ratio=0.9, within=1.0, route="/order/{id}")]


def test_a_misspelt_route_of_an_objective_ends_the_start() -> None:
    app = FastAPI()
    instrument(app, logs=False, objectives=MISSPELT)
    app.get("/orders/{id}")(lambda id: id)  # noqa: A006

    async def start() -> None:
        async with LifespanManager(app):
            pass

    with pytest.raises(ValueError, match=re.escape("/orders/{id}")):
        asyncio.run(start())


def test_routes_that_the_lifespan_adds_may_have_an_objective() -> None:
    ended: list[bool] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.get("/order/{id}")(lambda id: id)  # noqa: A006
        yield
        ended.append(True)

    app = FastAPI(lifespan=lifespan)
    instrument(app, logs=False, objectives=MISSPELT)

    async def start() -> None:
        async with LifespanManager(app):
            pass

    asyncio.run(start())
    assert ended == [True]


@pytest.mark.parametrize("mounted", [False, True])
def test_an_application_without_lifespan_is_measured_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *, mounted: bool
) -> None:
    monkeypatch.setattr("vitals.host.LIFESPAN_SECONDS", 0.0)
    app, outer = FastAPI(), FastAPI()
    instrument(app, logs=False, objectives=MISSPELT)
    app.get("/orders/{id}")(lambda id: id)  # noqa: A006
    outer.mount("/api", app)
    asked, path = (outer, "/api/orders/7") if mounted else (app, "/orders/7")

    async def ask() -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(asked), base_url="http://test"
        ) as client:
            assert (await client.get(path)).status_code == 200
            while not Readings.of(app).value(EVENT_LOOP_LAG, "_count"):
                await asyncio.sleep(0.01)

    async def run() -> None:
        if mounted:
            async with LifespanManager(outer):
                await ask()
        else:
            await ask()

    asyncio.run(run())
    records = [
        record
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("vitals.")
    ]
    said = [(record.levelname, record.getMessage()) for record in records]
    assert [level for level, _ in said] == ["WARNING", "ERROR"]
    assert "without its lifespan" in said[0][1]
    assert "/orders/{id}" in said[1][1]  # an error that no start could report


def test_a_slow_start_is_a_lifespan_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitals.host.LIFESPAN_SECONDS", 0.0)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for _turn in range(10):
            await asyncio.sleep(0)
        yield

    app = FastAPI(lifespan=lifespan)
    instrument(app, logs=False)

    async def start() -> None:
        async with LifespanManager(app):
            await asyncio.sleep(0.01)

    asyncio.run(start())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
